# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What the role nvidia_driver finds out of a host before anything in the fleet is changed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from driver_hosts import host_of
from playbook_place import Place

SURVEY = {
    "ansible.builtin.include_role": {"name": "tfserving.fleet.nvidia_driver", "tasks_from": "survey.yml"},
}
SHARED = {
    "ansible.builtin.include_role": {"name": "tfserving.fleet.nvidia_driver", "tasks_from": "share.yml"},
}
SAID = {
    "ansible.builtin.debug": {"msg": "due {{ nvidia_driver_due }}, lacks {{ nvidia_driver_missing_packages | length }}"}
}
FACTS = {"distribution": "Debian", "distribution_version": "12", "architecture": "x86_64"}


def surveyed(folder: Any, found: dict[str, Any], **wish: Any) -> tuple[int, str]:
    """Survey this machine, of which the module is taken to have found something else."""
    place = Place(folder)
    place.inventory({"tfserving": {"h1": {}}}, **wish)
    place.playbook(SURVEY, SHARED, SAID)
    told = {"__nvidia_driver_before": found, "ansible_facts": FACTS}
    return place.run("play.yml", "-e", json.dumps(told))


def test_a_host_that_lacks_its_driver_is_due_for_a_change_and_names_the_packages(tmp_path):
    code, output = surveyed(tmp_path, host_of())
    assert code == 0, output
    assert "due change, lacks" in output
    assert "lacks 0" not in output


@pytest.mark.parametrize("wish", [{"nvidia_driver_state": "unmanaged"}, {}])
def test_a_host_without_a_gpu_or_with_another_keeper_has_nothing_due(tmp_path, wish):
    code, output = surveyed(tmp_path, host_of(gpus=[]), **wish)
    assert code == 0, output
    assert "due none, lacks 0" in output


def test_a_refusal_is_one_message_with_nothing_around_it(tmp_path):
    code, output = surveyed(tmp_path, host_of(), nvidia_driver_branch="333")
    assert code != 0
    assert '"msg": "nvidia_driver_branch: Debian 12 has no driver 333 in its own archive; use 535' in output
    assert "filter" not in output
    assert "Error while" not in output
