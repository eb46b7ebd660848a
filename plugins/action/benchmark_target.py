# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Finds what is to be measured in the plan in force, or refuses."""

from __future__ import annotations

from typing import Any

from ansible_collections.tfserving.fleet.plugins.plugin_utils.action import Action
from ansible_collections.tfserving.fleet.plugins.plugin_utils.benchmark.target import by_side


class ActionModule(Action):
    """Judges what the host said."""

    _requires_connection = False
    ARGUMENTS = {
        "options": {"type": "dict", "required": True},
        "plan": {"type": "dict", "required": True},
        "status": {"type": "list", "elements": "dict", "required": True},
        "conditions": {"type": "list", "elements": "dict", "required": True},
        "sides": {"type": "list", "elements": "dict", "required": True},
        "address": {"type": "str", "required": True},
    }

    def perform(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return what load hosts need to know of each instance of this host that is measured, by side."""
        return {"targets": by_side(host=task_vars["inventory_hostname"], **self.options())}
