# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Warm-up records in what the module publishes: there before a version appears, and never changed afterwards."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.golden import warmup
from ansible_collections.tfserving.fleet.plugins.module_utils.load import messages
from ansible_collections.tfserving.fleet.plugins.module_utils.models import repository
from ansible_collections.tfserving.fleet.plugins.modules import model_repository as module
from archive_files import read_tree, tar_of, write_tree
from saved_models import MODEL

ROW = {"inputs": {"x": [[1.0, 2.0, 3.0]]}}
BATCHING = {
    "name": "main",
    "models": ["ranker"],
    "ports": {},
    "flags": {"enable_batching": True},
    "batching": {"max_batch_size": 4, "allowed_batch_sizes": [1, 2, 4]},
}


def golden(digest: str = "a" * 64, **more: Any) -> dict[str, Any]:
    request = {"name": "first", "line": 3, "rtol": 0.0, "atol": 0.0, **ROW, "expect": {"y": [[6.0]]}, **more}
    return {"file": "golden/ranker.jsonl", "sha256": digest, "total": 1, "requests": [request]}


class Host:
    """A host's model directory, and runs of the module against it."""

    def __init__(self, place: Path) -> None:
        self.root = place / "models"
        self.source = place / "7.tar"
        tar_of(self.source, MODEL)

    def run(self, instances: tuple[dict[str, Any], ...] = (BATCHING,), **wish: Any) -> dict[str, Any]:
        source = {"type": "path", "uri": str(self.source), "remote": True}
        model = {"name": "ranker", "versions": [7], "source": source, **wish}
        defaults = {name: spec.get("default") for name, spec in module.ARGUMENTS.items()}
        mine = {"owner": str(os.geteuid()), "group": str(os.getegid()), "root": str(self.root), "min_free_mb": 0}
        return repository.execute({**defaults, **mine, "models": [model], "instances": list(instances)}, False)

    @property
    def file(self) -> Path:
        return self.root / "ranker" / "7" / warmup.FILE

    @property
    def marker(self) -> dict[str, Any]:
        return json.loads((self.root / "ranker" / ".published" / "7.json").read_text())

    def serve(self) -> None:
        """Leave behind what the module notes of a version that a server has answered for."""
        place = self.root / "ranker" / ".published" / "7.json"
        place.write_text(json.dumps({**self.marker, "proven": True}))

    def rows(self) -> list[int]:
        records = warmup.records(self.file.read_bytes())
        return [messages.decode_request(warmup.request_of(each))["x"].shape[0] for each in records]


@pytest.fixture
def host(tmp_path) -> Host:
    return Host(tmp_path)


def test_a_version_is_published_with_one_record_for_each_batch_size(host):
    result = host.run(golden=golden())
    assert result["published"][0]["warmup"] == 3
    assert host.rows() == [1, 2, 4]
    assert host.marker["warmup"] == {"of": "a" * 64, "records": 3, "sizes": [1, 2, 4]}
    assert stat.S_IMODE(host.file.stat().st_mode) == 0o644
    assert stat.S_IMODE(host.file.parent.stat().st_mode) == 0o755


def test_the_digest_of_a_version_is_that_of_its_source(host):
    plain = host.run()["published"][0]
    (host.root / "ranker").rename(host.root / "other")
    warm = host.run(golden=golden())["published"][0]
    assert warm == {**plain, "warmup": 3}
    assert "warmup" not in json.loads((host.root / "other" / ".published" / "7.json").read_text())


def test_a_probe_warms_a_model_without_golden_requests(host):
    host.run(probe=ROW)
    assert host.rows() == [1, 2, 4]


def test_golden_requests_precede_a_probe(host):
    host.run(probe={"instances": [[0.0, 0.0, 0.0]] * 2}, golden=golden())
    (first, *_others) = warmup.records(host.file.read_bytes())
    assert list(messages.decode_request(warmup.request_of(first))["x"].values) == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    "wish", [{}, {"probe": False}, {"warmup": False, "golden": golden()}, {"golden": {"file": "x"}}]
)
def test_without_requests_or_against_the_wish_there_are_none(host, wish):
    assert "warmup" not in host.run(**wish)["published"][0]
    assert not host.file.exists()


def test_a_version_that_brings_its_own_keeps_it(host):
    tar_of(host.source, {**MODEL, warmup.FILE: b"its own"})
    assert "warmup" not in host.run(golden=golden())["published"][0]
    assert host.file.read_bytes() == b"its own"


