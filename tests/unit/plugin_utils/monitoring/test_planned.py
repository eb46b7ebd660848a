# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What planned work silences: all that it causes, and nothing that callers notice."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.alerts import silences
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.monitoring import planned
from ansible_collections.tfserving.fleet.plugins.plugin_utils.signals.table import alerts

STATE = {"model": "ranker", "old": 7, "new": 8}
INSTANCES = {"gpu-a02": ["ranker"], "gpu-a01": ["ranker", "both"]}
ALERTS = {each.name: each for each in alerts(())}


def test_a_roll_out_silences_the_skew_of_its_model_and_what_its_instances_do():
    work = planned.rollout(STATE, INSTANCES)
    assert (work["name"], work["comment"]) == ("roll-out of ranker", "ranker from version 7 to 8")
    of_model, of_instances = work["scopes"]
    assert of_model == {"alertname": ["VersionSkew"], "model": ["ranker"]}
    assert (of_instances["host"], of_instances["serving_instance"]) == (["gpu-a01", "gpu-a02"], ["both", "ranker"])


def test_a_roll_out_silences_tickets_alone():
    names = (*planned.ROLLOUT_OF_MODEL, *planned.ROLLOUT_OF_INSTANCE)
    assert {ALERTS[name].severity for name in names} == {"ticket"}


def test_no_planned_work_silences_how_the_fleet_serves():
    names = (
        *planned.ROLLOUT_OF_MODEL,
        *planned.ROLLOUT_OF_INSTANCE,
        *planned.DRAIN_OF_HOST,
        *planned.DRAIN_OF_INSTANCE,
    )
    assert {ALERTS[name].scope for name in names} <= {"instance", "host", "monitoring", "rollout"}


@pytest.mark.parametrize(
    ("steps", "minutes"),
    [(0, 60), (2, 60 + 2 * (60 + 600) / 60), (10_000, 7 * 24 * 60)],
)
def test_the_silence_of_a_roll_out_lasts_as_long_as_its_steps_may(steps, minutes):
    work = planned.rollout(STATE, INSTANCES, {"interval": 60.0, "progress_deadline": 600.0}, steps)
    assert work["minutes"] == minutes


def test_a_drained_host_may_be_switched_off():
    work = planned.drain("gpu-a01")
    (scope,) = work["scopes"]
    assert {"HostGone", "InstanceGone"} <= set(scope["alertname"])
    assert (scope["host"], work["minutes"]) == (["gpu-a01"], 24 * 60)


def test_a_drained_instance_silences_no_other_and_not_its_host():
    work = planned.drain("gpu-a01", "ranker", "2h")
    (scope,) = work["scopes"]
    assert scope["serving_instance"] == ["ranker"]
    assert "HostGone" not in scope["alertname"]
    assert (work["name"], work["minutes"]) == ("drain of gpu-a01 ranker", 120)


@pytest.mark.parametrize(("until", "minutes"), [("5s", 1), ("20d", 0), ("500h", 7 * 24 * 60)])
def test_a_drain_is_silenced_for_a_minute_at_least_and_a_week_at_most(until, minutes):
    if not minutes:
        with pytest.raises(WishError, match="until: is the string '20d'; give a time such as 60s, 5m or 1h"):
            planned.drain("gpu-a01", until=until)
    else:
        assert planned.drain("gpu-a01", until=until)["minutes"] == minutes


@pytest.mark.parametrize(
    "work", [planned.rollout(STATE, INSTANCES), planned.drain("gpu-a01"), planned.drain("gpu-a01", "ranker")]
)
def test_the_module_takes_it(work):
    silences.refuse(silences.Work(**work))
