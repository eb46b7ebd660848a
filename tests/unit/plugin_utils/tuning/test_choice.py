# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dataclasses

import pytest
from ansible_collections.tfserving.fleet.plugins.plugin_utils.tuning import choice, physics, seeds
from ansible_collections.tfserving.fleet.plugins.plugin_utils.tuning.choice import choose
from ansible_collections.tfserving.fleet.plugins.plugin_utils.tuning.search import Search
from ansible_collections.tfserving.fleet.plugins.plugin_utils.tuning.trial import Failed
from tuning_cases import LONG, measured, run, site, turned

PLACE = site()
BIG = physics.shaped(PLACE, 64, 0, 4)
NONE = "no difference"
BIGGER = physics.shaped(PLACE, 128, 2500, 4)


def chosen(rates, place=PLACE, big_s=30, p99_high=45_000, turns=turned):
    """Return the choice where settings have these knees, the plan and the baseline too; others keep nothing."""

    def measure(trial):
        if trial.rung == "turns":
            return turns(trial)
        rate = rates.get(trial.setting, 0)
        seconds = big_s if trial.setting == BIG else 30
        return dataclasses.replace(measured(rate, seconds=seconds), p99_high_us=p99_high)

    candidates = [seed for seed in seeds.seeds(place).found[:2]]
    candidates += [
        seeds.Seed(each, "physics", "a test", 1) for each in rates if each not in (place.single, place.planned)
    ]
    search = Search(place, seeds.Seeds(tuple(candidates), ()), LONG, lambda *_: None)
    return choose(run(search, measure))


def test_a_clearly_better_setting_is_chosen_with_its_reasons():
    found = chosen({PLACE.single: 1000, PLACE.planned: 2000, BIG: 3000})
    assert (found.verdict, found.setting) == ("tuned", BIG)
    assert found.reasons[:4] == (
        "3,000 requests a second [2,940 to 3,060] within p99 of 50 ms",
        "in turns with the plan at 2,213 requests a second: better, p99 40 ms against 52 ms as planned; as the test has"
        " it",
        "the plan carries 2,000 requests a second [1,960 to 2,040]",
        "without batching it is 1,000 requests a second [980 to 1,020]",
    )
    assert found.against_planned == (1.5, pytest.approx(2940 / 2040), pytest.approx(3060 / 1960))


def test_the_least_extreme_within_the_interval_of_the_best_is_chosen():
    found = chosen({PLACE.single: 1000, PLACE.planned: 2000, BIG: 2960, BIGGER: 3000})
    assert found.setting == BIG
    assert (
        "the best of all is 3,000 requests a second [2,940 to 3,060], which is no more than noise better and farther"
        " from the plan"
    ) in found.reasons
    assert chosen({PLACE.single: 1000, PLACE.planned: 2000, BIG: 2900, BIGGER: 3000}).setting == BIGGER


def test_the_plan_was_right_where_its_interval_covers_the_best():
    found = chosen({PLACE.single: 1000, PLACE.planned: 2960, BIG: 3000})
    assert (found.verdict, found.setting) == ("plan", PLACE.planned)
    assert found.reasons == (
        "the plan was already right: 2,960 requests a second [2,901 to 3,019], the best of all 3,000 requests a second"
        " [2,940 to 3,060]",
    )
    assert found.against_planned == (1, 1, 1)


def test_no_batching_where_batches_do_not_pay_though_the_plan_is_as_good():
    place = site(fixed_us=10, item_us=2000)
    found = chosen({place.single: 1970, place.planned: 1980}, place)
    assert (found.verdict, found.setting) == ("no batching", place.single)
    assert found.reasons[0] == "without batching it carries 1,970 requests a second [1,931 to 2,009]"
    assert found.reasons[1].startswith("in turns with the plan at 1,97")
    assert found.reasons[-1].endswith("so batches do not pay")


def test_no_batching_where_it_is_the_best():
    found = chosen({PLACE.single: 3000, PLACE.planned: 2000, BIG: 2500})
    assert (found.verdict, found.setting) == ("no batching", PLACE.single)


def test_a_plan_without_batches_that_is_right_stays():
    place = site(batching={"enabled": False})
    found = chosen({place.single: 3000}, place)
    assert (found.verdict, found.setting) == ("plan", place.single)


