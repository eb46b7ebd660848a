# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Refuses a fleet without hosts, and sizes of batches that are none, before any host is asked anything."""

from __future__ import annotations

import os
from typing import Any

from ansible import context
from ansible_collections.tfserving.fleet.plugins.plugin_utils.action import Action
from ansible_collections.tfserving.fleet.plugins.plugin_utils.caller import version
from ansible_collections.tfserving.fleet.plugins.plugin_utils.fleet import hosts
from ansible_collections.tfserving.fleet.plugins.plugin_utils.slices import allowed, member


class ActionModule(Action):
    """Reads the inventory, the limit and the sizes of batches where Ansible has them."""

    _requires_connection = False
    ARGUMENTS = {"pattern": {"type": "raw", "required": True}, "playbook": {"type": "str", "default": ""}}

    def perform(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the hosts of the fleet that the inventory has, whatever the limit."""
        given = self.options()
        pattern = given["pattern"]
        matched = self.hosts_of(pattern, task_vars)
        # The first host's sizes count, as in the plays.
        first = task_vars["hostvars"][matched[0]] if matched else {}
        batches = {name: first.get(name, default) for name, default in hosts.BATCHES.items()}
        hosts.check(pattern, matched, task_vars["ansible_play_hosts_all"], task_vars["groups"], batches)
        self._check_slice(
            given["playbook"], [name for name in task_vars["ansible_play_hosts_all"] if name in set(matched)], task_vars
        )
        return {"hosts": matched}

    def _check_slice(self, playbook: str, own: list[str], task_vars: dict[str, Any]) -> None:
        me = member.member(os.getppid())
        if me and me.number:
            me.ask({"ask": "hello", "version": version(), "hosts": own})
        elif not me:
            shown = ", ".join(os.path.basename(each) for each in context.CLIARGS.get("args") or ())
            allowed.refuse_job_slice(playbook, shown, task_vars)
