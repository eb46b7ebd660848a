# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Refuses a host that cannot carry servers, whatever its hardware."""

from __future__ import annotations

from typing import Any

from ansible_collections.tfserving.fleet.plugins.plugin_utils.action import Action
from ansible_collections.tfserving.fleet.plugins.plugin_utils.fleet import fitness


class ActionModule(Action):
    """Judges what has been read of the host."""

    _requires_connection = False
    ARGUMENTS = {
        "service_manager": {"type": "str", "required": True},
        "apt_sources": {"type": "list", "elements": "dict", "required": True},
        "accounts": {"type": "dict", "required": True},
        "servers": {"type": "dict", "required": True},
    }

    def perform(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return nothing, or refuse."""
        options = self.options()
        fitness.check(task_vars["inventory_hostname"], options, options["servers"])
        return {}
