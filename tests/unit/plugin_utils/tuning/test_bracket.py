# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dataclasses

import pytest
from ansible_collections.tfserving.fleet.plugins.plugin_utils.measure import knee
from ansible_collections.tfserving.fleet.plugins.plugin_utils.measure.statistics import Percentile, Percentiles
from ansible_collections.tfserving.fleet.plugins.plugin_utils.tuning.bracket import MOST_STAGES, Bracket, Stage, judged
from ansible_collections.tfserving.fleet.plugins.plugin_utils.tuning.trial import Failed, Measured, Trial
from hypothesis import given
from hypothesis import strategies as st
from tuning_cases import site

SLO = 50_000


def trial(start=1000.0, rung="explore", precision=0.05, must_carry=None):
    return Trial(1, site().planned, "plan", rung, 1, 10.0, precision, start, must_carry, start, "a test")


def stage(rate, knee):
    """Return the stage of a server with a sharp knee."""
    if rate <= knee:
        return Stage(rate, "pass", "p99 is at most 45 ms", 40_000, 38_000, 45_000)
    return Stage(rate, "fail", "p99 may be as high as 70 ms", 65_000, 60_000, 70_000)


def bracketed(asked, knee):
    """Return the rates that a trial measures, and its outcome."""
    bracket, rates = Bracket(asked, SLO), []
    while (rate := bracket.next()) is not None:
        rates.append(rate)
        bracket.tell(stage(rate, knee))
    return rates, bracket.outcome(77)


@given(st.floats(0.3, 3), st.sampled_from([("explore", 0.05), ("confirm", 0.02), ("final", 0.02)]))
def test_a_knee_is_found_to_the_precision(ratio, kind):
    rates, found = bracketed(trial(rung=kind[0], precision=kind[1]), 1000 * ratio)
    assert found.low <= 1000 * ratio < found.high
    assert found.high <= found.low * (1 + kind[1]) * 1.000001
    assert found.rate == found.low
    assert (found.p99_us, found.p99_high_us, found.seconds) == (40_000, 45_000, 77)
    assert len(set(rates)) == len(rates)


@pytest.mark.parametrize(("ratio", "most"), [(1.0, 4), (0.9, 4), (1.1, 4), (0.86, 6), (2.0, 8), (0.5, 8)])
def test_a_good_prediction_takes_few_stages(ratio, most):
    assert len(bracketed(trial(), 1000 * ratio)[0]) <= most


def test_a_confirmed_knee_takes_three_stages():
    assert len(bracketed(trial(rung="confirm", precision=0.02), 1005)[0]) == 3


def test_what_it_must_carry_comes_first_and_ends_a_trial_that_does_not():
    rates, found = bracketed(trial(must_carry=1600), 900)
    assert rates == [1600]
    assert found == Failed(
        "stopped early", "it does not carry 1,600 requests a second: p99 may be as high as 70 ms", 77
    )


def test_what_it_must_carry_is_asked_again_where_the_stage_was_invalid():
    bracket = Bracket(trial(must_carry=1600), SLO)
    bracket.tell(Stage(bracket.next(), "invalid", "late"))
    assert bracket.next() == 1600
    bracket.tell(stage(1600, 900))
    assert bracket.next() is None
    assert bracket.outcome(77).outcome == "stopped early"


def test_what_it_must_carry_is_not_asked_for_ever():
    bracket = Bracket(trial(must_carry=1600), SLO)
    for _ in range(2):
        bracket.tell(Stage(bracket.next(), "invalid", "late"))
    assert bracket.next() == 1000


def test_a_doubtful_failure_does_not_stop_a_trial():
    bracket = Bracket(trial(must_carry=1600), SLO)
    bracket.tell(Stage(bracket.next(), "fail", "p99 may be as high as 55 ms", 49_000, 45_000, 55_000))
    assert bracket.next() == 1000


def test_a_trial_that_carries_what_it_must_goes_on_to_its_knee():
    rates, found = bracketed(trial(start=2000, must_carry=1600), 1900)
    assert rates[:2] == [1600, 2000]
    assert found.low <= 1900 < found.high


def test_a_server_that_keeps_the_objective_at_no_rate():
    rates, found = bracketed(trial(), 0)
    assert (found.rate, found.low) == (0, 0)
    assert min(rates) > 1000 / 128
    assert len(rates) <= MOST_STAGES


def test_a_server_without_end_is_left_at_what_it_carried():
    rates, found = bracketed(trial(), float("inf"))
    assert len(rates) == MOST_STAGES
    assert found.rate == max(rates)


def close(rate):
    """Return a stage whose p99 keeps the objective, and whose interval does not."""
    return Stage(rate, "fail", "p99 may be as high as 64 ms", 49_500, 40_000, 64_000, close=True)


