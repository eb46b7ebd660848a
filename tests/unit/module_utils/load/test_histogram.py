# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Latencies are counted in constant memory within 1 %, merged without loss, and read back only where they are sound."""

from __future__ import annotations

import copy
import json
from math import ceil

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.load.histogram import (
    HIGHEST,
    LONGEST,
    Histogram,
    bounds,
    index,
)
from hypothesis import given
from hypothesis import strategies as st

US = st.one_of(st.integers(1, 2000), st.integers(1, LONGEST))
MANY = st.lists(US, min_size=1, max_size=200)


def histogram(values):
    found = Histogram()
    for value in values:
        found.record(value)
    return found


@pytest.mark.parametrize(
    ("us", "bucket", "low", "high"),
    [
        (1, 1, 1, 1),
        (255, 255, 255, 255),
        (256, 256, 256, 257),
        (257, 256, 256, 257),
        (511, 383, 510, 511),
        (512, 384, 512, 515),
        (1000, 506, 1000, 1003),
        (LONGEST, 3286, 3590324224, LONGEST),
    ],
)
def test_buckets_have_known_bounds(us, bucket, low, high):
    assert index(us) == bucket
    assert bounds(bucket) == (low, high)


def test_buckets_follow_each_other_without_gap_or_overlap():
    ends = [bounds(bucket) for bucket in range(HIGHEST + 1)]
    assert all(before[1] + 1 == after[0] for before, after in zip(ends, ends[1:]))
    assert all(index(low) == bucket == index(high) for bucket, (low, high) in enumerate(ends) if bucket)


@pytest.mark.parametrize("bucket", [-1, HIGHEST + 1])
def test_a_bucket_beyond_the_last_is_refused(bucket):
    with pytest.raises(ValueError, match=f"there is no bucket {bucket}: they are numbered from 0 to {HIGHEST}"):
        bounds(bucket)


@given(MANY, st.floats(0, 1))
def test_quantiles_are_within_one_percent_of_the_exact_ones(values, q):
    exact = sorted(values)[max(ceil(round(q * len(values), 6)), 1) - 1]
    assert abs(histogram(values).quantile(q) - exact) <= exact * 0.01


@given(MANY)
def test_the_ends_and_the_mean_are_exact(values):
    found = histogram(values)
    assert (found.min, found.max) == (min(values), max(values))
    assert (index(found.at_rank(1)), index(found.at_rank(len(values)))) == (index(found.min), index(found.max))
    assert found.mean == sum(values) / len(values)
    assert found.total == len(values)


def test_ranks_of_a_hundred_values_are_the_values_themselves():
    found = histogram(range(1, 101))
    assert [found.quantile(q / 100) for q in range(1, 101)] == list(range(1, 101))


def test_values_beyond_the_range_count_as_its_ends():
    found = histogram([-5, 0, LONGEST * 2])
    assert (found.min, found.max, found.counts) == (1, LONGEST, {1: 2, HIGHEST: 1})


def test_a_count_records_as_many():
    many = Histogram()
    many.record(1234, 5)
    assert many == histogram([1234] * 5)


@given(MANY, MANY)
def test_to_add_is_to_record_both(first, second):
    found = histogram(first)
    found.add(histogram(second))
    assert found == histogram(first + second)


def test_an_empty_histogram_adds_nothing():
    found = histogram([7])
    found.add(Histogram())
    empty = Histogram()
    empty.add(found)
    assert found == empty == histogram([7])


def test_an_empty_histogram_has_no_quantile():
    empty = Histogram()
    assert (empty.min, empty.max, empty.mean, empty.total, empty.share_over(1)) == (0, 0, 0.0, 0, 0.0)
    with pytest.raises(ValueError, match="there is no rank 1 among 0 latencies"):
        empty.quantile(0.5)


@pytest.mark.parametrize("q", [-0.1, 1.1, float("nan")])
def test_a_quantile_beyond_0_to_1_is_refused(q):
    with pytest.raises(ValueError, match="a quantile is a share from 0 to 1"):
        histogram([1]).quantile(q)


def test_the_share_over_a_limit_is_known():
    found = histogram([10] * 90 + [200] * 9 + [50_000])
    assert [found.share_over(limit) for limit in (9, 10, 199.5, 200, 49_000, 60_000)] == [1, 0.1, 0.1, 0.01, 0.01, 0]


@given(MANY, st.floats(0, 1), US)
def test_the_share_over_a_limit_agrees_with_the_quantiles(values, q, limit):
    found = histogram(values)
    if found.quantile(q) <= limit:
        assert found.share_over(limit) <= 1 - q + 1e-6


@given(st.lists(US, max_size=200))
def test_json_brings_it_back(values):
    found = histogram(values)
    assert Histogram.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_json_has_the_documented_form():
    found = histogram([3, 3, 300])
    assert found.to_json() == {"schema": 1, "counts": {"3": 2, "278": 1}, "min": 3, "max": 300, "sum": 306}


def test_memory_is_bounded_whatever_is_recorded():
    found = histogram(us for shift in range(32) for us in range(1 << shift, 2 << shift, max((1 << shift) // 300, 1)))
    assert len(found.counts) == HIGHEST


SOUND = {"schema": 1, "counts": {"3": 2, "278": 1}, "min": 3, "max": 300, "sum": 306}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"schema": 2}, "the schema of a histogram is 1"),
        ({"schema": True}, "the schema of a histogram is 1"),
        ({"counts": []}, "counts of a histogram is a mapping of at most 3286 buckets"),
        ({"counts": {str(each): 1 for each in range(4000)}}, "a mapping of at most 3286 buckets"),
        ({"counts": {"0": 1}}, "numbered from 1 to 3286"),
        ({"counts": {"3287": 1}}, "numbered from 1 to 3286"),
        ({"counts": {"03": 1}}, "numbered from 1 to 3286"),
        ({"counts": {3: 1}}, "numbered from 1 to 3286"),
        ({"counts": {"9" * 5000: 1}}, "numbered from 1 to 3286"),
        ({"counts": {"3": 0}}, "a count of a histogram is a whole number from 1"),
        ({"counts": {"3": 1.0}}, "a count of a histogram is a whole number from 1"),
        ({"counts": {"3": True}}, "a count of a histogram is a whole number from 1"),
        ({"counts": {"3": 10**16}}, "a count of a histogram is a whole number from 1"),
        ({"min": -1}, "min of a histogram is a whole number that is not negative"),
        ({"sum": 306.0}, "sum of a histogram is a whole number that is not negative"),
        ({"min": 4}, "min and max of a histogram lie in its lowest and its highest bucket"),
        ({"max": 3}, "min and max of a histogram lie in its lowest and its highest bucket"),
        (
            {"counts": {"278": 1}, "min": 301, "max": 300},
            "min and max of a histogram lie in its lowest and its highest",
        ),
        ({"sum": 305}, "sum of a histogram lies within what its counts allow"),
        ({"sum": 308}, "sum of a histogram lies within what its counts allow"),
        ({"counts": {}}, "an empty histogram has no latencies: min, max and sum are 0"),
        ({"more": 1}, "a histogram is a mapping of schema, counts, min, max and sum"),
    ],
)
def test_unsound_json_is_refused(change, sentence):
    with pytest.raises(ValueError, match=sentence):
        Histogram.from_json({**copy.deepcopy(SOUND), **change})


@pytest.mark.parametrize("value", [None, [], "text", 5, {}])
def test_what_is_no_histogram_is_refused(value):
    with pytest.raises(ValueError, match="a histogram is a mapping of schema, counts, min, max and sum"):
        Histogram.from_json(value)
