# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A version on the controller: fetched once for all hosts of a run, hashed, pinned."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.disk import archives
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import RefusalError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.sources import imports, transfer
from archive_files import read_tree
from http_double import Server
from model_servers import API, Bucket, Registry, asked_for
from patience import LONG_S
from saved_models import MODEL


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(transfer, "PAUSE_S", 0)
    with Server() as server:
        yield server


def desk(tmp_path, run="run", fetch=True, **environ):
    (tmp_path / run).mkdir(exist_ok=True)
    return imports.Desk(str(tmp_path / run), str(tmp_path / "pins"), environ, LONG_S, fetch)


def refused(*arguments):
    with pytest.raises(RefusalError) as refusal:
        imports.bring(*arguments)
    return f"{refusal.value.key}: {refusal.value}"


def test_a_registered_model_is_fetched_and_its_alias_asked_once_a_run(server, tmp_path):
    registry = Registry(server)
    wish = registry.wish(alias="champion", credentials={"token": {"environment": "TOKEN"}})
    first = imports.bring(wish, 8, None, desk(tmp_path, TOKEN="hush"))
    digest = archives.directory_digest(first.path)
    assert read_tree(Path(first.path)) == MODEL
    assert first.notes == [
        "champion of ranker is version 8",
        f"version 8 of ranker at {server.url} was fetched, 3 files of 1 MiB together, sha256 {digest}",
    ]
    assert all(headers["Authorization"] == "Bearer hush" for _path, headers in server.requests)
    count = len(server.requests)
    assert imports.bring(wish, 8, None, desk(tmp_path, TOKEN="hush")) == first
    assert (len(server.requests), registry.asked("mlflow/registered-models/alias")) == (count, 1)


def test_a_folder_and_an_archive_of_a_bucket_are_fetched(server, tmp_path):
    bucket = Bucket(server, {**{f"ranker/8/{name}": each for name, each in MODEL.items()}, "r.tar": b"tar"})
    folder = imports.bring(bucket.wish(), 8, None, desk(tmp_path))
    assert read_tree(Path(folder.path)) == MODEL
    archive = imports.bring(bucket.wish(uri="s3://models/r.tar"), 8, None, desk(tmp_path))
    assert Path(archive.path).read_bytes() == b"tar"


def test_in_check_mode_servers_are_asked_and_nothing_is_fetched(server, tmp_path):
    registry = Registry(server)
    found = imports.bring(registry.wish(alias="champion"), 8, None, desk(tmp_path, fetch=False))
    assert (found.path, found.notes) == ("", ["champion of ranker is version 8"])
    assert not [path for path in asked_for(server) if path.endswith("saved_model.pb")]
    assert not (tmp_path / "pins").exists()


def test_a_refusal_is_for_all_hosts_of_the_run_and_the_server_is_not_asked_again(server, tmp_path):
    Registry(server)
    wish = {"type": "mlflow", "uri": server.url, "model": "ranker"}
    sentence = "source.model: ranker has no version 9 there; correct the wish, or register it first"
    assert refused(wish, 9, None, desk(tmp_path)) == sentence
    count = len(server.requests)
    assert refused(wish, 9, None, desk(tmp_path)) == sentence
    assert len(server.requests) == count


def test_a_missing_variable_is_refused_before_the_server_is_asked(server, tmp_path):
    wish = Registry(server).wish(credentials={"token": {"environment": "TOKEN"}})
    assert refused(wish, 8, None, desk(tmp_path)) == (
        "source.credentials.token: the environment variable TOKEN is not set on the controller; "
        "export it where ansible-playbook runs"
    )
    assert server.requests == []


def test_a_version_that_changes_after_its_import_is_refused_by_later_runs(server, tmp_path):
    registry = Registry(server)
    imports.bring(registry.wish(), 8, None, desk(tmp_path))
    registry.files["tf2model/saved_model.pb"] = MODEL["saved_model.pb"][::-1]
    assert ": saved_model.pb has other content; publish it under a new number, or give source.sha256: " in refused(
        registry.wish(), 8, None, desk(tmp_path, "later")
    )


def test_a_file_that_does_not_arrive_leaves_nothing_behind(server, tmp_path):
    registry = Registry(server)
    place = f"{API}/mlflow-artifacts/artifacts/1"
    path = next(path for path in server.answers if path.startswith(place) and path.endswith("saved_model.pb"))
    server.answers[path] = (500, {}, b"")
    assert "answers 500 Internal Server Error; run again, or check that server" in refused(
        registry.wish(), 8, None, desk(tmp_path)
    )
    assert not [name for name in os.listdir(tmp_path / "run") if not name.endswith((".json", ".lock"))]


def test_files_that_come_too_slowly_together_are_given_up_and_leave_nothing_behind(server, tmp_path, monkeypatch):
    monkeypatch.setattr(transfer, "SPARE_S", -1000.0)
    assert refused(Registry(server).wish(), 8, None, desk(tmp_path)) == (
        "source.uri: its files come too slowly, at less than 64 KiB a second and 5 s for each file; "
        "check that server, or name one nearer"
    )
    assert not [name for name in os.listdir(tmp_path / "run") if not name.endswith((".json", ".lock"))]


def test_what_does_not_fit_on_the_controller_is_refused_before_it_is_fetched(server, tmp_path, monkeypatch):
    monkeypatch.setattr(imports, "free_bytes", lambda _path: 10)
    registry = Registry(server)
    assert refused(registry.wish(), 8, None, desk(tmp_path)) == (
        f"source: it needs 1 MiB and 1 MiB are free under {tmp_path}/run on the controller; "
        "free space there, or set ANSIBLE_LOCAL_TEMP"
    )
    assert not [path for path in asked_for(server) if path.endswith("saved_model.pb")]