def test_a_plan_that_keeps_the_objective_nowhere_is_named():
    found = chosen({PLACE.single: 1000, BIG: 3000})
    assert found.setting == BIG
    assert found.against_planned is None
    assert "the plan as it is keeps the objective at no rate that was measured" in found.reasons


def test_a_setting_whose_p99_may_break_the_objective_is_never_chosen():
    found = chosen({PLACE.single: 1000, PLACE.planned: 2000, BIG: 3000}, p99_high=50_001)
    assert (found.verdict, found.setting, found.trial) == ("none", None, None)


def test_without_a_difference_in_turns_the_plan_stays():
    found = chosen({PLACE.single: 1000, PLACE.planned: 2000, BIG: 3000}, turns=lambda trial: turned(trial, NONE))
    assert (found.verdict, found.setting) == ("plan", PLACE.planned)
    assert found.reasons[:2] == (
        "the plan stays: in turns with the plan at 2,213 requests a second: no difference, p99 40 ms against 52 ms as"
        " planned; as the test has it",
        "the trials spoke for another setting: 3,000 requests a second [2,940 to 3,060] within p99 of 50 ms",
    )
    assert found.against_planned == (1, 1, 1)
    assert found.turns.verdict == NONE


def test_what_is_better_in_turns_but_over_the_objective_is_not_chosen():
    found = chosen({PLACE.single: 1000, PLACE.planned: 2000, BIG: 3000}, turns=lambda trial: turned(trial, keeps=False))
    assert (found.verdict, found.setting) == ("plan", PLACE.planned)
    assert "and its upper bound is over the objective" in found.reasons[0]


def test_turns_that_could_not_be_measured_leave_the_plan():
    found = chosen(
        {PLACE.single: 1000, PLACE.planned: 2000, BIG: 3000},
        turns=lambda trial: Failed("failed", "the load hosts were busy", 20),
    )
    assert (found.verdict, found.turns) == ("plan", None)
    assert found.reasons[0] == (
        "the plan stays, since it could not be set against the best in turns: the load hosts were busy"
    )


def test_without_time_for_turns_the_plan_stays():
    found = chosen({PLACE.single: 1000, PLACE.planned: 2000, BIG: 3000}, big_s=7000)
    assert (found.verdict, found.turns) == ("plan", None)
    assert found.reasons[0] == (
        "the plan stays, since it could not be set against the best in turns: the budget had no time left for it"
    )


def test_no_batches_need_only_be_no_worse_where_the_plan_is_no_better():
    place = site(fixed_us=10, item_us=2000)
    rates = {place.single: 1970, place.planned: 1980}
    assert chosen(rates, place, turns=lambda trial: turned(trial, NONE)).verdict == "no batching"
    assert chosen(rates, place, turns=lambda trial: turned(trial, "worse")).verdict == "plan"


def test_no_batches_that_carry_more_must_be_better():
    rates = {PLACE.single: 3000, PLACE.planned: 2000, BIG: 2500}
    assert chosen(rates, turns=lambda trial: turned(trial, NONE)).verdict == "plan"


def test_the_document_has_the_choice():
    found = chosen({PLACE.single: 1000, PLACE.planned: 2000, BIG: 3000}).to_json()
    assert found["verdict"] == "tuned"
    assert found["against_planned"]["value"] == 1.5
    assert (found["turns"]["rate"], found["turns"]["verdict"]) == (pytest.approx(2000 * 1.5**0.25), "better")
    assert choice.Choice(None, None, "none", ("x",), None, ()).to_json() == {
        "trial": None,
        "verdict": "none",
        "reasons": ["x"],
        "against_planned": None,
        "turns": None,
    }


def test_where_nothing_could_be_measured_nothing_is_said_of_the_objective():
    search = Search(PLACE, seeds.seeds(PLACE), LONG, lambda *_: None)
    found = choose(run(search, lambda _trial: Failed("failed", "the load hosts were busy", 20)))
    assert found.verdict == "none"
    (reason,) = found.reasons
    assert reason.endswith("could be measured, so nothing is known of the objective: the load hosts were busy")
