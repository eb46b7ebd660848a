# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a roll-out will take, in words, and what is not promised."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.plugin_utils.rollout import plan, steps, verdict
from ansible_collections.tfserving.fleet.plugins.plugin_utils.rollout.samples import Counts, Delta
from refusing import refusal
from simulated_rollout import Rates, wish
from simulated_watch import Fleet, rolled


@pytest.mark.parametrize(
    ("usual", "worse", "calls"), [(0.001, 0.01, 1756), (0.001, 0.005, 4865), (0.01, 0.02, 3845), (0.001, 0.002, 38_990)]
)
def test_the_size_of_a_fixed_test_is_that_of_two_shares(usual, worse, calls):
    assert plan.fixed_size(usual, worse) == calls


def needs(*percents, **changes):
    return plan.needs(percents, verdict.rules(wish(**changes)))


def test_what_a_step_takes_is_told_in_words():
    assert needs(1) == "at least 90 s and 509 calls of each arm (50,900 in all)"
    assert needs(5, 25) == "at least 90 s and 509 calls of each arm per step (10,180 and 2,036 in all)"
    assert needs(100) == "at least 90 s and 509 calls"
    # The control gets fewer above one half.
    assert needs(75) == "at least 90 s and 509 calls of the new version (679 in all)"
    assert needs(10, interval="1h", progress_deadline="2h") == (
        "at least 3,630 s and 509 calls of each arm (5,090 in all)"
    )


def test_a_lower_ceiling_takes_more_calls():
    assert needs(1, error_ceiling=0.001).startswith("at least 90 s and 5,115 calls of each arm")
    assert needs(1, min_samples=9000).startswith("at least 90 s and 9,000 calls of each arm")


def pace(percent, **changes):
    return plan.pace(percent, verdict.rules(wish(**changes)))


def test_how_busy_a_model_has_to_be_is_told_in_words():
    ends = "with fewer it ends without a verdict at progress_deadline"
    assert pace(1) == f"1 % takes 90 calls a second of the whole model; {ends} (10 min)"
    assert pace(1, progress_deadline="2h") == f"1 % takes 8 calls a second of the whole model; {ends} (2.0 h)"
    assert pace(100) == f"100 % takes 1 call a second of the whole model; {ends} (10 min)"


def deadline(**changes):
    return refusal(plan.refuse_deadline, "rollout", wish(**changes))


def test_a_deadline_too_short_for_the_looks_that_a_comparison_takes_is_refused():
    assert deadline(progress_deadline="109s") == (
        "rollout.progress_deadline: is 109 s, and at 1 % it takes 110 s to find a version of which every call fails:"
        " min_healthy_time, and 16 looks of 5 s; set it to 110s or more"
    )
    # The less the control gets, the less an error of the canary says.
    assert deadline(steps=[5, 95, 100]) == (
        "rollout.progress_deadline: is 600 s, and at 95 % it takes 870 s to find a version of which every call fails:"
        " min_healthy_time, and 168 looks of 5 s; set it to 870s or more, or leave that step out"
    )


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"progress_deadline": "110s"},
        {"progress_deadline": "90s", "steps": [100]},
        {"progress_deadline": "90s", "gates": {"errors": "dry_run"}},
        {"progress_deadline": "870s", "steps": [5, 95, 100]},
    ],
)
def test_a_deadline_that_leaves_time_for_a_verdict_is_taken(changes):
    plan.refuse_deadline("rollout", wish(**changes))


def test_a_version_of_which_every_call_fails_is_found_before_the_shortest_deadline():
    fleet = Fleet(rates=lambda arm, _at: Rates(1.0 if arm == "canary" else 0.0))
    ended = rolled(fleet, progress_deadline="110s")
    assert (ended.ended, ended.state.reverted.keys()) == ("reverting", {"8"})


def limits(**changes):
    wished = wish(**changes)
    return plan.limits(wished, verdict.rules(wished))


def test_what_cannot_be_promised_is_told():
    assert limits(slow_share_over="100ms") == [
        "no error in 509 calls shows no more than a rate below 0.59%",
        "4 times as many errors as 0.1% take 7,212 calls of each arm to show, a doubling 38,990",
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
