# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""An installation that failed leaves apt as it was, and says why it failed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.tfserving.fleet.plugins.action.apt_restore import ActionModule
from repository import REPOSITORY

BACK = "The sources, preferences and keyrings of apt are again as they were."
RESTORED, PROVEN, REFRESHED = "restored my-apt", "proven my-apt", "apt"


class Action(ActionModule):
    """The action, with what its calls return."""

    def __init__(self, restored: dict[str, Any], check: bool, failed: dict[str, Any]) -> None:
        self._task = SimpleNamespace(check_mode=check)
        self.restored, self.failed, self.calls = restored, failed, []

    def options(self):
        return {"tree": "my-apt", "failed": self.failed}

    def call(self, module, arguments, task_vars):
        if module == "ansible.legacy.apt":
            assert arguments == {"update_cache": True}
            self.calls.append(REFRESHED)
            return {"failed": True, "msg": "another source is broken"}
        self.calls.append(f"{arguments['state']} {arguments['name']}")
        return self.restored if arguments["state"] == "restored" else {"changed": False}


@pytest.mark.parametrize(
    ("changed", "check", "calls", "msg"),
    [
        (True, False, [RESTORED, REFRESHED, PROVEN], f"no such package {BACK}"),
        (False, False, [RESTORED, PROVEN], "no such package"),
        (True, True, [RESTORED], "no such package"),
    ],
    ids=["changed", "unchanged", "check mode"],
)
def test_what_was_changed_is_put_back_and_the_reason_is_told(changed, check, calls, msg):
    action = Action({"changed": changed, "diff": [], "tree": 0}, check, {"msg": "no such package"})
    assert action.perform({}) == {"failed": True, "changed": changed, "msg": msg}
    assert action.calls == calls


def test_what_cannot_be_put_back_stays_to_be_put_back_by_the_next_run():
    action = Action({"failed": True, "msg": "the disk is full"}, False, {"msg": "no such package"})
    assert action.perform({}) == {
        "failed": True,
        "msg": "no such package And apt could not be restored: the disk is full",
    }
    assert action.calls == [RESTORED]


@pytest.mark.parametrize(
    ("failed", "words"),
    [
        ({"stderr": "E: broken\n", "msg": "non-zero return code"}, "E: broken"),
        ({"stderr": "", "msg": "a sentence"}, "a sentence"),
        ({"stderr": None}, "no reason was given"),
        ({}, "no reason was given"),
    ],
)
def test_the_reason_is_what_the_program_wrote_or_else_the_message(failed, words):
    assert Action({"changed": False}, False, failed).perform({})["msg"] == words


def test_both_roles_that_configure_apt_restore_it_in_this_way():
    tasks = [path.read_text() for path in REPOSITORY.glob("roles/*/tasks/*.yml")]
    assert sum("tfserving.fleet.apt_restore:" in text for text in tasks) == 2
