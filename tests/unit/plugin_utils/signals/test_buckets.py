# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a histogram can say of an objective: made-up calls at both ends of the bucket that the objective lies in."""

from __future__ import annotations

import bisect
import math

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.signals import buckets
from ansible_collections.tfserving.fleet.plugins.plugin_utils.signals.buckets import INFINITE, LATENCY, Edges
from hypothesis import given
from hypothesis import strategies as st


def histogram(calls_us: dict[float, int]) -> dict[str, float]:
    """Return the page's counts of calls that took so many µs each."""
    texts, limits = LATENCY.texts(), LATENCY.limits()
    inside = [0] * len(texts)
    for took, number in calls_us.items():
        inside[bisect.bisect_left(limits, took)] += number
    return {text: float(sum(inside[: index + 1])) for index, text in enumerate(texts)}


def test_limits_read_as_the_server_prints_them():
    texts = LATENCY.texts()
    assert len(texts) == 34
    assert texts[:5] == ("10", "18", "32.4", "58.32", "104.976")
    assert texts[13:20] == ("20823", "37481.3", "67466.4", "121440", "218591", "393464", "708235")
    assert texts[-1] == INFINITE


@pytest.mark.parametrize(
    ("objective", "edges"),
    [
        (100, Edges("67466.4", "121440")),
        (50, Edges("37481.3", "67466.4")),
        (121.44, Edges("121440", "121440")),
        (67.466, Edges("67466.4", "67466.4")),
        (0.01, Edges("10", "10")),
        (10_000_000, Edges("1.47476e+09", INFINITE)),
    ],
)
def test_an_objective_lies_between_two_limits_or_is_one(objective, edges):
    assert buckets.around(objective) == edges


@pytest.mark.parametrize("objective", [0, -1, 0.009, math.nan])
def test_an_objective_below_the_first_limit_is_refused(objective):
    with pytest.raises(WishError, match=r"below the 0\.01 ms from which on the server's histogram counts; give"):
        buckets.around(objective)


@given(st.lists(st.tuples(st.integers(1, 10**7), st.integers(1, 50)), min_size=1, max_size=20), st.floats(0.02, 5000))
def test_the_calls_within_an_objective_lie_between_the_counts_of_its_two_limits(calls, objective):
    within = sum(number for took, number in calls if took <= objective * 1000)
    counted: dict[float, int] = {}
    for took, number in calls:
        counted[took] = counted.get(took, 0) + number
    edges = buckets.around(objective)
    if edges.below != edges.above:
        counts = histogram(counted)
        assert counts[edges.below] <= within <= counts[edges.above]
