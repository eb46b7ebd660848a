# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a histogram can say of an objective: made-up calls at both ends of the bucket that the objective lies in."""

from __future__ import annotations

import bisect
import math

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.signals import buckets
from ansible_collections.tfserving.fleet.plugins.plugin_utils.signals.buckets import INFINITE, LATENCY, QUEUE, Edges
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


def test_limits_of_the_queue_end_at_a_second():
    texts = QUEUE.texts()
    assert len(texts) == 53
    assert texts[:4] == ("100", "120", "144", "172.8")
    assert texts[-2] == "1.09205e+06"


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
    assert edges.is_exact == (edges.below == edges.above)


@pytest.mark.parametrize("objective", [0, -1, 0.009, math.nan])
def test_an_objective_below_the_first_limit_is_refused(objective):
    with pytest.raises(WishError, match=r"below the 0\.01 ms from which on the server's histogram counts; give"):
        buckets.around(objective)


@pytest.mark.parametrize(
    ("tail_us", "slow", "said"),
    [
        # All of the tail at the lower end of the bucket: p99 is 68 ms in truth, within the objective.
        (68_000, 20, "undecided"),
        # At its upper end: 121 ms, beyond it. The counts are the same, so the answer must be.
        (121_000, 20, "undecided"),
        # One step further, above the limit over the objective.
        (122_000, 20, "violated"),
        (122_000, 11, "violated"),
        # One in a hundred may be slow.
        (122_000, 10, "met"),
        (121_000, 10, "met"),
        # Below the limit under the objective.
        (67_000, 20, "met"),
    ],
)
def test_the_verdict_on_100_ms_is_given_only_where_it_is_sure(tail_us, slow, said):
    assert buckets.verdict(histogram({5_000: 1000 - slow, tail_us: slow}), 100) == said


def test_an_objective_on_a_limit_is_never_undecided():
    for slow in range(0, 1001, 5):
        counts = histogram({5_000: 1000 - slow, 122_000: slow})
        assert buckets.verdict(counts, 121.44) == ("violated" if slow > 10 else "met")


def test_without_calls_there_is_neither_verdict_nor_bracket():
    assert buckets.verdict(histogram({}), 100) is None
    assert buckets.bracket(histogram({})) is None


@pytest.mark.parametrize(
    ("calls", "low", "high"),
    [
        ({68_000: 1}, 0.0674664, 0.12144),
        ({121_000: 1}, 0.0674664, 0.12144),
        ({5: 1}, 0, 0.00001),
        ({2e9: 1}, 1474.76, math.inf),
        ({5_000: 99, 121_000: 1}, 0.00357044, 0.00642684),
        ({5_000: 98, 121_000: 2}, 0.0674664, 0.12144),
    ],
)
def test_a_percentile_is_told_as_the_limits_that_it_lies_between(calls, low, high):
    found = buckets.bracket(histogram(calls))
    assert found == pytest.approx((low, high), rel=1e-4)


@given(st.lists(st.tuples(st.integers(1, 10**7), st.integers(1, 50)), min_size=1, max_size=20), st.floats(0.02, 5000))
def test_a_sure_verdict_is_true_of_the_calls_themselves(calls, objective):
    total = sum(number for _, number in calls)
    slow = sum(number for took, number in calls if took > objective * 1000)
    counted: dict[float, int] = {}
    for took, number in calls:
        counted[took] = counted.get(took, 0) + number
    edges = buckets.around(objective)
    if not edges.is_exact:
        said = buckets.verdict(histogram(counted), objective)
        assert said != "violated" or slow > 0.01 * total
        assert said != "met" or slow <= 0.01 * total + 1e-6 * total
