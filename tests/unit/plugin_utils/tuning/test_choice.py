# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dataclasses

import pytest
from ansible_collections.tfserving.fleet.plugins.plugin_utils.tuning import choice, physics, seeds
from ansible_collections.tfserving.fleet.plugins.plugin_utils.tuning.choice import choose, extremeness
from ansible_collections.tfserving.fleet.plugins.plugin_utils.tuning.search import Search
from ansible_collections.tfserving.fleet.plugins.plugin_utils.tuning.trial import Failed, Measured
from tuning_cases import LONG, measured, run, site

PLACE = site()
BIG = physics.shaped(PLACE, 64, 0, 4)
BIGGER = physics.shaped(PLACE, 128, 2500, 4)


def chosen(rates, place=PLACE, seconds=30, p99_high=45_000):
    """Return the choice where settings have these knees, the plan and the baseline too; others keep nothing."""

    def measure(trial):
        rate = rates.get(trial.setting, 0)
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
    assert found.reasons[:3] == (
        "3,000 requests a second [2,940 to 3,060] within p99 of 50 ms",
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


def test_one_repeat_over_the_objective_is_enough_to_lose():
    place = PLACE

    def measure(trial):
        high = 51_000 if trial.setting == BIG and trial.rung == "final" and trial.repeat == 2 else 45_000
        rates = {place.single: 1000, place.planned: 2000, BIG: 3000}
        return dataclasses.replace(measured(rates.get(trial.setting, 0)), p99_high_us=high)

    candidates = (*seeds.seeds(place).found[:2], seeds.Seed(BIG, "physics", "a test", 1))
    search = Search(place, seeds.Seeds(candidates, ()), LONG, lambda *_: None)
    assert choose(run(search, measure)).setting == place.planned


def test_the_value_is_the_mean_of_the_repeats_and_the_interval_holds_them_all():
    place = PLACE

    def measure(trial):
        rate = {1: 2900, 2: 3000, 3: 3100}[trial.repeat] if trial.setting == BIG else 1000
        return Measured(rate, rate - 10, rate + 10, 40_000, 45_000, 10)

    candidates = (*seeds.seeds(place).found[:2], seeds.Seed(BIG, "physics", "a test", 1))
    found = choose(run(Search(place, seeds.Seeds(candidates, ()), LONG, lambda *_: None), measure))
    assert (found.evidence[0].rate, found.evidence[0].low, found.evidence[0].high) == (3000, 2890, 3110)
    assert len(found.evidence[0].trials) == 3


def test_extremeness_counts_factors_of_two():
    batches = PLACE.planned.batches
    assert extremeness(PLACE.planned, PLACE.planned) == 0
    assert extremeness(PLACE.planned.with_batches(max_batch_size=4 * batches.max_batch_size), PLACE.planned) == 2
    assert extremeness(BIGGER, PLACE.planned) > extremeness(BIG, PLACE.planned)
    assert extremeness(PLACE.single, PLACE.planned) == 0


def test_the_document_has_the_choice():
    found = chosen({PLACE.single: 1000, PLACE.planned: 2000, BIG: 3000}).to_json()
    assert found["verdict"] == "tuned"
    assert found["against_planned"]["value"] == 1.5
    assert choice.Choice(None, None, "none", ("x",), None, ()).to_json() == {
        "trial": None,
        "verdict": "none",
        "reasons": ["x"],
        "against_planned": None,
    }


def test_where_nothing_could_be_measured_nothing_is_said_of_the_objective():
    search = Search(PLACE, seeds.seeds(PLACE), LONG, lambda *_: None)
    found = choose(run(search, lambda _trial: Failed("failed", "the load hosts were busy", 20)))
    assert found.verdict == "none"
    (reason,) = found.reasons
    assert reason.endswith("could be measured, so nothing is known of the objective: the load hosts were busy")
