# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The end of a warm-up, trends and backlogs: found where they are, and in no more than 5 of 100 where they are not."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.load.histogram import Histogram, index
from ansible_collections.tfserving.fleet.plugins.plugin_utils.measure.series import Second
from ansible_collections.tfserving.fleet.plugins.plugin_utils.measure.steady import backlog, trend, unsteady, warm_up
from simulated_queue import AT_LENGTH, exponential, from_counts, lognormal, stage, times, wandering

# Simulated stages of each kind; of 100, 5 false alarms are allowed.
STAGES = 400 if AT_LENGTH else 100
ALARMS = STAGES // 20

Make = Callable[[random.Random], list[Second]]

STEADY: dict[str, Make] = {
    "half busy": lambda draw: stage(draw, 60, 60, lognormal(draw, 1 / 120)),
    "90 % busy": lambda draw: stage(draw, 90, 60, exponential(draw, 0.01)),
    "a host with slow seconds": lambda draw: times(
        stage(draw, 60, 60, lognormal(draw, 1 / 120)), wandering(draw, 60, 0.1, 0.9)
    ),
}


def flat(values, offered=100) -> list[Second]:
    """Return seconds of the given latencies in us."""
    return [Second(t, offered, offered, 5, from_counts({index(round(us)): offered})) for t, us in enumerate(values)]


@pytest.mark.parametrize("kind", STEADY)
def test_a_steady_stage_raises_no_alarm(kind):
    stages = [STEADY[kind](random.Random(seed)) for seed in range(STAGES)]
    assert sum(warm_up(each) != 0 for each in stages) <= ALARMS
    assert sum(bool(unsteady(each)) for each in stages) <= ALARMS
    assert sum(bool(backlog(each)) for each in stages) <= ALARMS


def test_a_trend_that_takes_seconds_as_independent_would_raise_alarms():
    # Of single seconds that remember, more than one in five have a "significant" slope, so the test above can fail.
    found = 0
    for seed in range(STAGES):
        factor = wandering(random.Random(seed), 60, 0.1, 0.9)
        values = [factor(t) for t in range(60)]
        signs = sum(math.copysign(1, b - a) for i, a in enumerate(values) for b in values[i + 1 :])
        found += abs(signs) > 1.96 * math.sqrt(60 * 59 * 125 / 18)
    assert found > STAGES / 5


def test_an_overloaded_server_has_a_backlog():
    stages = [stage(random.Random(seed), 110, 60, exponential(random.Random(seed), 0.01)) for seed in range(20)]
    assert sum(bool(backlog(each)) for each in stages) >= 19


def test_a_backlog_is_told_with_its_figures():
    growing = [Second(t, 100, 100, 10 + 2 * t) for t in range(60)]
    assert backlog(growing) == "requests pile up: 2 more are open with each second, 120 within 60 s"


def test_a_backlog_that_does_not_matter_is_none():
    # A tenth of a request a second, at 100/s: callers of the last second wait 60 ms longer than those of the first.
    assert backlog([Second(t, 100, 100, 10 + t // 10) for t in range(60)]) == ""
    assert backlog([Second(t, 100, 100, 80 - t) for t in range(60)]) == ""
    assert backlog([]) == ""


def test_a_warm_up_ends_where_the_latency_has_come_down():
    assert warm_up(flat([20_000] * 10 + [10_000] * 50)) == 10
    assert warm_up(flat([10_000] * 60)) == 0


def test_failures_at_the_begin_are_a_warm_up():
    seconds = flat([10_000] * 60)
    for second in seconds[:5]:
        second.ok = 50
    assert warm_up(seconds) == 5


def test_a_stage_that_changes_half_way_is_never_steady():
    assert warm_up(flat([20_000] * 30 + [10_000] * 30)) is None


def test_a_stall_at_the_end_is_no_warm_up():
    assert warm_up(flat([10_000] * 58 + [900_000] * 2)) == 0
    assert unsteady(flat([10_000] * 58 + [900_000] * 2)) == ""


def test_warm_ups_of_a_noisy_server_are_found():
    found = 0
    for seed in range(STAGES):
        draw = random.Random(seed)
        slow = times(stage(draw, 60, 60, lognormal(draw, 1 / 120)), lambda t: 1 + 2 * math.exp(-t / 5))
        found += warm_up(slow) in (5, 10, 15, 20)
    assert found >= 0.5 * STAGES


def test_a_latency_that_goes_on_rising_is_not_steady():
    assert unsteady(flat([10_000 * 1.005**t for t in range(60)])) == (
        "the median latency rises by 35% within 60 s: the stage is not steady"
    )
    assert unsteady(flat([13_000 * 0.995**t for t in range(60)])).startswith("the median latency falls by 26%")
    # 3 % within a minute change no percentile beyond its interval.
    assert unsteady(flat([10_000 * 1.0005**t for t in range(60)])) == ""


def test_the_slope_of_theil_and_sen_ignores_a_stall():
    values = [float(t) for t in range(60)]
    values[30] = 10_000
    found = trend(values)
    assert found is not None
    assert 0.9 < found.slope < 1.1
    assert found.sure
    assert found.seconds == 60


def test_too_short_a_stage_shows_no_trend():
    assert trend([float(t) for t in range(15)]) is None
    assert trend([float(t) for t in range(16)]) is not None
    assert unsteady(flat([10_000, 90_000])) == ""
    assert unsteady([Second(0, 5, 0, 0, Histogram())]) == ""
