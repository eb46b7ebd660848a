# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Refuses a fleet without hosts, and sizes of batches that are none, before any host is asked anything."""

from __future__ import annotations

from typing import Any

from ansible_collections.tfserving.fleet.plugins.plugin_utils.action import Action
from ansible_collections.tfserving.fleet.plugins.plugin_utils.fleet import hosts


class ActionModule(Action):
    """Reads the inventory, the limit and the sizes of batches where Ansible has them."""

    _requires_connection = False
    ARGUMENTS = {"pattern": {"type": "raw", "required": True}}

    def perform(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the hosts of the fleet that the inventory has, whatever the limit."""
        pattern = self.options()["pattern"]
        matched = self.hosts_of(pattern, task_vars)
        # The first host's sizes count, as in the plays.
        first = task_vars["hostvars"][matched[0]] if matched else {}
        batches = {name: first.get(name, default) for name, default in hosts.BATCHES.items()}
        hosts.check(pattern, matched, task_vars["ansible_play_hosts_all"], task_vars["groups"], batches)
        return {"hosts": matched}
