# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""One arm alone: what trips, what is cleared, and that everybody's errors trip nothing."""

from __future__ import annotations

import random

import pytest
from ansible_collections.tfserving.fleet.plugins.plugin_utils.rollout import dead
from ansible_collections.tfserving.fleet.plugins.plugin_utils.rollout.sequential import Arm
from simulated_rollout import RUNS, happens


def test_two_errors_at_once_trip_it_and_one_does_not():
    limits = dead.limits(0.01)
    assert limits.tripped(Arm(2, 2))
    assert not limits.tripped(Arm(1, 1))


def test_509_calls_without_an_error_clear_a_ceiling_of_one_percent():
    limits = dead.limits(0.01)
    assert not limits.cleared(Arm(508, 0))
    assert limits.cleared(Arm(509, 0))
    assert not limits.cleared(Arm(509, 1))


def test_no_call_neither_trips_nor_clears():
    limits = dead.limits(0.01)
    assert not limits.tripped(Arm())
    assert not limits.cleared(Arm())


def test_the_errors_that_the_old_version_had_raise_the_limits():
    limits = dead.limits(0.01, Arm(1000, 50))
    assert limits.sound == pytest.approx(dead.upper(Arm(1000, 50)))
    assert limits.ceiling == dead.DEADEST
    assert not limits.tripped(Arm(1000, 60))
    assert limits.tripped(Arm(20, 20))


def test_limits_stay_apart_where_everything_failed_before():
    limits = dead.limits(0.01, Arm(10, 10))
    assert (limits.sound, limits.ceiling) == (0.25, 0.5)


@pytest.mark.parametrize(
    ("arm", "bound"), [(Arm(500, 0), 1 - 0.01 ** (1 / 500)), (Arm(10, 10), 1.0), (Arm(), 1.0), (Arm(2, 1), 0.99499)]
)
def test_the_upper_bound_is_exact(arm, bound):
    assert dead.upper(arm) == pytest.approx(bound, rel=1e-4)


@pytest.mark.parametrize("rate", [0.001, 0.02, 0.05])
def test_a_fault_in_both_versions_seldom_trips_the_canary_alone(rate):
    trips = 0
    for seed in range(RUNS):
        draw = random.Random(f"alone {rate} {seed}")
        limits, seen = dead.limits(0.01, Arm(2000, happens(draw, 2000, rate))), Arm()
        for _ in range(100):
            seen += Arm(50, happens(draw, 50, rate))
            trips += limits.tripped(seen)
            if limits.tripped(seen):
                break
    assert trips <= RUNS * 0.03
