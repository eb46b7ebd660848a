# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The action diagnosis_probe hands on what the run knows of a host, and leaves no directory where nothing runs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.tfserving.fleet.plugins.action import diagnosis_probe
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from planner_cases import CPU_HOST, instance
from planner_cases import plan as planned

PLAN = planned(CPU_HOST, [instance()])
VARIABLES: dict[str, Any] = {
    "inventory_hostname": "b1",
    "ansible_play_hosts_all": ["a1", "b1", "g1"],
    "groups": {"tfserving": ["a1", "b1"], "tfserving_gateways": ["g1"]},
    "hostvars": {
        "a1": {"diagnosis_record": {"plan": {"instances": [{"name": "other"}]}}},
        "b1": {"inventory_hostname": "b1", "ansible_host": "10.0.0.2"},
        "g1": {"inventory_hostname": "g1", "ansible_host": "10.0.0.7", "gateway_rest_port": 8081},
    },
}


@pytest.fixture
def load(monkeypatch):
    """Return the commands on the load host, and what the probe was asked for."""
    seen = SimpleNamespace(commands=[], wanted=[], found={"running": [{"stage": "x"}], "unread": []})

    def run(_self: Any, command: str) -> dict[str, Any]:
        seen.commands.append(command)
        return {"rc": 0, "stdout": "", "stderr": ""}

    def started(_place: Any, wanted: Any) -> Any:
        seen.wanted.append(wanted)
        if isinstance(seen.found, Exception):
            raise seen.found
        return seen.found

    monkeypatch.setattr(diagnosis_probe.ActionModule, "_low_level_execute_command", run)
    monkeypatch.setattr(diagnosis_probe.probe, "started", started)
    monkeypatch.setattr(diagnosis_probe.probe, "ended", lambda _place, running: {"client": running})
    return seen


def perform(variables: dict[str, Any] = VARIABLES, **arguments: Any) -> dict[str, Any]:
    found = object.__new__(diagnosis_probe.ActionModule)
    generator = {"python": "python3", "program": "/opt/load.zip", "folder": "/opt"}
    usual = {"load_host": "load-1", "generator": generator, "state": "started", "plan": PLAN}
    given = {"instances": [], "seconds": 10.0, "given": {}, "folder": None, "running": [], **usual, **arguments}
    found.options = lambda: given
    return found.perform(variables)


def test_the_first_gateway_is_called_for_instances_that_no_earlier_host_has(load):
    perform()
    (wanted,) = load.wanted
    assert (wanted.host, wanted.address, list(wanted.through)) == ("b1", "10.0.0.2", ["ranker"])
    assert wanted.gateway == {"address": "10.0.0.7", "gateway_rest_port": 8081}


def test_an_instance_that_an_earlier_host_has_is_not_called_through_the_gateway_again(load):
    earlier = {"a1": {"diagnosis_record": {"plan": PLAN}}}
    perform({**VARIABLES, "hostvars": {**VARIABLES["hostvars"], **earlier}})
    assert list(load.wanted[0].through) == []


def test_without_gateways_there_is_none(load):
    perform({**VARIABLES, "groups": {"tfserving": ["a1", "b1"]}})
    assert load.wanted[0].gateway is None


def test_the_directory_stays_for_the_task_that_fetches(load):
    folder = perform()["folder"]
    assert not any(f"rm -rf {folder}" in command for command in load.commands)
    assert perform(state="fetched", folder=folder, running=[{"stage": "x"}]) == {"client": [{"stage": "x"}]}
    assert load.commands[-1] == f"rm -rf {folder}"


@pytest.mark.parametrize("found", [{"running": [], "unread": []}, WishError("", "the load host is full", "")])
def test_where_nothing_runs_the_directory_goes_at_once(load, found):
    load.found = found
    if isinstance(found, Exception):
        with pytest.raises(WishError, match="the load host is full"):
            perform()
    else:
        perform()
    assert load.commands[-1].startswith("rm -rf /opt/run-")
