# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Versions out of a real MLflow server."""

from __future__ import annotations

import itertools
import socket
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import RefusalError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.sources import imports, mlflow, transfer
from archive_files import read_tree
from ports import free_port
from saved_models import MODEL

SILENCE_S = 60


def wish(registry, **changes):
    return {"type": "mlflow", "uri": registry["url"], "model": "ranker", **changes}


def bring(source, version, tmp_path):
    (tmp_path / "run").mkdir(exist_ok=True)
    desk = imports.Desk(str(tmp_path / "run"), str(tmp_path / "pins"), {}, SILENCE_S, True)
    return imports.bring(source, int(version), None, desk)


def refused(source, version):
    with pytest.raises(RefusalError) as refusal:
        mlflow.look(source, int(version), {}, SILENCE_S)
    return f"{refusal.value.key}: {refusal.value}"


@pytest.mark.parametrize("kind", ["run", "logged"])
def test_a_version_is_fetched_wherever_mlflow_keeps_it(registry, tmp_path, kind):
    found = bring(wish(registry), registry[kind], tmp_path)
    assert read_tree(Path(found.path)) == MODEL


def test_a_copied_version_is_fetched_from_the_one_that_it_copies(registry, tmp_path):
    found = bring(wish(registry, model="copied"), registry["copy"], tmp_path)
    assert read_tree(Path(found.path)) == MODEL


def test_an_alias_is_resolved_and_must_be_the_version_of_the_wish(registry, tmp_path):
    found = bring(wish(registry, alias="champion"), registry["run"], tmp_path)
    assert found.notes[0] == f"champion of ranker is version {registry['run']}"
    assert refused(wish(registry, alias="champion"), registry["logged"]) == (
        f"source.alias: champion is version {registry['run']} of ranker now, and the wish is for {registry['logged']}; "
        f"write version: {registry['run']}, or leave out alias to take {registry['logged']}"
    )


def test_what_the_registry_does_not_have_is_said_in_words(registry):
    absent = "there; correct the wish, or register it first"
    assert refused(wish(registry, alias="challenger"), 1) == f"source.model: ranker has no alias challenger {absent}"
    assert refused(wish(registry), 99) == f"source.model: ranker has no version 99 {absent}"
    assert refused(wish(registry, model="other"), 1) == f"source.model: other has no version 1 {absent}"


def test_what_the_server_cannot_load_or_pass_on_is_refused_with_the_remedy(registry):
    assert "data/model.keras is a file of Keras, which TensorFlow Serving cannot load; " in refused(
        wish(registry), registry["keras"]
    )
    assert "saved_model.pb is in several places: first, second; log one" in refused(wish(registry), registry["two"])
    assert "its artifacts are in a bucket, s3://elsewhere/exports/model; use type s3 with that uri" in refused(
        wish(registry), registry["bucket"]
    )


def test_a_transfer_that_breaks_off_goes_on_by_range(registry, tmp_path, monkeypatch):
    monkeypatch.setattr(transfer, "PAUSE_S", 0)
    found = mlflow.look(wish(registry), int(registry["run"]), {}, SILENCE_S)
    file = next(file for file in found.files if file.path == "saved_model.pb")
    url, headers = file.request()
    half = file.size // 2
    with Cutting(int(registry["url"].rpartition(":")[2]), half) as port:
        through = transfer.File(
            file.path, file.size, lambda: (url.replace(registry["url"], f"http://127.0.0.1:{port}"), headers)
        )
        transfer.fetch(through, str(tmp_path / "x"), SILENCE_S)
    assert (tmp_path / "x").read_bytes() == MODEL["saved_model.pb"]


class Cutting:
    """A proxy that breaks the first connection off after some bytes of its answer's body."""

    def __init__(self, port: int, after: int) -> None:
        self.port, self.after = port, after
        self.seen: list[bytes] = []
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)

    def __enter__(self) -> int:
        place = free_port()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self.socket.bind(("127.0.0.1", place))
        self.socket.listen()
        threading.Thread(target=self._serve, daemon=True).start()
        return place

    def __exit__(self, *_problem: object) -> None:
        self.socket.close()
        assert len(self.seen) == 2
        assert f"range: bytes={self.after}-".encode() in self.seen[1].lower()

    def _serve(self) -> None:
        with suppress(OSError):
            for count in itertools.count():
                caller, _address = self.socket.accept()
                with caller, socket.create_connection(("127.0.0.1", self.port)) as server:
                    request = caller.recv(65536)
                    self.seen.append(request)
                    server.sendall(request)
                    answer = b""
                    while chunk := server.recv(65536):
                        answer += chunk
                    head, _, body = answer.partition(b"\r\n\r\n")
                    caller.sendall(head + b"\r\n\r\n" + (body if count else body[: self.after]))
