# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dataclasses
import json
import random

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.tuning import choice, journal, seeds
from ansible_collections.tfserving.fleet.plugins.plugin_utils.tuning.journal import Journal
from ansible_collections.tfserving.fleet.plugins.plugin_utils.tuning.search import Search
from ansible_collections.tfserving.fleet.plugins.plugin_utils.tuning.trial import Failed
from tuning_cases import LONG, as_predicted, context, curve, run, site

PLACE = site()
SEEDS = seeds.seeds(PLACE)


def what(**changes):
    return {**journal.identity(context(), {"ranker": [7]}, 50, {"seed": 1}), **changes}


def fresh():
    return Search(PLACE, SEEDS, LONG)


def noisy(trial):
    """Measure with noise, failures among them, on a host that drifts once."""
    if random.Random(trial.number).random() < 0.1 and trial.origin == "search":
        return Failed("failed", "the server did not start", 10)
    return as_predicted(PLACE, noise=0.03, speed=lambda number: 0.8 if number > 12 else 1)(trial)


@pytest.fixture
def whole(tmp_path):
    """Return the journal of a run that was not interrupted, and its search."""
    path = tmp_path / "whole.jsonl"
    kept, search = Journal(path), fresh()
    kept.begin(what(), "2026-11-26T12:00:00Z")
    kept.points(curve().points, PLACE.load, 1200.0)

    def measure(trial):
        outcome = noisy(trial)
        kept.told(trial, outcome)
        return outcome

    return path, run(search, measure)


def test_a_run_killed_anywhere_comes_to_the_same_choice(whole, tmp_path):
    path, uninterrupted = whole
    wanted = choice.choose(uninterrupted)
    assert uninterrupted.drifts
    assert len(uninterrupted.history) > 20
    lines = path.read_bytes().splitlines(keepends=True)
    for kept in range(2, len(lines) + 1):
        cut = tmp_path / "cut.jsonl"
        cut.write_bytes(b"".join(lines[:kept]))
        search = fresh()
        journal.replay(cut, journal.read(cut, what()), search)
        assert len(search.history) == kept - 2
        if kept < len(lines):
            assert search.next() == uninterrupted.history[kept - 2].trial
        assert choice.choose(run(search, noisy)) == wanted


def test_a_line_cut_off_anywhere_is_dropped_and_the_file_goes_on(whole):
    path, _ = whole
    data = path.read_bytes()
    ends = [number for number, byte in enumerate(data) if byte == 10]
    for cut in (ends[3] - 1, ends[3] - 40, ends[2] + 2):
        path.write_bytes(data[:cut])
        record = journal.read(path, what())
        assert len(record.told) == 1
        Journal(path).told(*record.told[0])
        assert len(journal.read(path, what()).told) == 2


def test_points_and_times_are_kept(whole):
    record = journal.read(whole[0], what())
    assert record.began == "2026-11-26T12:00:00Z"
    assert record.points == list(curve().points)
    assert (record.load, record.wished) == (PLACE.load, 1200)


def test_a_run_killed_before_its_first_line_begins_anew(tmp_path):
    path = tmp_path / "journal.jsonl"
    assert journal.read(path, what()) is None
    path.write_bytes(b'{"schema": 1, "ident')
    assert journal.read(path, what()) is None


def test_a_run_killed_before_the_curve_has_no_points(tmp_path):
    path = tmp_path / "journal.jsonl"
    Journal(path).begin(what(), "now")
    assert journal.read(path, what()).points == []


@pytest.mark.parametrize(
    ("part", "value", "other"),
    [
        ("instance", "other", "another instance"),
        ("plan", "0" * 16, "another plan"),
        ("models", {"ranker": [8]}, "other models"),
        ("slo_p99_ms", 20, "another objective"),
        ("options", {"seed": 2}, "other options of the search"),
    ],
)
def test_the_journal_of_something_else_is_refused(whole, part, value, other):
    path, _ = whole
    with pytest.raises(WishError) as caught:
        journal.read(path, what(**{part: value}))
    assert str(caught.value) == (
        f"{path}: is the journal of {other}, so its trials cannot be compared with new ones; remove it to begin anew,"
        " or undo the change to go on"
    )


def test_the_identity_follows_the_plan():
    assert what() == what()
    changed = journal.identity(context(batching={"max_batch_size": 8}), {"ranker": [7]}, 50, {"seed": 1})
    assert changed["plan"] != what()["plan"]


@pytest.mark.parametrize(
    "line",
    [
        b"\xff\xfe\n",
        b"nonsense\n",
        b"[]\n",
        b"{}\n",
        b'{"trial": {}, "outcome": {}}\n',
        b'{"points": [{"items": "x"}]}\n',
        b'{"points": [], "load": {"slo": 1}, "wished": null}\n',
        b'{"trial": null, "outcome": null}\n',
        b"[" * 100_000 + b"\n",
    ],
)
def test_a_damaged_journal_is_refused(whole, line):
    path, _ = whole
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:3], line, *lines[3:]]))
    with pytest.raises(WishError) as caught:
        journal.read(path, what())
    assert str(caught.value) == f"{path}: cannot be read; remove it to begin anew"


def test_the_journal_of_another_release_is_refused(whole):
    path, _ = whole
    path.write_text(json.dumps({"schema": 2, "identity": {}, "began": ""}) + "\n", encoding="utf-8")
    with pytest.raises(WishError, match="is of another release of this collection; remove it to begin anew"):
        journal.read(path, what())


def test_a_journal_without_end_is_refused(whole, monkeypatch):
    monkeypatch.setattr(journal, "LARGEST", 100)
    with pytest.raises(WishError, match="is larger than any journal; remove it to begin anew"):
        journal.read(whole[0], what())


def test_trials_that_this_search_would_not_try_are_refused(whole):
    path, _ = whole
    record = journal.read(path, what())
    trial, outcome = record.told[1]
    record.told[1] = (dataclasses.replace(trial, stage_s=11), outcome)
    with pytest.raises(WishError) as caught:
        journal.replay(path, record, fresh())
    assert str(caught.value) == (f"{path}: has as trial 2 what this release would not try; remove it to begin anew")
