# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Comparisons of simulated servers, of which it is known whether they differ."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from statistics import fmean

import pytest
from ansible_collections.tfserving.fleet.plugins.plugin_utils.measure import comparison
from ansible_collections.tfserving.fleet.plugins.plugin_utils.measure.comparison import (
    Comparison,
    Difference,
    Ratio,
    compare,
    student,
)
from ansible_collections.tfserving.fleet.plugins.plugin_utils.measure.interleave import schedule, sides
from ansible_collections.tfserving.fleet.plugins.plugin_utils.measure.packed import Packing
from ansible_collections.tfserving.fleet.plugins.plugin_utils.measure.series import Second, whole
from ansible_collections.tfserving.fleet.plugins.plugin_utils.measure.statistics import percentiles
from simulated_queue import AT_LENGTH, from_counts, lognormal, stage, times, wandering

# Of 100 comparisons of a server with itself 95 find no difference, and 90 of 100 find 10 %. The sample is of the same
# seeds: nine of ten. With one false alarm in 50, two in ten come once in 60 samples.
RUNS = 100 if AT_LENGTH else 10
RATE = 300
SIDE_S = 300

Factor = Callable[[int], float]
Host = Callable[[random.Random, int], Factor]

EVEN: Host = lambda draw, seconds: lambda t: 1.0  # noqa: E731
HOSTS: dict[str, Host] = {
    "even": EVEN,
    "drifts by half": lambda draw, seconds: lambda t: 1 + t / seconds / 2,
    "has slow minutes": lambda draw, seconds: wandering(draw, seconds, 0.2, 0, every=60),
    "has slow seconds": lambda draw, seconds: wandering(draw, seconds, 0.1, 0.9),
}


@lru_cache(maxsize=RUNS)
def queued(seed: int) -> list:
    """Return the blocks of a server with a queue, on an even host: the same ones for all hosts and settings."""
    draw, plan = random.Random(f"queue {seed}"), schedule(SIDE_S, seed)
    return [stage(draw, RATE, plan.seconds, lognormal(draw, 0.4 / RATE)) for _ in plan.order]


def blocks(seed: int, slower: float = 1.0, host: Host = EVEN) -> tuple[list, list]:
    """Return the blocks of two settings of a server with a queue, of which the second is slower."""
    plan = schedule(SIDE_S, seed)
    factor = host(random.Random(seed), plan.seconds * len(plan.order))
    found = []
    for number, (side, block) in enumerate(zip(plan.order, queued(seed))):
        gain, begin = slower if side == "b" else 1.0, number * plan.seconds
        found.append(times(block, lambda t, gain=gain, begin=begin: gain * factor(begin + t)))
    return sides(plan.order, found)


