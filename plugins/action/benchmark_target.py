# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Finds the instance to be measured in the plan in force, or refuses."""

from __future__ import annotations

from typing import Any

from ansible_collections.tfserving.fleet.plugins.plugin_utils.action import Action
from ansible_collections.tfserving.fleet.plugins.plugin_utils.benchmark.target import target


class ActionModule(Action):
    """Judges what the host said."""

    _requires_connection = False
    ARGUMENTS = {
        "options": {"type": "dict", "required": True},
        "plan": {"type": "dict", "required": True},
        "status": {"type": "list", "elements": "dict", "required": True},
        "conditions": {"type": "dict", "required": True},
        "address": {"type": "str", "required": True},
    }

    def perform(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return what load hosts need to know of the instance."""
        given = self.options()
        return {"target": target(host=task_vars["inventory_hostname"], **given)}
