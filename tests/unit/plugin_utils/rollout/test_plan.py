# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a roll-out will take, in words, and what is not promised."""

from __future__ import annotations

import random

import pytest
from ansible_collections.tfserving.fleet.plugins.plugin_utils.rollout import plan, steps, verdict
from ansible_collections.tfserving.fleet.plugins.plugin_utils.rollout.samples import Counts, Delta
from simulated_rollout import RUNS, happens, wish


def words(rate, **changes):
    wished = wish(**changes)
    return [each.sentence for each in plan.estimates(wished, verdict.rules(wished), rate)]


@pytest.mark.parametrize(
    ("usual", "worse", "calls"), [(0.001, 0.01, 1756), (0.001, 0.005, 4865), (0.01, 0.02, 3845), (0.001, 0.002, 38_990)]
)
def test_the_size_of_a_fixed_test_is_that_of_two_shares(usual, worse, calls):
    assert plan.fixed_size(usual, worse) == calls


def test_each_step_is_estimated_in_words():
    assert words(200, steps=[1, 25, 100]) == [
        "1 %: 509 calls at 2 a second, 5 min at least",
        "25 %: 509 calls at 50 a second, 2 min at least",
        "100 %: 509 calls at 200 a second, 2 min at least",
    ]


def test_a_step_that_would_end_without_a_verdict_is_told():
    assert words(20)[0] == (
        "1 %: 509 calls at 0.2 a second, 43 min at least, longer than progress_deadline (10 min), so it would end"
        " without a verdict; raise that, or begin with a larger step"
    )


def test_without_traffic_no_step_passes():
    assert words(0)[0] == "1 %: 509 calls; without traffic it never passes"


def test_a_lower_ceiling_takes_more_calls():
    assert words(1000, error_ceiling=0.001)[0].startswith("1 %: 5,115 calls")
    assert words(1000, min_samples=9000)[0].startswith("1 %: 9,000 calls")


def limits(**changes):
    wished = wish(**changes)
    return plan.limits(wished, verdict.rules(wished))


def test_what_cannot_be_promised_is_told():
    assert limits(slow_share_over="100ms") == [
        "no error in 509 calls shows no more than a rate below 0.59%",
        "4 times as many errors as 0.1% show with 7,212 calls of each arm, twice as many only with 38,990: a doubling"
        " is not promised",
        "a version of which every call fails is found after 16 looks in which the canary was called",
        "12 of 509 calls beyond a p99 are more than chance; a doubled share of slow calls is seen in 32% of such steps,"
        " a tripled one in 84%",
    ]


def test_a_single_step_has_nothing_to_compare_with():
    assert limits(steps=[100])[-1] == (
        "a single step of 100 % leaves nothing to compare with: only a dead version is noticed"
    )


def test_unequal_arms_take_more_calls():
    assert limits(steps=[25, 75, 100])[-1] == (
        "a step above 50 % leaves the control less than the canary, so it takes more calls"
    )


@pytest.mark.parametrize(
    ("seconds", "words"), [(45, "45 s"), (89, "89 s"), (90, "2 min"), (720, "12 min"), (12_600, "3.5 h")]
)
def test_durations_are_told_as_people_do(seconds, words):
    assert plan.minutes(seconds) == words


@pytest.mark.parametrize(
    ("permille", "bounds"), [(0, (0, 0)), (10, (2, 22)), (250, (206, 296)), (500, (448, 552)), (1000, (1000, 1000))]
)
def test_the_bounds_of_a_share_are_exact(permille, bounds):
    assert plan.share_bounds(1000, permille) == bounds


def test_from_a_quarter_on_a_share_is_within_a_fifth_at_1000_calls():
    least, most = plan.share_bounds(1000, 250)
    assert 250 * 0.8 <= least <= most <= 250 * 1.2
    least, most = plan.share_bounds(1000, 50)
    assert not 50 * 0.8 <= least <= most <= 50 * 1.2


@pytest.mark.parametrize("permille", [10, 50, 250, 500])
def test_a_thousand_calls_drawn_by_chance_keep_within_the_bounds(permille):
    draw = random.Random(f"share {permille}")
    least, most = plan.share_bounds(1000, permille)
    outside = sum(not least <= happens(draw, 1000, permille / 1000) <= most for _ in range(RUNS))
    assert outside <= RUNS * 0.005 + 1


@pytest.mark.parametrize("percent", [1, 50, 75])
def test_a_version_of_which_every_call_fails_is_found_after_the_looks_that_were_told(percent):
    rules, given = verdict.rules(wish()), steps.shares(percent)
    looks, evidence = plan.fewest_looks(rules, percent), verdict.Evidence(0.0)
    outcomes = []
    for look in range(looks):
        delta = Delta(Counts(given.canary, given.canary), Counts(given.control))
        evidence = verdict.look(evidence, delta, rules, 60.0 + look)
        outcomes.append(verdict.judge(evidence, rules, 60.0 + look).outcome)
    assert outcomes == ["inconclusive"] * (looks - 1) + ["fail"]
