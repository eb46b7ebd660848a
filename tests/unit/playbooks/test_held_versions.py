# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""site.yml's plan of hosts with records: versions with a roll-out stay, hosts that join follow, and the end says so."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from planner_cases import CPU_HOST, KEY, model, plan
from playbook_place import Place
from repository import REPOSITORY


def record(version: int | None, **rollouts: Any) -> dict[str, Any]:
    """Return what host_topology reads of a host that serves a version of the model, or that serves nothing."""
    made = plan(CPU_HOST, None, [model(version=version)]) if version else {}
    accounts = {"group": None, "accounts": []}
    return {"topology": CPU_HOST, "plan": made, "key": KEY, "accounts": accounts, "rollouts": rollouts}


@pytest.fixture
def fleet(tmp_path):
    """Returns a function that plans hosts from their records, and returns their plans, or what the run printed."""

    def planned(records: dict[str, dict[str, Any]], *arguments: str, **wish: Any) -> Any:
        place = Place(tmp_path)
        wished = model(**{"version": 8, "rollout": {}, **wish})
        known = {"policy": {}, "rollouts": ["ranker"] if "rollout" in wished else [], "servers": {}}
        hosts = {name: {"__host_plan_found": found} for name, found in records.items()}
        place.inventory({"tfserving": hosts}, tfserving_models=[wished], host_plan_wishes=known)
        place.playbook(
            {"ansible.builtin.include_role": {"name": "tfserving.fleet.host_plan", "tasks_from": "plan.yml"}},
            {
                "ansible.builtin.copy": {
                    "content": "{{ tfserving_plan | to_json }}",
                    "dest": "{{ playbook_dir }}/{{ inventory_hostname }}.json",
                    "mode": "0600",
                }
            },
            end(),
            any_errors_fatal=True,
        )
        code, output = place.run("play.yml", *arguments)
        if code:
            return output
        files = {name: tmp_path / f"{name}.json" for name in records}
        return {name: json.loads(file.read_text()) for name, file in files.items() if file.exists()}, output

    return planned


def end() -> dict[str, Any]:
    """Return the task of the playbooks that says what waits."""
    (play,) = yaml.safe_load((REPOSITORY / "playbooks/plays/end.yml").read_text())
    (task,) = (task for task in play["tasks"] if "roll-out" in task["name"])
    return task


def served(plans: dict[str, Any]) -> dict[str, list[int]]:
    return {name: made["models"][0]["serve"]["versions"] for name, made in plans.items()}


COMMAND = "ansible-playbook -i hosts.yml tfserving.fleet.rollout -e model=ranker"


def test_hosts_keep_what_is_in_force_and_one_that_joins_follows_them(fleet):
    plans, output = fleet({"h1": record(7), "h2": record(7), "h3": record(8), "h4": record(None)})
    assert served(plans) == {"h1": [7], "h2": [7], "h3": [8], "h4": [7]}
    assert f"ranker 7 -> 8 waits for rollout.yml (h[1:2], h4): {COMMAND}" in output
    # What its own record says from now on is no other plan.
    assert plans["h4"] == plans["h1"]


def test_a_first_deployment_waits_for_nothing(fleet):
    plans, output = fleet({"h1": record(None), "h2": record(None)})
    assert served(plans) == {"h1": [8], "h2": [8]}
    assert "waits" not in output


def test_a_host_that_joins_alone_is_refused_unless_nothing_serves(fleet):
    hosts = {"h1": record(7), "h2": record(None)}
    assert (
        "tfserving_models[0].rollout: leaves 'ranker' as the fleet serves it, and no host of this run has a record that"
        " says how; h1 may serve another version; run it together with such a host, or, where nothing serves yet, set"
        " host_plan_rollout: {ranker: new}"
    ) in fleet(hosts, "--limit", "h2")
    plans, _output = fleet(hosts, "--limit", "h2", "-e", '{"host_plan_rollout": {"ranker": "new"}}')
    assert served(plans) == {"h2": [8]}


def test_a_stage_of_the_rollout_reaches_the_plan(fleet):
    plans, output = fleet({"h1": record(7), "h2": record(7)}, "-e", '{"host_plan_rollout": {"ranker": "both"}}')
    assert served(plans) == {"h1": [7, 8], "h2": [7, 8]}
    assert "waits for" not in output


def test_what_one_host_remembers_as_reverted_is_refused_on_all(fleet):
    bad = {"ranker": {"age": [1, 3], "old": 7, "reverted": {"8": "p99 rose to 90 ms"}}}
    hosts = {"h1": record(7), "h2": record(7, **bad)}
    sentence = "tfserving_models[0].version: names 8, which a roll-out has reverted: p99 rose to 90 ms; name another"
    output = fleet(hosts)
    assert all(f"fatal: [{host}]: FAILED!" in output for host in hosts)
    assert sentence in output
    plans, _output = fleet(hosts, rollout={"retry": True})
    assert served(plans) == {"h1": [7], "h2": [7]}


def test_a_damaged_record_is_one_sentence(fleet):
    broken = record(7)
    broken["plan"] = {**broken["plan"], "models": [{"name": "ranker", "versions": []}]}
    output = fleet({"h1": broken})
    assert "/etc/tfserving/plan.json: does not say which versions of a model are in force; move it away" in output
    assert "Traceback" not in output


def test_models_without_a_rollout_take_no_further_step(fleet):
    plans, output = fleet({"h1": record(7), "h2": record(None)}, rollout=None)
    assert served(plans) == {"h1": [8], "h2": [8]}
    assert output.count("skipping: [h1]") >= 1
