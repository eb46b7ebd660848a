# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""How many hosts of a fleet a playbook may disturb at once."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from repository import REPOSITORY

PLAYBOOKS = REPOSITORY / "playbooks"
COLLECTION = "tfserving.fleet"

# Roles that change, restart or boot what serves, and the files of theirs that change nothing.
DISTURBING = ("cpu_partition", "kernel_tuning", "nvidia_driver", "tfserving")
HARMLESS = ("account.yml", "prune.yml", "share.yml", "survey.yml")


def disturbing_plays() -> list[Any]:
    files = sorted([*PLAYBOOKS.glob("*.yml"), *PLAYBOOKS.glob("plays/*.yml")])
    plays = [(path.name, play) for path in files for play in yaml.safe_load(path.read_text())]
    return [pytest.param(play, id=f"{name}: {play['name']}") for name, play in plays if roles(play) & set(DISTURBING)]


def roles(play: dict[str, Any]) -> set[str]:
    tasks = [task for part in ("pre_tasks", "tasks", "post_tasks") for task in play.get(part, [])]
    included = [task.get(f"ansible.builtin.{way}_role", {}) for task in tasks for way in ("include", "import")]
    named = [each["role"] for each in play.get("roles", [])]
    named += [each["name"] for each in included if each and each.get("tasks_from") not in HARMLESS]
    return {name.rpartition(".")[2] for name in named}


@pytest.mark.parametrize("play", disturbing_plays())
def test_what_disturbs_serving_takes_hosts_in_batches_and_stops_at_the_first_that_fails(play):
    assert "serial" in play
    # A rollback goes on: a host that fails keeps no other one on the bad version.
    assert play["any_errors_fatal"] is (play["name"] != "Return to the version before")


def test_the_plays_that_disturb_serving_are_known():
    assert len(disturbing_plays()) >= 3


def test_a_roll_out_disturbs_hosts_only_in_its_own_batches():
    found = {path.name for path in PLAYBOOKS.glob("tasks/*.yml") if f"{COLLECTION}.tfserving\n" in path.read_text()}
    # What settles removes what no server uses.
    assert found - {"settle.yml"} == {"rollout_batch.yml"}
    settling = yaml.safe_load((PLAYBOOKS / "tasks/settle.yml").read_text())
    assert {task["ansible.builtin.include_role"]["tasks_from"] for task in settling} == {"prune.yml", "record.yml"}
    (round_,) = yaml.safe_load((PLAYBOOKS / "tasks/rollout_round.yml").read_text())
    included = [task for task in round_["block"] if task.get("ansible.builtin.include_tasks") == "rollout_batch.yml"]
    assert [task["loop"] for task in included] == ["{{ rollout_round.batches }}"]
    assert [task["when"] for task in included] == ["inventory_hostname in rollout_batch"]
