# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A sequential test of two arms: its weights, its bounds at any number of looks, and its state as plain data."""

from __future__ import annotations

import json
import math
import random

import pytest
from ansible_collections.tfserving.fleet.plugins.plugin_utils.rollout import sequential
from ansible_collections.tfserving.fleet.plugins.plugin_utils.rollout.sequential import Arm, Compared, Test
from hypothesis import given
from hypothesis import strategies as st
from simulated_rollout import RUNS, happens

TEST = Test()
# Each error counts.
ALL = Test(most=math.inf)
EQUAL = (Arm(1000, 1), Arm(1000, 0)), (Arm(1000, 0), Arm(1000, 1))


@st.composite
def arms(draw):
    calls = draw(st.integers(0, 10_000))
    return Arm(calls, draw(st.integers(0, calls)))


def test_an_error_of_the_canary_weighs_as_known_for_equal_shares():
    canarys, controls = (sequential.weight(*pair, ALL) for pair in EQUAL)
    assert canarys == pytest.approx(math.log(0.8 / 0.5))
    assert controls == pytest.approx(math.log(0.2 / 0.5))


def test_ten_errors_of_the_canary_and_none_of_the_control_are_too_many():
    nine, ten = (Compared().with_more(Arm(500, errors), Arm(500, 0), ALL).outcome(ALL) for errors in (9, 10))
    assert (nine, ten) == ("open", "worse")


def test_four_errors_of_the_control_and_none_of_the_canary_are_good():
    three, four = (Compared().with_more(Arm(500, 0), Arm(500, errors), ALL).outcome(ALL) for errors in (3, 4))
    assert (three, four) == ("open", "good")


def test_with_unequal_shares_an_error_weighs_by_the_part_of_the_calls():
    # A canary with a tenth of the calls is expected to have a tenth of the errors: one of its own says more.
    assert sequential.weight(Arm(100, 1), Arm(900, 0), ALL) > sequential.weight(Arm(500, 1), Arm(500, 0), ALL)
    assert sequential.weight(Arm(100, 10), Arm(900, 90), ALL) < 0


@pytest.mark.parametrize("pair", [(Arm(0, 0), Arm(50, 5)), (Arm(50, 5), Arm(0, 0)), (Arm(), Arm())])
def test_calls_of_one_arm_alone_compare_nothing(pair):
    assert sequential.weight(*pair, TEST) == 0


def test_all_errors_between_two_looks_weigh_as_one():
    one, hundred = (sequential.weight(Arm(500, errors), Arm(500, 0), TEST) for errors in (1, 100))
    assert one == pytest.approx(hundred)
    mixed = sequential.weight(Arm(500, 75), Arm(500, 25), TEST)
    assert mixed == pytest.approx(0.75 * math.log(0.8 / 0.5) + 0.25 * math.log(0.2 / 0.5))


@given(arms(), arms(), st.floats(1.5, 100), st.sampled_from([1.0, 3.0, math.inf]))
def test_without_a_difference_the_mean_of_the_quotients_is_at_most_one(canary, control, rho, most):
    """The reason why both bounds hold at every look: with the binomial the mean is 1, with the true one less."""
    both = canary.calls + control.calls
    if not canary.calls or not control.calls:
        return
    q, events = canary.calls / both, min(canary.events + control.events, both, 200)
    test = Test(rho, most=most)
    canarys = math.exp(sequential.weight(Arm(canary.calls, 1), Arm(control.calls, 0), test))
    controls = math.exp(sequential.weight(Arm(canary.calls, 0), Arm(control.calls, 1), test))
    assert q * canarys + (1 - q) * controls == pytest.approx(1)
    first = max(0, events - control.calls)
    most = min(events, canary.calls)
    ways = [math.comb(canary.calls, k) * math.comb(control.calls, events - k) for k in range(first, most + 1)]
    whole = math.comb(both, events)
    mean = math.fsum(
        count / whole * math.exp(sequential.weight(Arm(canary.calls, k), Arm(control.calls, events - k), test))
        for k, count in enumerate(ways, start=first)
    )
    assert mean <= 1 + 1e-6


@given(arms(), arms(), st.floats(-100, 100))
def test_a_test_goes_on_from_its_stored_state(canary, control, score):
    before = Compared(canary, control, score)
    stored = sequential.from_json(json.loads(json.dumps(before.to_json())))
    assert stored == before
    more = Arm(100, 3), Arm(120, 1)
    assert stored.with_more(*more, TEST) == before.with_more(*more, TEST)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (None, "the state of a test is not complete"),
        ({}, "the state of a test is not complete"),
        ({"canary": [1], "control": [1, 0], "score": 0}, "the state of a test is not complete"),
        ({"canary": 1, "control": [1, 0], "score": 0}, "the state of a test is not complete"),
        (
            {"canary": [-1, 0], "control": [1, 0], "score": 0},
            "the state of a test has a count that is not a whole number",
        ),
        ({"canary": [1, 0], "control": [1, 2**70], "score": 0}, "the state of a test has a count that is not a whole"),
        ({"canary": [1, 2], "control": [1, 0], "score": 0}, "the state of a test has more events than calls"),
        ({"canary": [1, 0], "control": [1, 0], "score": math.nan}, "the score of a test is not a finite number"),
        ({"canary": [1, 0], "control": [1, 0], "score": True}, "the score of a test is not a finite number"),
        ({"canary": [1, 0], "control": [1, 0], "score": "0"}, "the score of a test is not a finite number"),
    ],
)
def test_a_state_that_no_test_has_left_is_refused(data, problem):
    with pytest.raises(ValueError, match=problem):
        sequential.from_json(data)


@pytest.mark.parametrize("rate", [0.001, 0.02, 0.05])
@pytest.mark.parametrize("part", [1, 4])
def test_two_equal_arms_seldom_differ_however_often_one_looks(rate, part):
    """5,000 calls of the canary, looked at 100 times; the control gets as many, or a quarter."""
    alarms = 0
    for seed in range(RUNS):
        draw, seen = random.Random(f"alike {rate} {part} {seed}"), Compared()
        for _ in range(100):
            canary, control = (Arm(calls, happens(draw, calls, rate)) for calls in (50, 50 // part))
            seen = seen.with_more(canary, control, ALL)
            if seen.outcome(ALL) == "worse":
                alarms += 1
                break
    # The bound is 1 % on average; the sample of 100 may show three.
    assert alarms <= (RUNS // 100 if RUNS >= 1000 else 3)


def bursts(test, seed):
    """Return whether two equal arms are found to differ, whose errors come ten at a time."""
    draw, seen = random.Random(f"bursts {seed}"), Compared()
    for _ in range(200):
        canary, control = (Arm(50, 10 * happens(draw, 50, 0.002)) for _ in range(2))
        seen = seen.with_more(Arm(50, min(canary.events, 50)), Arm(50, min(control.events, 50)), test)
        if seen.outcome(test) == "worse":
            return True
    return False


def test_errors_in_bursts_blame_nobody_who_is_not_worse():
    assert sum(bursts(TEST, seed) for seed in range(RUNS)) <= RUNS * 0.01
    # Else the test above would show nothing.
    assert sum(bursts(ALL, seed) for seed in range(RUNS)) >= RUNS * 0.2
