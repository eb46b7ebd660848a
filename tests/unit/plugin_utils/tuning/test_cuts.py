# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Shards at the end of a tuning: with which settings, for how long, and which cut is advised."""

from __future__ import annotations

import dataclasses

import pytest
import simulated_team
from ansible_collections.tfserving.fleet.plugins.plugin_utils.benchmark import sharding
from ansible_collections.tfserving.fleet.plugins.plugin_utils.measure import shards
from ansible_collections.tfserving.fleet.plugins.plugin_utils.tuning import cuts, space
from tuning_cases import context

# A call of n items takes 1 + n / 10 ms: 64 of them 7.4 ms.
CURVE = shards.Fit(1000, 100)


def advised(slo_ms, *measured, **more):
    """Return the advice on requests of 64 items; ``measured`` is shards, p50 and p99 in ms."""
    times = {count: (p50 * 1000, p99 and p99 * 1000) for count, p50, p99 in measured}
    rows = shards.assess(64, times, CURVE, **{"slots": 8, "utilisation": 0, "batching": False, **more})
    return cuts.advised(rows, slo_ms * 1000)


def test_the_fastest_cut_that_keeps_the_objective_is_advised():
    best, sentence = advised(10, (1, 7.4, 9), (2, 4.2, 8), (4, 3.0, 12))
    assert best == 2
    assert sentence.startswith("cut requests into 2 shards of 32 items: 1.8 times as fast for 12% less capacity, ")
    assert sentence.endswith("; p99 is 8 ms, within the objective of 10 ms")


def test_shards_that_are_faster_but_break_the_objective_are_not_advised():
    assert advised(10, (1, 7.4, 9), (4, 3.0, 12)) == (
        1,
        "leave requests whole: 4 shards would be faster, but break the objective; p99 is 9 ms, within the objective of"
        " 10 ms",
    )


def test_where_nothing_keeps_the_objective_the_fastest_is_advised():
    best, sentence = advised(5, (1, 7.4, 9), (2, 4.2, 8), (4, 3.0, 6))
    assert best == 4
    assert sentence.endswith("; p99 is 6 ms, over the objective of 5 ms")


def test_shards_that_alone_keep_the_objective_but_are_refused_leave_requests_whole():
    assert advised(8, (1, 7.4, 9), (4, 3.0, 6), slots=2) == (
        1,
        "leave requests whole: 4 shards wait for each other in 2 free slots; p99 is 9 ms, over the objective of 8 ms",
    )


def test_a_p99_that_is_withheld_decides_nothing():
    best, sentence = advised(10, (1, 7.4, None), (2, 4.2, None))
    assert best == 2
    assert sentence.endswith("; too few requests tell whether p99 keeps the objective of 10 ms")


def test_shards_are_measured_once_where_the_plan_is_chosen():
    place = context()
    planned = space.of_plan(place.planned())
    other = dataclasses.replace(planned, inter_op=planned.inter_op + 1)
    assert cuts.wanted(planned, planned) == cuts.wanted(None, planned) == [("plan", planned)]
    assert cuts.wanted(other, planned) == [("chosen", other), ("plan", planned)]


@pytest.mark.parametrize(("shards_", "seconds"), [("auto", 764), ("1,2", 296), ("2,7", 452)])
def test_the_longest_time_is_known_beforehand(shards_, seconds):
    # First requests of 4 s, stages of 120 s, all shards but the whole request alone for 20 s, 8 s besides each.
    assert sharding.longest_s(simulated_team.asked(shards=shards_)) == seconds
