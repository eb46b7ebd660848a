# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The slow calls: the edge, the exact thresholds, and why the edge is fixed before."""

from __future__ import annotations

import random

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.gateway.calls import Latencies
from ansible_collections.tfserving.fleet.plugins.module_utils.load.histogram import Histogram
from ansible_collections.tfserving.fleet.plugins.plugin_utils.rollout import tail
from simulated_rollout import RUNS


def histogram(latencies):
    found = Histogram()
    for us in latencies:
        found.record(us)
    return found


@pytest.mark.parametrize(("calls", "least"), [(300, 9), (1000, 19), (3000, 44)])
def test_the_threshold_is_the_exact_one(calls, least):
    assert tail.threshold(calls) == least


def test_the_threshold_of_no_calls_cannot_be_reached():
    assert tail.threshold(0) == 1


@pytest.mark.parametrize(
    ("calls", "times", "expected"), [(1000, 2, 0.62), (1000, 3, 0.99), (3000, 2, 0.99), (300, 1, 0.004), (10, 1000, 1)]
)
def test_the_power_is_that_of_the_binomial_distribution(calls, times, expected):
    assert tail.power(calls, times) == pytest.approx(expected, abs=0.005)


def test_the_edge_is_the_p99_of_the_control():
    found, why = tail.edge(histogram(range(1, 100_001, 100)))
    assert found == pytest.approx(0.099, rel=0.02)
    assert not why


def test_too_few_calls_of_the_control_give_no_edge():
    found, why = tail.edge(histogram(range(1, 101)))
    assert found is None
    assert why == "p99 is withheld: it takes 459 requests to claim it, and there are 100"


def answer(control=0, stable=0, missing=0, ms=84):
    """Return what a gateway has counted: of the control 1 ms to ``ms``, of the others ten times as late."""
    late = {"control": [1000 * (1 + n % ms) for n in range(control)], "stable": [10_000] * stable}
    return {"latencies": {arm: Latencies(histogram(each), missing).to_json() for arm, each in late.items()}}


@pytest.mark.parametrize(
    ("gateways", "expected", "said"),
    [
        (
            {"edge-1": answer(840), "edge-2": answer(400, 99_000)},
            0.084,
            "calls above 84 ms count as slow: the control's p99 of 1,240 calls",
        ),
        # The control is counted from the first step on, and has a small share.
        (
            {"edge-1": answer(100, 5000), "edge-2": None},
            0.033,
            "calls above 33 ms count as slow: version 7's p99 of 5,100 calls",
        ),
        ({"edge-1": answer(458)}, None, "p99 is withheld: it takes 459 requests to claim it, and there are 458"),
        ({"edge-1": None}, None, "p99 is withheld: it takes 459 requests to claim it, and there are 0"),
        (
            {"edge-1": answer(900, missing=20)},
            None,
            "p99 is withheld: 40 of 940 requests failed, so that it has no latency",
        ),
        # HAProxy writes whole milliseconds.
        (
            {"edge-1": answer(500, ms=1)},
            0.001,
            "calls above 1 ms count as slow: the control's p99 of 500 calls",
        ),
    ],
)
def test_the_edge_is_measured_by_what_gateways_have_counted(gateways, expected, said):
    assert tail.measured(gateways, 7) == (expected, said)


@pytest.mark.parametrize("bad", [{}, {"latencies": None}, {"latencies": {"control": {}, "stable": {}}}])
def test_latencies_that_cannot_be_used_give_no_edge(bad):
    assert tail.measured({"edge-1": answer(900), "edge-2": bad}, 7) == (
        None,
        "gateway edge-2 has no latencies that can be used",
    )


def test_an_edge_of_the_same_calls_would_be_wrong_several_times_as_often():
    """1,000 calls of each of two versions that are alike; the threshold is for one false alarm in a hundred."""
    alarms = 0
    for seed in range(RUNS):
        draw = random.Random(f"edge {seed}")
        edge = sorted(draw.random() for _ in range(1000))[989]
        alarms += sum(draw.random() > edge for _ in range(1000)) >= tail.threshold(1000)
    assert alarms >= RUNS * 0.03
