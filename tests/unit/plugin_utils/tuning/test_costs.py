# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a change of settings costs, as measured."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

from ansible_collections.tfserving.fleet.plugins.plugin_utils.tuning import costs, space, ways
from ansible_collections.tfserving.fleet.plugins.plugin_utils.tuning.history import Told
from ansible_collections.tfserving.fleet.plugins.plugin_utils.tuning.search import Options
from ansible_collections.tfserving.fleet.plugins.plugin_utils.tuning.trial import Failed
from tuning_cases import as_predicted, measured, searched, site

BASE = space.Setting(space.Batches(16, 2000, 4, 100), 1, 3, 64, 64)
NEAR = BASE.with_batches(max_batch_size=32)
FAR = BASE.with_batches(num_batch_threads=2)


def told(setting, how, change_s, seconds=60.0):
    outcome = dataclasses.replace(measured(100, seconds=seconds), tried_by=how, change_s=change_s)
    return Told(SimpleNamespace(setting=setting), outcome)


HISTORY = [
    told(BASE, "restart", 8.0),
    told(NEAR, "version", 2.0),
    told(BASE, "version", 3.0),
    told(FAR, "restart", 10.0),
    told(BASE, "restart", 30.0),
]


def test_a_change_costs_the_median_of_its_way():
    assert costs.change_s(HISTORY, [NEAR], 99.0) == 2.5
    assert costs.change_s(HISTORY, [FAR], 99.0) == 10.0
    assert costs.change_s(HISTORY, [BASE], 99.0) == 0.0
    # In turns: to the near one, back, and to one with other threads.
    assert costs.change_s(HISTORY, [NEAR, BASE, FAR], 99.0) == 2.5 + 2.5 + 10.0


def test_what_has_not_been_measured_costs_a_restart():
    assert costs.change_s([], [BASE], 10.0) == 10.0
    assert costs.change_s(HISTORY[:1], [NEAR], 99.0) == 8.0
    illegal = Told(SimpleNamespace(setting=FAR), Failed("illegal", "too large", 0.0))
    assert costs.change_s([*HISTORY, illegal], [NEAR], 99.0) == 2.5


def test_the_pace_is_that_of_the_stages_alone():
    assert costs.pace([], [], 10.0) == 1.0
    assert costs.pace([told(BASE, "restart", 8.0, 58.0)], [50.0], 10.0) == 1.0
    assert costs.pace([told(BASE, "version", 2.0, 102.0)], [50.0], 10.0) == 2.0


def test_a_result_says_how_its_settings_were_tried():
    assert costs.remark(HISTORY) == [
        "settings were put in force by a restart for 3 trials (10.0 s each) and by another version of the model for"
        " 2 trials (2.5 s each)"
    ]
    assert costs.remark(HISTORY[:1]) == []


def trials_within(budget_s, version_s):
    """Return a search on a host whose restarts take two minutes."""
    place = site()
    measure, running = as_predicted(place), [None]

    def with_changes(trial):
        how = ways.way(running[-1], trial.setting).how
        running.append(trial.setting)
        change_s = {"restart": 120.0, "version": version_s, "kept": 0.5}[how]
        outcome = measure(trial)
        return dataclasses.replace(outcome, tried_by=how, change_s=change_s, seconds=outcome.seconds + change_s)

    return searched(place, with_changes, Options(budget_s=budget_s))


def test_cheap_changes_leave_a_budget_for_more_trials_and_none_is_overdrawn():
    dear, cheap = trials_within(3600, 120.0), trials_within(3600, 2.0)
    assert "version" in [each.outcome.tried_by for each in cheap.history]
    assert len(cheap.history) > len(dear.history)
    for found in (dear, cheap):
        # The baseline that a trial of the last minutes may bring with it, to see drift.
        assert found.spent_s <= 3600 + 120.0 + Options().stages_s("again")