def unlucky(knee, rate, times):
    """Return the rates and the outcome of a trial that failed at a rate below its knee, so many times."""
    bracket, rates = Bracket(trial(start=49.2), SLO), []
    while (asked := bracket.next()) is not None:
        rates.append(asked)
        bracket.tell(close(asked) if asked == rate and rates.count(rate) <= times else stage(asked, knee))
    return rates, bracket.outcome(77)


def test_an_unlucky_stage_does_not_end_a_trial_far_below_its_knee():
    rates, found = unlucky(62.0, 49.2, 1)
    assert rates[0] == 49.2
    assert rates.count(49.2) == 2
    assert found.low <= 62.0 < found.high
    assert found.high <= found.low * 1.05


def test_a_rate_that_fails_twice_ends_a_trial():
    rates, found = unlucky(62.0, 49.2, 2)
    assert rates.count(49.2) == 2
    assert found.low < 49.2 == found.high


def test_a_clear_failure_is_not_looked_at_again():
    rates, _ = bracketed(trial(start=49.2), 48.0)
    assert len(set(rates)) == len(rates)


def test_a_second_look_that_is_disturbed_is_none():
    bracket, told = Bracket(trial(start=49.2), SLO), []
    while (rate := bracket.next()) is not None:
        told.append(rate)
        again = told.count(rate) > 1
        bracket.tell(Stage(rate, "invalid", "late") if again else close(rate) if rate == 49.2 else stage(rate, 62.0))
    assert told.count(49.2) == 2
    assert bracket.outcome(77).high == 49.2


def test_a_stage_is_taken_as_the_measurement_judges_it():
    outcome = knee.Outcome("fail", "p99 may be as high as 70 ms", 65_000)
    found = Percentiles({"p99": Percentile(65_000, 60_000, 70_000)})
    assert judged(812, outcome, found) == Stage(812, "fail", "p99 may be as high as 70 ms", 65_000, 60_000, 70_000)
    assert judged(812, dataclasses.replace(outcome, close=True), found).close
    assert judged(812, knee.Outcome("invalid", "x"), Percentiles()) == Stage(812, "invalid", "x")
    assert judged(812, knee.Outcome("invalid", "x", overloaded=True), Percentiles()) == Stage(812, "fail", "x")


def test_a_start_of_nothing_is_no_start():
    rates, found = bracketed(trial(start=0.0), 40)
    assert rates[0] == 1
    assert isinstance(found, Measured)
    assert found.low <= 40 < found.high


def test_an_invalid_stage_is_repeated_then_lowered_and_given_up_in_the_end():
    bracket, rates = Bracket(trial(), SLO), []
    while (rate := bracket.next()) is not None:
        rates.append(rate)
        bracket.tell(Stage(rate, "invalid", "the load hosts were busy"))
    assert rates == [1000, 1000, 250, 250, 62.5, 62.5]
    assert bracket.outcome(20) == Failed("failed", "the load hosts were busy", 20)


def test_a_prediction_beyond_the_generator_is_lowered_until_it_can_send():
    bracket, rates = Bracket(trial(start=25_000.0), SLO), []
    while (rate := bracket.next()) is not None:
        rates.append(rate)
        bracket.tell(Stage(rate, "invalid", "late") if rate > 6_000 else stage(rate, 900))
    assert rates[:4] == [25_000, 25_000, 6_250, 6_250]
    found = bracket.outcome(20)
    assert found.low <= 900 < found.high <= found.low * 1.05 * 1.000001


def test_a_setting_faster_than_the_generator_carries_what_was_sent():
    bracket = Bracket(trial(start=4_000.0), SLO)
    while (rate := bracket.next()) is not None:
        bracket.tell(Stage(rate, "invalid", "late") if rate > 5_000 else stage(rate, 1e9))
    found = bracket.outcome(20)
    assert 4_000 <= found.rate <= 5_000


def test_a_trial_that_meets_too_many_invalid_stages_keeps_what_passed():
    bracket = Bracket(trial(start=4_000.0), SLO)
    while (rate := bracket.next()) is not None:
        bracket.tell(Stage(rate, "invalid", "late") if rate > 1_100 else stage(rate, 1e9))
    found = bracket.outcome(20)
    assert (found.rate, found.low) == (1_000, 1_000)


def test_a_trial_that_is_ended_has_found_what_passed_or_has_failed():
    bracket = Bracket(trial(), SLO)
    bracket.tell(stage(1000, 900))
    bracket.end("the time is over")
    assert bracket.next() is None
    assert bracket.outcome(20) == Failed("failed", "the time is over", 20)
    bracket = Bracket(trial(), SLO)
    bracket.tell(stage(1000, 2000))
    bracket.end("the time is over")
    assert bracket.outcome(20).rate == 1000
