# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import random

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.tuning.service_time import Point, fit, next_size

SIZES = (1, 2, 4, 8, 16, 32)


def line(fixed, item, sizes=SIZES, noise=0.0, seed=1):
    source = random.Random(seed)
    return [Point(size, (fixed + item * size) * source.lognormvariate(0, noise)) for size in sizes]


def test_a_line_is_found_exactly():
    curve = fit(line(900, 55))
    assert curve.a == pytest.approx(900)
    assert curve.c == pytest.approx(55)
    assert curve.r2 == pytest.approx(1)
    assert curve.us(100) == pytest.approx(6400)


def test_the_interval_holds_the_truth_in_19_of_20_fits():
    hits = 0
    for seed in range(200):
        curve = fit(line(900, 55, noise=0.05, seed=seed))
        low, high = curve.c_interval
        hits += low <= 55 <= high
    # The weights of outliers narrow the interval a little: 200 draws of 0.95, less three deviations.
    assert hits >= 170


def test_one_outlier_hardly_moves_the_line():
    points = line(900, 55)
    points[3] = Point(8, 10 * points[3].us)
    curve = fit(points)
    assert curve.a == pytest.approx(900, rel=0.1)
    assert curve.c == pytest.approx(55, rel=0.1)


def test_a_negative_fixed_cost_counts_as_none():
    curve = fit([Point(1, 80), Point(2, 200), Point(4, 420), Point(8, 860)])
    assert curve.a == 0
    assert curve.c == pytest.approx(104, rel=0.1)


def test_times_that_fall_with_the_size_count_as_flat():
    curve = fit([Point(1, 1000), Point(2, 990), Point(4, 985), Point(8, 980)])
    assert curve.c == 0
    assert curve.us(64) == pytest.approx(989, rel=0.01)
    assert curve.is_sure


def test_two_points_give_a_line_without_an_interval():
    curve = fit([Point(1, 150), Point(8, 500)])
    assert (curve.a, curve.c) == (pytest.approx(100), pytest.approx(50))
    assert curve.a_interval is None
    assert not curve.is_sure


@pytest.mark.parametrize("points", [[], [Point(4, 10)], [Point(4, 10), Point(4, 11)], [Point(1, 5), Point(2, 0)]])
def test_one_size_is_no_curve(points):
    with pytest.raises(WishError) as caught:
        fit(points)
    assert str(caught.value) == ("service time: was measured with fewer than two batch sizes; measure at least two")


def test_sentences():
    assert fit(line(20, 500)).sentence(32) == (
        "a call takes 20 us and 500 us for each item: batches of 32 carry 1.04 times the items of single calls,"
        " so batches do not pay"
    )
    assert fit(line(12_000, 20)).sentence(64) == (
        "a call takes 12 ms and 20 us for each item: the fixed cost rules, and batches of 64 carry 57.9 times the"
        " items of single calls"
    )
    assert fit(line(300, 100)).sentence(16) == (
        "a call takes 300 us and 100 us for each item: batches of 16 carry 3.37 times the items of single calls"
    )


def test_a_doubtful_curve_says_so():
    points = [Point(1, 100), Point(2, 900), Point(4, 200), Point(8, 1500)]
    assert "uncertain" in fit(points).sentence(8)


def test_sizes_double_until_a_batch_takes_half_of_the_objective():
    points: list[Point] = []
    while (size := next_size(points, 10_000)) is not None:
        points.append(Point(size, 1000 + 500 * size))
    assert [point.items for point in points] == [1, 2, 4, 8, 16]


def test_sizes_end_for_a_model_that_costs_nothing():
    points: list[Point] = []
    while (size := next_size(points, 1e9)) is not None:
        points.append(Point(size, 1.0))
    assert points[-1].items == 1024


def test_the_document_has_the_curve():
    found = fit(line(900, 55)).to_json(32)
    assert found["a_us"] == 900
    assert found["points"][0] == {"items": 1, "us": 955}
    assert found["sentence"].startswith("a call takes 900 us")


def test_a_line_takes_two_sizes_however_slow_the_model():
    points: list[Point] = []
    while (size := next_size(points, 10_000)) is not None:
        points.append(Point(size, 9000 + 100 * size))
    assert [point.items for point in points] == [1, 2]
    assert fit(points).c == pytest.approx(100)
