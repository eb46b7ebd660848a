# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What somebody decided about a gate survives, and what cannot be read keeps it closed."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.gate import record as records
from gate_cases import record


def text_of(folder, **more):
    known = {
        "schema": 1,
        "state": "closed",
        "reason": "",
        "by": "alice",
        "kind": "run",
        "run": "",
        "since": 5,
        "until": None,
    }
    Path(records.path_of("ranker", folder)).write_text(json.dumps({**known, **more}))


def test_no_record_is_open(tmp_path):
    assert records.read("ranker", 0, str(tmp_path)) is None


def test_a_record_comes_back_as_it_was_written_and_is_readable_by_the_companion(tmp_path):
    folder = str(tmp_path / "a/b")
    records.write("ranker", record(run="r1", until=2e9), folder)
    assert records.read("ranker", 0, folder) == record(run="r1", until=2e9)
    assert os.stat(records.path_of("ranker", folder)).st_mode & 0o777 == 0o644
    assert os.stat(folder).st_mode & 0o777 == 0o755


def test_the_words_say_who_why_and_since_when():
    assert record().words() == "draining by alice: driver 570 since 2026-11-27T10:00Z"
    assert record(reason="", since=0).words() == "draining by alice"


def test_a_record_whose_time_is_over_is_none(tmp_path):
    records.write("ranker", record(until=100.0), str(tmp_path))
    assert records.read("ranker", 99.0, str(tmp_path)) is not None
    assert records.read("ranker", 100.0, str(tmp_path)) is None


def test_a_removed_record_is_gone_and_removing_none_is_no_error(tmp_path):
    records.write("ranker", record(), str(tmp_path))
    for _twice in range(2):
        records.remove("ranker", str(tmp_path))
        assert records.read("ranker", 0, str(tmp_path)) is None


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "it is no JSON"),
        ('{"schema": 1', "it is no JSON"),
        ("[" * 5000, "it is no JSON"),
        ("[]", "it is no record of a gate"),
        ('{"schema": 2}', "it is no record of a gate"),
        ("x" * 20000, "it has more than 16384 bytes"),
    ],
)
def test_a_damaged_record_closes_the_gate_and_says_how_to_repair_it(tmp_path, content, problem):
    path = tmp_path / "ranker.json"
    path.write_text(content)
    found = records.read("ranker", 0, str(tmp_path))
    assert found.words() == (f"closed by nobody known: {path} cannot be read ({problem}); remove it or open the gate")
    # No run may open what a person may have closed.
    assert not found.yields_to("run")
    assert found.yields_to("person")


@pytest.mark.parametrize(
    "wrong",
    [
        {"state": "open"}, {"kind": "alice"}, {"since": True}, {"since": -1}, {"until": "tomorrow"}, {"reason": 5},
        {"by": None}, {"until": 1e300},
    ],
)  # fmt: skip
def test_a_record_with_other_values_is_damaged(tmp_path, wrong):
    text_of(str(tmp_path), **wrong)
    assert records.read("ranker", 0, str(tmp_path)).by == "nobody known"


def test_a_directory_in_place_of_a_record_closes_the_gate(tmp_path):
    (tmp_path / "ranker.json").mkdir()
    assert records.read("ranker", 0, str(tmp_path)).state == "closed"


def test_texts_are_bounded_and_harmless(tmp_path):
    text_of(str(tmp_path), reason="x" * 5000, by="\x1b[2J")
    found = records.read("ranker", 0, str(tmp_path))
    assert len(found.reason) == 200
    assert found.by == r"\x1b[2J"


@pytest.mark.parametrize(
    ("present", "kinds"),
    [("run", ["run", "rollout", "person"]), ("rollout", ["rollout", "person"]), ("person", ["person"])],
)
def test_nobody_lifts_what_is_of_somebody_further_up(present, kinds):
    assert [kind for kind in records.KINDS if record(kind=present).yields_to(kind)] == kinds


def test_a_record_says_the_same_whenever_it_was_written():
    assert record().says(record(since=9))
    assert not record().says(record(reason="another"))
    assert not record().says(record(until=5.0))
