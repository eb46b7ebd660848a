# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The slow calls: the edge, the exact thresholds, and why the edge is fixed before."""

from __future__ import annotations

import random

import pytest
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


def test_an_edge_of_the_same_calls_would_be_wrong_several_times_as_often():
    """1,000 calls of each of two versions that are alike; the threshold is for one false alarm in a hundred."""
    alarms = 0
    for seed in range(RUNS):
        draw = random.Random(f"edge {seed}")
        edge = sorted(draw.random() for _ in range(1000))[989]
        alarms += sum(draw.random() > edge for _ in range(1000)) >= tail.threshold(1000)
    assert alarms >= RUNS * 0.03
