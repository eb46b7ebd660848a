# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Fast runs repeat the roles' own calls: with their very arguments, and with all of them."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from ansible_collections.tfserving.fleet.plugins.module_utils.tree.options import STATE_PATH
from ansible_collections.tfserving.fleet.plugins.module_utils.unchanged.checks import CHECKS
from ansible_collections.tfserving.fleet.plugins.modules import (
    cpu_partition,
    kernel_settings,
    serving_instances,
    signing_key,
)
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import inventory
from repository import REPOSITORY

# The roles whose defaults are there: playbooks/plays/serve.yml imports them into the play that records.
IMPORTED = {"kernel_tuning", "cpu_partition", "tfserving"}

# The task whose place a check takes, and what of its arguments the check has otherwise, with the reason.
PLACES: dict[str, tuple[str, str, dict[str, str]]] = {
    "kernel": ("roles/kernel_tuning/tasks/apply.yml", "kernel_settings", {}),
    "partition": ("roles/cpu_partition/tasks/prove.yml", "cpu_partition", {}),
    "allocator": ("roles/jemalloc/tasks/prove.yml", "jemalloc_trial", {}),
    "server": ("roles/tfserving/tasks/install.yml", "server_state", {}),
    "key": ("roles/tfserving/tasks/apt_repository.yml", "signing_key", {}),
    "models": (
        "roles/model_repository/tasks/publish.yml",
        "model_repository",
        {
            "sources": "beside the record, which has no secrets",
            "headers": "beside the record, which has no secrets",
            "prune": "what is to be removed is unsettled, and so a change",
            "group": "in check mode alone the group may not be there yet",
            "staging": "nothing is sent",
            "imports": "read by the action",
        },
    ),
    "instances": (
        "roles/tfserving/tasks/instances.yml",
        "serving_instances",
        {
            "instances": "all steps at once",
            "revision": "the files tell whether an instance runs with them",
            "final": "all steps at once",
            "may_stop": "nothing is stopped",
        },
    ),
    "driver": ("roles/nvidia_driver/tasks/read.yml", "nvidia_driver_state", {}),
    "host": (
        "roles/host_plan/tasks/read.yml",
        "host_topology",
        {
            "plan_path": "a check of its own",
            "key_path": "a check of its own",
            "rollouts": "hosts with roll-outs have no record",
            "rollout_path": "hosts with roll-outs have no record",
        },
    ),
}
# What the modules would fill in.
MODULES = {
    "kernel": kernel_settings,
    "partition": cpu_partition,
    "key": signing_key,
    "instances": serving_instances,
}


def tasks(path: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = yaml.safe_load((REPOSITORY / path).read_text(encoding="utf-8"))
    return found


def recording() -> dict[str, Any]:
    (task,) = tasks("playbooks/tasks/fast_record.yml")
    return task


def recorded(check: str) -> dict[str, Any]:
    task = recording()
    given = task["tfserving.fleet.fleet_unchanged"]["checks"][check]
    return task["vars"]["__fast_key"] if check == "key" else given


def plain(expression: Any) -> str:
    """Return an expression without the default of a role that the play does not have."""
    return str(expression).partition(" | default(")[0].removesuffix(" }}")


def test_each_check_gets_arguments():
    assert set(recording()["tfserving.fleet.fleet_unchanged"]["checks"]) == set(CHECKS)


def test_each_check_repeats_a_task_of_a_role_or_reads_records():
    assert set(PLACES) | {"record", "trees"} == set(CHECKS)
    assert recorded("trees") == {"state_path": STATE_PATH}


@pytest.mark.parametrize("check", PLACES)
def test_arguments_are_those_of_the_role(check):
    path, module, otherwise = PLACES[check]
    (task,) = [each for each in tasks(path) if f"tfserving.fleet.{module}" in each]
    theirs, ours = task[f"tfserving.fleet.{module}"], recorded(check)
    assert {name: plain(value) for name, value in theirs.items() if name not in otherwise} == {
        name: plain(ours.get(name)) for name in theirs if name not in otherwise
    }


def test_options_of_roles_that_the_play_does_not_import_have_their_defaults():
    text = (REPOSITORY / "playbooks/tasks/fast_record.yml").read_text(encoding="utf-8")
    used = dict(re.findall(r"\{\{ (\w+)(?: \| default\((.+?)\))? \}\}", text))
    specs = inventory.role_specs()
    there = {name for role in IMPORTED for name in specs[role]}
    elsewhere = {
        name: option["default"]
        for options in specs.values()
        for name, option in options.items()
        if name in used and name not in there
    }
    assert elsewhere.keys() >= {"model_repository_owner", "host_plan_gpu_pci_vendors"}
    assert {name: yaml.safe_load(used[name]) for name in elsewhere} == elsewhere


@pytest.mark.parametrize("check", MODULES)
def test_what_a_role_leaves_to_its_module_is_what_the_module_fills_in(check):
    path, name, _otherwise = PLACES[check]
    (task,) = [each for each in tasks(path) if f"tfserving.fleet.{name}" in each]
    told = yaml.safe_load(MODULES[check].DOCUMENTATION)["options"]
    left = {option: value for option, value in recorded(check).items() if option not in task[f"tfserving.fleet.{name}"]}
    documented = {option for option in left if "default" in told.get(option, {})}
    assert documented, "nothing is left to compare"
    wishes = {option for option in documented if "{{" in str(left[option])}
    assert wishes <= {"state"}
    assert {option: left[option] for option in documented - wishes} == {
        option: told[option]["default"] for option in documented - wishes
    }


def test_hosts_whose_calls_cannot_be_repeated_get_no_record():
    assert recording()["when"] == [
        "inventory_hostname in groups['fleet_fast'] | default([])",
        "inventory_hostname in groups['fleet_driver_none'] | default([])",
    ]
