# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Only a host of which the module says that it is unchanged leaves the run."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.tfserving.fleet.plugins.action import fleet_unchanged
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError

HOST = {"inventory_hostname": "gpu1"}
UNCHANGED = {"unchanged": True, "why": "", "plan": {"a": 1}, "status": {}}


class Action(fleet_unchanged.ActionModule):
    """The action, with what the module returns."""

    def __init__(self, returned: dict[str, Any], **arguments: Any) -> None:
        self._task = SimpleNamespace(args={"wishes": "w", **arguments})
        self.returned, self.calls = returned, []

    def call(self, module, arguments, task_vars):
        self.calls.append(arguments)
        return dict(self.returned)

    def join(self, group, task_vars, *parents):
        return {"add_group": group, "parent_groups": list(parents)}


@pytest.fixture(autouse=True)
def collection(monkeypatch):
    monkeypatch.setattr(fleet_unchanged.wished, "collection", lambda: "c")


def test_an_unchanged_host_joins_the_group_and_its_plan_is_not_printed():
    result = Action(UNCHANGED).perform(HOST)
    assert (result["add_group"], result["parent_groups"]) == ("fleet_unchanged_alone", ["fleet_unchanged"])
    assert (result["_ansible_no_log"], result["told"]) == (True, "")


def test_an_unchanged_host_with_exporters_is_left_to_them():
    result = Action({**UNCHANGED, "watched": True}).perform(HOST)
    assert (result["add_group"], result["parent_groups"]) == ("fleet_unchanged_watched", ["fleet_unchanged"])


@pytest.mark.parametrize(
    "returned",
    [
        {"unchanged": False, "why": "trees: /etc/x would change"},
        {"failed": True, "msg": "no"},
        {"unreachable": True, "msg": "gone"},
        {"unchanged": "yes", "why": ""},
        {},
    ],
)
def test_whatever_else_the_module_says_the_host_stays(returned):
    assert "add_group" not in Action(returned).perform(HOST)


def test_a_changed_host_is_named_with_the_reason():
    result = Action({"unchanged": False, "why": "trees: /etc/x would change"}).perform(HOST)
    assert result["told"] == "gpu1: trees: /etc/x would change"


def test_a_record_makes_no_host_leave():
    assert "add_group" not in Action(UNCHANGED, state="recorded").perform(HOST)


def test_the_collection_is_part_of_what_is_compared(monkeypatch):
    first = Action(UNCHANGED)
    first.perform(HOST)
    monkeypatch.setattr(fleet_unchanged.wished, "collection", lambda: "d")
    second = Action(UNCHANGED)
    second.perform(HOST)
    assert first.calls[0]["wishes"] != second.calls[0]["wishes"]


def test_without_a_digest_of_the_wishes_there_is_none_of_both():
    action = Action({"unchanged": False, "why": "it has no record of a run"}, wishes="")
    action.perform(HOST)
    assert action.calls[0]["wishes"] == ""


def test_a_task_without_wishes_is_refused():
    action = Action(UNCHANGED)
    del action._task.args["wishes"]
    with pytest.raises(WishError, match="wishes: is missing; give it to the task"):
        action.perform(HOST)


def test_models_are_recorded_as_their_module_takes_them():
    model = {
        "name": "m",
        "versions": [1],
        "sha256": {"1": "a"},
        "source": {"type": "path", "uri": "/m", "uri_digest": "x"},
    }
    action = Action(UNCHANGED, state="recorded", checks={"models": {"models": [model]}, "key": {}})
    action.perform(HOST)
    taken = {"name": "m", "versions": [1], "source": {"type": "path", "uri": "/m"}}
    assert action.calls[0]["checks"] == {"models": {"models": [taken]}, "key": {}}
