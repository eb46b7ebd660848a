# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The driver is planned with facts of the distribution, which the host is asked for where they are unknown."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from ansible_collections.tfserving.fleet.plugins.action.driver_plan import ActionModule
from driver_hosts import host_of
from repository import REPOSITORY

KNOWN = {"distribution": "Debian", "distribution_version": "12", "architecture": "x86_64"}
READ = {f"ansible_{name}": value for name, value in KNOWN.items()}
ROLE = REPOSITORY / "roles/nvidia_driver"
DEFAULTS = yaml.safe_load((ROLE / "defaults/main.yml").read_text())
NAMES = yaml.safe_load((ROLE / "vars/main.yml").read_text())["__nvidia_driver_wish"]
WISH = {name: DEFAULTS[f"nvidia_driver_{name}"] for name in NAMES}


class Action(ActionModule):
    """The action, with what setup returns."""

    def __init__(self, found: dict[str, Any], returned: dict[str, Any]) -> None:
        self.found, self.returned, self.calls = found, returned, []

    def options(self):
        return {"wish": WISH, "found": self.found, "is_controller": False, "group": ""}

    def call(self, module, arguments, task_vars):
        self.calls.append((module, arguments))
        return self.returned


def test_a_host_whose_distribution_is_unknown_is_asked_for_it_and_the_facts_are_kept():
    action = Action(host_of(), {"ansible_facts": READ})
    planned = action.perform({"ansible_facts": {}})
    assert action.calls == [("ansible.legacy.setup", {"gather_subset": ["!all", "!min", "distribution", "platform"]})]
    assert planned["ansible_facts"] == READ
    assert planned["due"] == "change"


def test_known_facts_are_not_asked_for_again():
    action = Action(host_of(), {})
    assert action.perform({"ansible_facts": KNOWN})["due"] == "change"
    assert action.calls == []


def test_a_host_without_a_gpu_is_asked_for_nothing():
    found = host_of()
    found["driver"]["passed_over"] = "no NVIDIA GPU"
    action = Action(found, {})
    assert action.perform({})["aim"] == "untouched"
    assert action.calls == []


@pytest.mark.parametrize("way", ["failed", "unreachable"])
def test_a_host_that_does_not_tell_is_not_planned(way):
    assert Action(host_of(), {way: True, "msg": "no"}).perform({}) == {way: True, "msg": "no"}
