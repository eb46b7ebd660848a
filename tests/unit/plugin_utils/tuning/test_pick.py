# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What the trials speak for, before anything takes turns."""

from __future__ import annotations

import dataclasses

from ansible_collections.tfserving.fleet.plugins.plugin_utils.tuning import physics, seeds
from ansible_collections.tfserving.fleet.plugins.plugin_utils.tuning.pick import extremeness, pick
from ansible_collections.tfserving.fleet.plugins.plugin_utils.tuning.search import Search
from ansible_collections.tfserving.fleet.plugins.plugin_utils.tuning.trial import Failed, Measured
from tuning_cases import LONG, measured, run, site, turned

PLACE = site()
BIG = physics.shaped(PLACE, 64, 0, 4)
BIGGER = physics.shaped(PLACE, 128, 2500, 4)


def test_one_repeat_over_the_objective_is_enough_to_lose():
    place = PLACE

    def measure(trial):
        if trial.rung == "turns":
            return turned(trial)
        high = 51_000 if trial.setting == BIG and trial.rung == "final" and trial.repeat == 2 else 45_000
        rates = {place.single: 1000, place.planned: 2000, BIG: 3000}
        return dataclasses.replace(measured(rates.get(trial.setting, 0)), p99_high_us=high)

    candidates = (*seeds.seeds(place).found[:2], seeds.Seed(BIG, "physics", "a test", 1))
    search = Search(place, seeds.Seeds(candidates, ()), LONG, lambda *_: None)
    assert pick(place, run(search, measure).epoch).chosen.setting == place.planned


def test_the_value_is_the_mean_of_the_repeats_and_the_interval_holds_them_all():
    place = PLACE

    def measure(trial):
        if trial.rung == "turns":
            return turned(trial)
        rate = {1: 2900, 2: 3000, 3: 3100}[trial.repeat] if trial.setting == BIG else 1000
        return Measured(rate, rate - 10, rate + 10, 40_000, 45_000, 10)

    candidates = (*seeds.seeds(place).found[:2], seeds.Seed(BIG, "physics", "a test", 1))
    search = Search(place, seeds.Seeds(candidates, ()), LONG, lambda *_: None)
    found = pick(place, run(search, measure).epoch)
    assert (found.evidence[0].rate, found.evidence[0].low, found.evidence[0].high) == (3000, 2890, 3110)
    assert len(found.evidence[0].trials) == 3


def test_a_plan_that_failed_once_is_still_set_against_the_best():
    def measure(trial):
        if trial.rung == "turns":
            return turned(trial)
        if trial.setting == PLACE.planned and trial.rung == "final":
            return Failed("failed", "out of time", 30)
        return measured({PLACE.planned: 2000, BIG: 3000}.get(trial.setting, 1000))

    candidates = (*seeds.seeds(PLACE).found[:2], seeds.Seed(BIG, "physics", "a test", 1))
    search = run(Search(PLACE, seeds.Seeds(candidates, ()), LONG, lambda *_: None), measure)
    found = pick(PLACE, search.epoch)
    assert (found.chosen.setting, found.planned.rate, found.is_contested) == (BIG, 2000, True)
    assert [told.trial.rung for told in search.history].count("turns") == 1


def test_extremeness_counts_factors_of_two():
    batches = PLACE.planned.batches
    assert extremeness(PLACE.planned, PLACE.planned) == 0
    assert extremeness(PLACE.planned.with_batches(max_batch_size=4 * batches.max_batch_size), PLACE.planned) == 2
    assert extremeness(BIGGER, PLACE.planned) > extremeness(BIG, PLACE.planned)
    assert extremeness(PLACE.single, PLACE.planned) == 0
