# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Percentiles: how many requests they take, their intervals, and when they are withheld."""

from __future__ import annotations

import math
import random
from fractions import Fraction

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.load.histogram import Histogram, bounds, index
from ansible_collections.tfserving.fleet.plugins.plugin_utils.measure.statistics import (
    Percentile,
    needed,
    percentiles,
    ranks,
    supported,
    why_withheld,
    wide,
)


def histogram(*latencies: int) -> Histogram:
    found = Histogram()
    for us in latencies:
        found.record(us)
    return found


# Published: the number of requests, none of which is over the limit, that shows a percentile.
@pytest.mark.parametrize(
    ("q", "at_99", "at_95"), [(0.9, 44, 29), (0.95, 90, 59), (0.99, 459, 299), (0.999, 4603, 2995)]
)
def test_a_percentile_takes_the_published_number_of_requests(q, at_99, at_95):
    assert (needed(q), needed(q, 0.95)) == (at_99, at_95)
    assert supported(q, at_99)
    assert not supported(q, at_99 - 1)


# Tables of the confidence interval of a median (sign test), e.g. Conover, Practical Nonparametric Statistics.
@pytest.mark.parametrize(("n", "ends"), [(5, (0, None)), (6, (1, 6)), (10, (2, 9)), (20, (6, 15)), (25, (8, 18))])
def test_the_interval_of_a_median_has_the_ranks_of_the_tables(n, ends):
    assert ranks(0.5, n) == ends


def at_most(k: int, n: int, p: Fraction) -> Fraction:
    return sum((math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k + 1)), Fraction(0))


@pytest.mark.parametrize("n", [44, 90, 299, 459])
@pytest.mark.parametrize("percent", [50, 90, 99])
def test_ranks_are_the_narrowest_whose_tails_are_small_enough(n, percent):
    p, tail = Fraction(percent, 100), Fraction(25, 1000)
    low, high = ranks(percent / 100, n)
    assert at_most(low - 1, n, p) <= tail < at_most(low, n, p)
    if high is None:
        assert at_most(n - 1, n, p) < 1 - tail
    else:
        assert at_most(high - 1, n, p) >= 1 - tail > at_most(high - 2, n, p)


def test_the_interval_of_p99_narrows_as_published():
    assert ranks(0.99, 10_000) == (9_880, 9_920)
    low, high = ranks(0.99, 1_000)
    assert (round(low / 1000, 3), round(high / 1000, 3)) == (0.983, 0.997)


def test_ranks_of_very_many_requests_are_scaled_and_no_narrower():
    low, high = ranks(0.99, 10**12)
    assert low == 10**4 * ranks(0.99, 10**8)[0]
    assert high == 10**4 * ranks(0.99, 10**8)[1]


def test_the_interval_holds_the_true_p99_in_at_least_95_of_100_samples():
    # 400 samples of 459, the least that are accepted, of a steep tail. With a true coverage of 95 %, fewer than 367
    # would be seen once in 1,000 times.
    source, truth, held = random.Random(1), 10_000 * math.exp(2.326348), 0
    for _ in range(400):
        sample = histogram(*(round(10_000 * math.exp(source.gauss(0, 1))) for _ in range(459)))
        found = percentiles(sample).found["p99"]
        held += found.low <= truth <= found.high
    assert held >= 367


def test_the_ends_are_the_outer_bounds_of_their_buckets():
    found = percentiles(histogram(*[100_000] * 10_000)).found["p99"]
    low, high = bounds(index(100_000))
    assert low < 100_000 < high
    assert found == Percentile(100_000, low, high)


def test_p99_is_the_rank_that_it_says():
    found = percentiles(histogram(*range(1, 201))).found
    assert (found["p50"].us, found["p90"].us, found["p95"].us) == (100, 180, 190)
    assert (found["p50"].low, found["p50"].high) == ranks(0.5, 200)


def test_p99_is_withheld_under_459_requests_and_p50_is_not():
    found = percentiles(histogram(*range(1, 121)))
    assert set(found.found) == {"p50", "p90", "p95"}
    assert found.withheld == {
        "p99": "p99 is withheld: it takes 459 requests to claim it, and there are 120",
        "p99.9": "p99.9 is withheld: it takes 4,603 requests to claim it, and there are 120",
    }
    assert "p99" in percentiles(histogram(*range(1, 460))).found


def test_failures_count_as_slower_than_any_answer():
    answers = histogram(*[1] * 9_000, *[200] * 900)
    assert percentiles(answers).found["p90"].us == 1
    assert percentiles(answers, missing=100).found["p99"] == Percentile(200, 200, None)
    assert percentiles(answers, missing=101).withheld["p99"] == (
        "p99 is withheld: 101 of 10,001 requests failed, so that it has no latency"
    )
    assert percentiles(answers, missing=101).found["p90"].us == 200


def test_nothing_answered_has_no_percentile():
    assert percentiles(Histogram()).found == {}
    assert why_withheld("p50", 0) == "p50 is withheld: it takes 7 requests to claim it, and there are 0"
    assert why_withheld("p50", 0, 500) == "p50 is withheld: 500 of 500 requests failed, so that it has no latency"


def test_the_json_has_a_null_and_a_sentence_for_what_is_withheld():
    shown = percentiles(histogram(*range(1, 101)), names=("p50", "p99")).to_json()
    assert shown == {
        "p50": {"us": 50, "low": 40, "high": 61},
        "p99": None,
        "withheld": {"p99": "p99 is withheld: it takes 459 requests to claim it, and there are 100"},
    }


def test_a_wide_interval_is_remarked_upon():
    assert wide(1_000) == (
        "the interval of p99 is wide: with 1,000 requests it reaches from p98.3 to p99.7 of the sample; send 10,000 or"
        " more"
    )
    assert wide(10_000) == ""
    assert wide(458) == ""
