# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Refuses to go on without hosts that cannot be reached, and tells which others take no part in a run."""

from __future__ import annotations

from typing import Any

from ansible_collections.tfserving.fleet.plugins.plugin_utils.action import Action
from ansible_collections.tfserving.fleet.plugins.plugin_utils.fleet import answers


class ActionModule(Action):
    """Judges what the first call found on each host."""

    _requires_connection = False
    ARGUMENTS = {
        "answers": {"type": "dict", "required": True},
        "pattern": {"type": "raw", "required": True},
        "unreachable": {"type": "str", "choices": ["stop", "leave_out", "spare"], "default": "stop"},
    }

    def perform(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return who takes no part, or refuse."""
        options = self.options()
        wish = options["unreachable"]
        return answers.judge(options["answers"], options["pattern"], wish == "leave_out", spare=wish == "spare")
