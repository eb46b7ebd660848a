# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The record of what golden requests have proven of a version, with what, and what they have not."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.serving import blessing
from ansible_collections.tfserving.fleet.plugins.module_utils.serving.check import Expectation, Probe

GOLDEN = {"file": "golden/ranker.jsonl", "sha256": "g" * 64, "requests": [{}]}
GOOD = Probe(ok=True, golden="1 of 1 requests of golden/ranker.jsonl")
BAD = Probe(ok=False, note="y[0] is 3, expected 2")


@pytest.fixture
def place(tmp_path):
    marker = tmp_path / "models" / ".published" / "8.json"
    marker.parent.mkdir(parents=True)
    marker.write_text(json.dumps({"tree": "t" * 64}))
    return tmp_path


def expected(place, **more: Any) -> Expectation:
    return Expectation(
        **{"model": "ranker", "base_path": str(place / "models"), "versions": (7, 8), "golden": GOLDEN, **more}
    )


def keep(place, found: Probe, server: str = "2.19.1", **more: Any) -> dict[str, Any]:
    blessing.keep(str(place), expected(place, **more), server, found)
    return blessing.entry(str(place), "ranker", 8)


def test_a_proof_names_what_it_is_about(place):
    found = keep(place, GOOD)
    assert found.pop("at").endswith("Z")
    assert found == {
        "tree": "t" * 64,
        "server": "2.19.1",
        "golden": "g" * 64,
        "contract": "",
        "proven": True,
        "words": "1 of 1 requests of golden/ranker.jsonl",
    }


def test_a_failure_ends_a_proof_and_a_whole_round_a_failure(place):
    keep(place, GOOD)
    assert (keep(place, BAD)["proven"], keep(place, BAD)["words"]) == (False, "y[0] is 3, expected 2")
    assert keep(place, GOOD)["proven"] is True


def test_a_proof_that_says_the_same_is_not_written_again(place):
    keep(place, GOOD)
    before = os.stat(place / "ranker.json")
    keep(place, GOOD)
    assert os.stat(place / "ranker.json").st_ino == before.st_ino
    keep(place, GOOD, server="2.20.0")
    assert os.stat(place / "ranker.json").st_ino != before.st_ino


def test_another_contract_is_another_proof(place):
    one, other = keep(place, GOOD, contract={"outputs": {"y": {}}}), keep(place, GOOD, contract={"outputs": {"z": {}}})
    assert one["contract"] != other["contract"] != ""


@pytest.mark.parametrize(("found", "more"), [(Probe(ok=None), {}), (GOOD, {"golden": {}}), (GOOD, {"versions": ()})])
def test_nothing_is_recorded_of_what_golden_requests_have_not_judged(place, found, more):
    assert keep(place, found, **more) == {}
    assert not (place / "ranker.json").exists()


@pytest.mark.parametrize("content", ["", "[]", '{"schema": 1, "versions": {"8": 5}}', '{"schema": 9, "versions": {}}'])
def test_a_damaged_record_is_begun_anew(place, content):
    (place / "ranker.json").write_text(content)
    assert blessing.entry(str(place), "ranker", 8) == {}
    assert keep(place, GOOD)["proven"] is True


@pytest.mark.parametrize("marker", [None, "[]", '{"tree": 5}', "x"])
def test_a_version_without_a_digest_is_recorded_without_one(place, marker):
    path = place / "models" / ".published" / "8.json"
    path.unlink() if marker is None else path.write_text(marker)
    assert keep(place, GOOD)["tree"] == ""


def test_the_record_stays_small(place):
    for version in range(1, 31):
        blessing.keep(str(place), expected(place, versions=(version,)), "2.19.1", GOOD)
    kept = json.loads((place / "ranker.json").read_text())["versions"]
    assert sorted(map(int, kept)) == list(range(11, 31))


def test_versions_with_a_proof_of_their_own_get_an_entry_each(place):
    other = Expectation("ranker", str(place / "models"), (7,), golden={**GOLDEN, "sha256": "h" * 64}, version=7)
    whole = expected(place, others=(other,))
    found = Probe(ok=False, note="version 7: y[0] is 3", parts=((whole.parts[0], GOOD), (other, BAD)))
    blessing.keep(str(place), whole, "2.19.1", found)
    entries = {version: blessing.entry(str(place), "ranker", version) for version in (7, 8)}
    assert {version: (each["golden"][0], each["proven"]) for version, each in entries.items()} == {
        7: ("h", False),
        8: ("g", True),
    }