@pytest.fixture(autouse=True)
def _resamples(monkeypatch):
    """Draw a quarter in a sample: the interval's ends are then those of 6 outermost resamples rather than of 25."""
    monkeypatch.setattr(comparison, "RESAMPLES", comparison.RESAMPLES if AT_LENGTH else comparison.RESAMPLES // 4)


def verdicts(slower: float, host: Host = EVEN) -> Counter[str]:
    return Counter(compare(*blocks(seed, slower, host), interleaved=True, seed=seed).verdict for seed in range(RUNS))


@pytest.mark.parametrize("host", HOSTS)
def test_a_server_does_not_differ_from_itself(host):
    assert verdicts(1.0, HOSTS[host])["no difference"] >= (0.95 * RUNS if AT_LENGTH else 9)


@pytest.mark.parametrize("host", ["even", "has slow minutes", "drifts by half"] if AT_LENGTH else ["has slow minutes"])
def test_ten_percent_more_are_found(host):
    assert verdicts(1.1, HOSTS[host])["worse"] >= 0.9 * RUNS


def test_ten_percent_less_are_found_as_well():
    found = compare(*blocks(1, 1 / 1.1), interleaved=True)
    assert found.verdict == "better"
    assert found.p99.high < 1 < found.p99.value + 0.2


def naive(before: list, after: list, draw: random.Random) -> bool:
    """Return whether a bootstrap of single seconds, each on its own, would find a difference of p99."""
    flat = [[second for block in side for second in block] for side in (before, after)]
    packing = Packing(second for side in flat for second in side)
    packed = [[packing.packed(second) for second in side] for side in flat]
    ratios = []
    for _ in range(200):
        p99 = [packing.figures(sum(draw.choices(side, k=len(side))), len(side)).p99 for side in packed]
        ratios.append(p99[1] / p99[0])
    ratios.sort()
    return not ratios[5] <= 1 <= ratios[194]


def test_single_seconds_would_find_differences_that_are_none():
    # Drawn one by one, seconds that resemble their neighbours make a difference in one of five cases or more; blocks
    # are wrong in 5 of 100 (above).
    found = [naive(*blocks(seed, host=HOSTS["has slow seconds"]), random.Random(seed)) for seed in range(RUNS)]
    assert sum(found) >= RUNS / 5


def test_runs_one_after_the_other_call_a_drift_a_difference():
    draw = random.Random(1)
    slow = times(stage(draw, RATE, 600, lognormal(draw, 0.4 / RATE)), HOSTS["drifts by half"](draw, 600))
    assert compare([slow[:300]], [slow[300:]], interleaved=False).verdict == "worse"


def test_what_is_called_detectable_is_detected():
    found = [compare(*blocks(seed), interleaved=True, seed=seed).smallest_detectable for seed in range(4)]
    change = fmean(each for each in found if each is not None)
    assert 0.02 < change < 0.1
    again = [compare(*blocks(seed, 1 + change), interleaved=True, seed=seed).verdict for seed in range(RUNS // 2)]
    assert again.count("worse") >= 0.7 * len(again)


def test_the_same_seed_gives_the_same_interval():
    measured = blocks(1)
    assert compare(*measured, interleaved=True, seed=3) == compare(*measured, interleaved=True, seed=3)
    assert compare(*measured, interleaved=True, seed=3) != compare(*measured, interleaved=True, seed=4)


# Known answers.


def even(us_bucket: int, blocks_: int = 4, seconds: int = 30, offered: int = 100, ok: int = 100) -> list:
    return [[Second(t, offered, ok, 0, from_counts({us_bucket: ok})) for t in range(seconds)] for _ in range(blocks_)]


def test_the_ratio_is_after_by_before():
    found = compare(even(100), even(150), interleaved=True)
    assert found.p99.value == pytest.approx(1.5, rel=0.01)
    assert found.p99.low == found.p99.high == found.p99.value
    assert (found.p50.value, found.throughput.value) == (pytest.approx(1.5, rel=0.01), 1)
    assert found.verdict == "worse"
    assert found.reason.startswith("p99 is 1.495 (1.495 to 1.495) of what it was")
    assert found.to_json()["throughput_ratio"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert found.to_json()["verdict"] == "worse"


def test_what_the_histogram_cannot_tell_apart_is_equal():
    # One bucket further, at 128 us an octave: 0.8 %.
    found = compare(even(1_000), even(1_001), interleaved=True)
    assert 1 < found.p99.value < 1.01
    assert found.verdict == "no difference"


def test_fewer_answers_a_second_are_told():
    found = compare(even(100), even(100, ok=99), interleaved=True)
    assert found.throughput == Ratio(pytest.approx(0.99), pytest.approx(0.99), pytest.approx(0.99))


@pytest.mark.parametrize(
    ("before", "after", "interleaved", "reason"),
    [
        (
            even(100, 3),
            even(100, 4),
            True,
            "a comparison takes at least 4 blocks of 30 s a side, and there are 3: measure for 120 s or longer",
        ),
        (
            even(100, 1, 119),
            even(100, 1, 120),
            False,
            "a comparison takes at least 4 blocks of 30 s a side, and there are 3: measure for 120 s or longer",
        ),
        (even(100, 5), even(100, 4), True, "interleaved blocks come in pairs, and there are 5 before and 4 after"),
        (
            even(100, offered=3, ok=3),
            even(100),
            True,
            "a comparison of p99 takes at least 459 requests a side, and there are 360",
        ),
        (
            even(100, ok=98),
            even(100, ok=98),
            True,
            "on both sides more than 1 % of the requests failed, so that p99 has no value",
        ),
    ],
)
def test_what_cannot_be_compared_is_not(before, after, interleaved, reason):
    found = compare(before, after, interleaved=interleaved)
    assert found == Comparison("not comparable", reason)
    assert found.to_json()["p99_ratio"] is None


def test_failures_are_worse_than_any_latency():
    found = compare(even(200), even(100, ok=98), interleaved=True)
    assert (found.verdict, found.reason) == (
        "worse",
        "after: more than 1 % of the requests failed, so that p99 has no value there",
    )
    assert compare(even(100, ok=98), even(200), interleaved=True).verdict == "better"


def test_the_share_of_failures_is_compared_with_its_interval():
    # One of 200 requests of every second fails: nothing varies, so that the interval is the value.
    found = compare(even(200, offered=200, ok=200), even(200, offered=200, ok=199), interleaved=True)
    assert found.to_json()["errors_difference"] == {"value": 0.005, "low": 0.005, "high": 0.005}
    assert compare(even(200), even(200), interleaved=True).errors == Difference(0.0, 0.0, 0.0)


def test_sides_that_are_no_before_and_after_have_names():
    found = compare(even(100), even(150), interleaved=True, names=("small", "large"))
    assert found.reason.startswith("p99 is 1.495 (1.495 to 1.495) times that of small: ")
    found = compare(even(200), even(100, ok=98), interleaved=True, names=("small", "large"))
    assert found.reason.startswith("large: more than 1 % of the requests failed")


def test_a_long_run_is_cut_into_blocks():
    assert compare(even(100, 1, 150), even(150, 2, 75), interleaved=False).verdict == "worse"


def test_a_stall_of_a_second_shows_in_p99():
    # Two of 100 requests a second arrive in the stall of one second in 60 and wait for its end.
    calm = [Second(t, 100, 100, 0, from_counts({1_000: 100})) for t in range(60)]
    stalled = [*calm[:30], Second(30, 100, 100, 0, from_counts(dict.fromkeys(range(1_500, 1_600), 1))), *calm[31:]]
    before, after = (percentiles(whole(each)).found["p99"].us for each in (calm, stalled))
    assert after > 10 * before


# Student's t, 97.5 %, of any table.
@pytest.mark.parametrize(("freedom", "t"), [(3, 3.182), (4, 2.776), (9, 2.262), (18, 2.101), (60, 2.000)])
def test_students_t_is_that_of_the_tables(freedom, t):
    assert math.isclose(student(freedom), t, rel_tol=0.01)


def test_packed_seconds_have_the_percentiles_of_their_histogram():
    draw = random.Random(1)
    seconds = stage(draw, RATE, 30, lognormal(draw, 0.4 / RATE))
    packing = Packing(seconds)
    found = packing.figures(sum(map(packing.packed, seconds)), 30)
    expected = percentiles(whole(seconds)).found
    assert found.p99 == pytest.approx(expected["p99"].us, rel=0.008)
    assert found.p50 == pytest.approx(expected["p50"].us, rel=0.008)
    assert found.throughput == sum(second.ok for second in seconds) / 30
