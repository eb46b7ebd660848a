# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Counts by the second are handed over without loss, and a series keeps its size however long a stage is."""

from __future__ import annotations

import copy

from ansible_collections.tfserving.fleet.plugins.module_utils.load.histogram import Histogram
from ansible_collections.tfserving.fleet.plugins.module_utils.load.tally import (
    MOST_KINDS,
    MOST_STEPS,
    OTHER,
    Count,
    Series,
    Tally,
)


def counted(ok=0, errors=0, us=1000):
    found = Count(offered=ok + errors, sent=ok + errors, ok=ok)
    if errors:
        found.fail("timeout", errors)
    if ok:
        found.histogram.record(us, ok)
    return found


def test_a_tally_hands_over_once():
    tally = Tally()
    tally.at((3, True)).offered += 2
    tally.at((3, True)).offered += 1
    assert [(key, count.offered) for key, count in tally.take()] == [((3, True), 3)]
    assert tally.take() == []


def test_counts_add_up():
    whole = counted(2, 1, 100)
    whole.add(counted(3, 4, 200))
    assert (whole.offered, whole.ok, whole.failed, whole.errors) == (10, 5, 5, {"timeout": 5})
    assert whole.histogram.counts == {100: 2, 200: 3}


def test_kinds_of_errors_beyond_a_bound_are_counted_together():
    count = Count()
    for number in range(MOST_KINDS + 10):
        count.fail(f"HTTP {number}")
    count.fail("HTTP 1")
    assert (count.failed, count.errors[OTHER], count.errors["HTTP 1"]) == (MOST_KINDS + 11, 10, 2)


def test_a_series_joins_processes_and_late_counts_of_a_second():
    series = Series()
    series.add(1, counted(2, us=100))
    series.add(0, counted(1, 1))
    series.add(1, counted(3, 1, us=300))
    for second, open_ in ((0, 5), (0, 2), (1, 1), (1, 0)):
        series.see(second, open_)
    first, second = series.rows()
    assert (first["t"], first["offered"], first["ok"], first["errors"], first["open"]) == (0, 2, 1, 1, 7)
    assert (second["t"], second["offered"], second["ok"], second["errors"], second["open"]) == (1, 6, 5, 1, 1)
    assert second["histogram"] == {"schema": 1, "counts": {"100": 2, "278": 3}, "min": 100, "max": 300, "sum": 1100}


def test_a_series_of_an_hour_has_a_row_for_each_second():
    series = Series()
    for second in range(MOST_STEPS):
        series.add(second, counted(1))
    assert [row["t"] for row in series.rows()] == list(range(MOST_STEPS))
    assert series.step_s == 1


def test_a_longer_series_has_coarser_steps_and_loses_nothing():
    series = Series()
    seconds = 3 * MOST_STEPS + 1
    for second in range(seconds):
        series.add(second, counted(1, 1, us=second + 1))
        series.see(second, second)
    rows = list(series.rows())
    assert series.step_s == 4
    assert [row["t"] for row in rows] == list(range(0, seconds, 4))
    assert sum(row["offered"] for row in rows) == 2 * seconds
    assert rows[2]["open"] == 11
    assert rows[2]["histogram"]["counts"] == {"9": 1, "10": 1, "11": 1, "12": 1}
    whole = Histogram()
    for row in rows:
        whole.add(Histogram.from_json(copy.deepcopy(row["histogram"])))
    assert whole.sum == seconds * (seconds + 1) // 2


def test_a_second_far_ahead_costs_no_more_than_one_step():
    series = Series()
    series.add(0, counted(1))
    series.add(7 * 24 * 3600, counted(1))
    assert len(list(series.rows())) == 2
    assert series.step_s == 256
