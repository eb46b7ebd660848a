# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What cutting a request wins and costs, on the published case of 700 items."""

from __future__ import annotations

import math

import pytest
from ansible_collections.tfserving.fleet.plugins.plugin_utils.measure.shards import (
    Fit,
    advice,
    assess,
    conclusion,
    even,
    fit,
    most_utilised,
    predicted_us,
    recommended,
    shard_percentile,
    to_json,
)

# Published: 200 items take 18 ms, 100 items 12 ms; the whole request showed 30 ms.
CURVE = fit({100: 12_000, 200: 18_000})
MEASURED = {1: (30_000, 45_000), 4: (18_000, 20_000), 7: (12_000, None)}


def rows(**others):
    return assess(700, MEASURED, CURVE, **{"slots": 8, "utilisation": 0.3, "batching": False, **others})


@pytest.mark.parametrize(
    ("items", "shards", "sizes"),
    [(700, 4, [175] * 4), (700, 3, [234, 233, 233]), (700, 1, [700]), (7, 7, [1] * 7), (10, 4, [3, 3, 2, 2])],
)
def test_shards_are_even_and_lose_nothing(items, shards, sizes):
    assert even(items, shards) == sizes
    assert sum(sizes) == items


@pytest.mark.parametrize("shards", [0, 4, -1])
def test_more_shards_than_items_are_refused(shards):
    with pytest.raises(ValueError, match=f"^3 items make 1 to 3 shards, not {shards}$"):
        even(3, shards)


def test_the_published_curve_is_6_ms_and_60_us_an_item():
    assert (round(CURVE.a_us), round(CURVE.c_us, 6)) == (6_000, 60)
    assert CURVE.at(700) == pytest.approx(48_000)


def test_a_falling_curve_has_no_time_an_item():
    assert fit({1: 500, 100: 480}) == Fit(490, 0)
    with pytest.raises(ValueError, match="at least two sizes"):
        fit({100: 1_000})


def test_seven_shards_win_2_5_and_lose_43_percent_of_capacity():
    seven = rows()[-1]
    assert (seven.shards, seven.items, seven.latency_won) == (7, 100, 2.5)
    assert seven.work == pytest.approx(84 / 48)
    assert round(seven.capacity_lost, 2) == 0.43


def test_four_shards_win_1_7():
    four = rows()[1]
    assert (four.items, round(four.latency_won, 1)) == (175, 1.7)


def test_each_of_seven_shards_has_to_keep_p99_86():
    assert round(100 * shard_percentile(7), 2) == 99.86
    assert shard_percentile(7) ** 7 == pytest.approx(0.99)
    assert shard_percentile(1) == 0.99


def test_shards_beyond_the_slots_run_in_turns():
    assert predicted_us(CURVE, 700, 7, 7) == pytest.approx(12_000)
    assert predicted_us(CURVE, 700, 7, 4) == pytest.approx(24_000)


def test_the_fastest_is_recommended_with_its_price():
    assert recommended(rows()).shards == 7
    assert conclusion(rows()) == (
        "cut requests into 7 shards of 100 items: 2.5 times as fast for 43% less capacity, as long as whole requests"
        " keep the instance less than 55% busy; each shard has to keep the objective at p99.86"
    )


def test_how_busy_the_instance_may_be_follows_from_the_work_of_the_shards():
    found = assess(80, {1: (14_000, None), 8: (7_000, None)}, Fit(6_000, 100), slots=8, utilisation=0.0, batching=False)
    assert conclusion(found) == (
        "cut requests into 8 shards of 10 items: 2 times as fast for 75% less capacity, as long as whole requests keep"
        " the instance less than 25% busy; each shard has to keep the objective at p99.87"
    )


@pytest.mark.parametrize(("objective_us", "best"), [(None, 7), (50_000, 7), (21_000, 4), (19_000, 7)])
def test_a_cut_that_keeps_the_objective_comes_before_a_faster_one(objective_us, best):
    measured = {1: (30_000, 45_000), 4: (18_000, 20_000), 7: (12_000, 25_000)}
    found = assess(700, measured, CURVE, slots=8, utilisation=0.3, batching=False, objective_us=objective_us)
    assert recommended(found).shards == best


def test_a_cut_that_is_still_late_says_so():
    found = rows(objective_us=19_000)[1]
    assert advice(found).endswith(
        "each shard has to keep the objective at p99.75 (they do not: p99 is over the 19 ms of a request)"
    )


def test_above_the_limit_nothing_is_recommended():
    busy = rows(utilisation=0.55)
    assert recommended(busy) is None
    assert conclusion(busy) == "leave requests whole: the instance is 55% busy, and shards pay below 55%"
    assert recommended(rows(utilisation=0.54)) is not None


def test_work_beyond_the_capacity_is_refused_below_the_limit():
    found = assess(80, {1: (14_000, None), 8: (7_000, None)}, Fit(6_000, 100), slots=8, utilisation=0.4, batching=False)
    assert advice(found[-1]) == "not recommended: the instance is 40% busy, and 4.00 times the work is more than it has"


def test_shards_beyond_the_free_slots_are_not_recommended():
    assert [row.shards for row in rows(slots=4) if not row.refusals] == [1, 4]
    assert recommended(rows(slots=4)).shards == 4
    assert "7 shards wait for each other in 4 free slots" in advice(rows(slots=4)[-1])


def test_shards_and_batching_are_never_recommended_together():
    assert conclusion(rows(batching=True)) == (
        "leave requests whole: the server forms batches and would merge the shards again: turn batching off, or do not"
        " shard"
    )


def test_what_wins_little_is_not_worth_it():
    little = assess(700, {1: (30_000, 1), 4: (26_000, 1)}, CURVE, slots=8, utilisation=0.1, batching=False)
    assert advice(little[1]) == "not worth it: 1.2 times as fast for 27% less capacity"
    assert conclusion(little) == "leave requests whole: shards win too little"


def test_the_whole_request_has_neither_gain_nor_price():
    whole = rows()[0]
    assert (whole.latency_won, whole.work, whole.capacity_lost, whole.refusals) == (1, 1, 0, ())
    assert to_json(whole, 12.5) == {
        "shards": 1,
        "items": 700,
        "p50_us": 30_000,
        "p99_us": 45_000,
        "latency_won": 1,
        "capacity_lost": 0,
        "capacity_items_per_s": 12.5,
        "advice": "whole: 30 ms",
    }


def test_sharding_pays_up_to_the_utilisation_that_its_work_leaves():
    assert most_utilised(CURVE, 700, 7) == 0.55
    assert most_utilised(Fit(6_000, 100), 80, 8) == pytest.approx(0.25)
    assert math.isclose(most_utilised(Fit(0, 100), 80, 8), 0.55)
