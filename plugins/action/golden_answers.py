# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Finds out of the plans which servers are asked golden requests, before the module asks them."""

from __future__ import annotations

from typing import Any

from ansible_collections.tfserving.fleet.plugins.plugin_utils.action import Action
from ansible_collections.tfserving.fleet.plugins.plugin_utils.gateway import fleet
from ansible_collections.tfserving.fleet.plugins.plugin_utils.rollout import answers

MODULE = "tfserving.fleet.golden_answers"


class ActionModule(Action):
    """Runs for a host that has loaded the new version, delegated to a gateway."""

    _requires_connection = True
    ARGUMENTS = {
        "model": {"type": "str", "required": True},
        "old": {"type": "int", "required": True},
        "new": {"type": "int", "required": True},
        "controls": {"type": "list", "elements": "str", "default": []},
    }

    def perform(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the module's result; without requests, no server is asked."""
        given, hostvars = self.options(), task_vars["hostvars"]
        host, controls = task_vars["inventory_hostname"], given["controls"]
        planned = [name for name in (host, *controls) if "tfserving_plan" in hostvars[name]]
        move = answers.Move(given["model"], given["old"], given["new"])
        plans = {name: hostvars[name]["tfserving_plan"] for name in planned}
        sites = {name: fleet.site(hostvars[name]) for name in planned}
        wanted = answers.wanted(move, host, controls, plans, sites)
        return self.call(MODULE, wanted, task_vars)
