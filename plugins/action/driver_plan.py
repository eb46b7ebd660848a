# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Plans what is done about the NVIDIA driver of a host, or refuses with everything that cannot work."""

from __future__ import annotations

from typing import Any

from ansible_collections.tfserving.fleet.plugins.plugin_utils.action import Action
from ansible_collections.tfserving.fleet.plugins.plugin_utils.driver import plan


class ActionModule(Action):
    """Hands the wishes, what the host shows and Ansible's facts of its distribution to the rules."""

    _requires_connection = False
    ARGUMENTS = {
        "wish": {"type": "dict", "required": True},
        "found": {"type": "dict", "required": True},
        "is_controller": {"type": "bool", "default": False},
    }

    def perform(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the plan of the driver."""
        options = self.options()
        facts = task_vars.get("ansible_facts") or {}
        system = {
            "distribution": facts.get("distribution"),
            "release": facts.get("distribution_version"),
            "architecture": facts.get("architecture"),
        }
        return plan.plan(options["wish"], options["found"], system, options["is_controller"])