def test_a_model_that_does_not_take_its_golden_request_is_not_published(host):
    with pytest.raises(WishError) as refused:
        host.run(golden=golden(inputs={"x": [["a", "b", "c"]]}))
    assert str(refused.value) == (
        "tfserving_models[0].golden: version 7 cannot be published: golden/ranker.jsonl:3: inputs.x[0][0] is the "
        "string 'a'; give a number within its range (DT_FLOAT)"
    )
    assert not (host.root / "ranker").exists()


def test_a_version_that_has_served_does_not_change_with_the_golden_file_and_the_run_says_so(host):
    host.run(golden=golden())
    host.serve()
    before = read_tree(host.root)
    result = host.run(golden=golden("b" * 64, inputs={"x": [[9.0, 9.0, 9.0]]}))
    assert result["notes"] == [
        "ranker: version 7 keeps its warm-up records, which are of earlier requests than golden/ranker.jsonl has now; "
        "a published version never changes"
    ]
    assert read_tree(host.root) == before
    assert result["changed"] is False


@pytest.mark.parametrize(
    ("wish", "rows"),
    [
        ({"golden": golden("b" * 64, inputs={"x": [[9.0, 9.0, 9.0]]})}, [1, 2, 4]),
        ({"golden": golden(), "warmup": False}, []),
        ({"golden": golden(), "instances": ({**BATCHING, "batching": {"allowed_batch_sizes": [1, 2]}},)}, [1, 2]),
    ],
    ids=["golden", "declined", "sizes"],
)
def test_a_version_that_its_warm_up_kept_from_serving_follows_the_mended_wish(host, wish, rows):
    host.run(golden=golden())
    result = host.run(**wish)
    assert (
        "ranker: version 7 has never served and its warm-up records are of earlier wishes; it is replaced"
        in result["notes"]
    )
    assert (host.rows() if host.file.exists() else []) == rows
    assert host.run(**wish)["changed"] is False


def test_the_controller_sends_such_a_version_once_more_though_its_source_is_the_same(host):
    host.run(golden=golden())
    sent = {"type": "path", "uri": str(host.source)}
    (need,) = host.run(source=sent, golden=golden("b" * 64))["needs"]
    assert need["published"] == []
    (need,) = host.run(source=sent, golden=golden())["needs"]
    assert need["published"] == [host.marker["sha256"], host.marker["tree"]]


def test_a_plan_without_the_requests_of_its_file_leaves_records_as_they_are(host):
    host.run(golden=golden())
    assert host.run(golden={"file": "golden/ranker.jsonl"})["changed"] is False
    assert host.rows() == [1, 2, 4]


def test_a_version_put_there_by_hand_stays_as_it_is(host):
    write_tree(host.root / "ranker" / "7", MODEL)
    host.run(golden=golden())
    assert not host.file.exists()


def test_batches_that_would_be_too_large_are_noted(host):
    batching = {"max_batch_size": 10**7, "allowed_batch_sizes": [1, 10**7]}
    result = host.run(({**BATCHING, "batching": batching},), golden=golden())
    assert (
        "ranker: version 7 has no warm-up records for batches of 10000000, which would be too large" in result["notes"]
    )
    assert host.rows() == [1]


def test_a_version_with_requests_of_its_own_is_warmed_up_by_these(host):
    own = {"golden": golden("b" * 64, inputs={"x": [[7.0, 7.0, 7.0]]})}
    host.run(golden=golden(), proofs={"7": own})
    (first, *_others) = warmup.records(host.file.read_bytes())
    assert list(messages.decode_request(warmup.request_of(first))["x"].values) == [7.0, 7.0, 7.0]
    assert host.marker["warmup"]["of"] == "b" * 64
    assert host.run(golden=golden("c" * 64), proofs={"7": own})["notes"] == []


def test_a_version_keeps_the_contract_of_its_own_and_no_other(host):
    contract, other = {"outputs": {"y": {}}}, {"outputs": {"elsewhere": {}}}
    with pytest.raises(WishError, match=r"version 7 cannot be published: .*elsewhere"):
        host.run(contract=contract, proofs={"7": {"contract": other}})
    assert host.run(contract=other, proofs={"7": {"contract": contract}})["published"]
