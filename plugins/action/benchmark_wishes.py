# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Checks what is asked of a benchmark, and finds the hosts that take part."""

from __future__ import annotations

import uuid
from dataclasses import asdict
from typing import Any

from ansible.utils.vars import load_extra_vars
from ansible_collections.tfserving.fleet.plugins.module_utils.refusals import Refusals
from ansible_collections.tfserving.fleet.plugins.plugin_utils.action import Action
from ansible_collections.tfserving.fleet.plugins.plugin_utils.benchmark import options, wishes
from ansible_collections.tfserving.fleet.plugins.plugin_utils.optimization import wishes as optimization
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import inventory


class ActionModule(Action):
    """Reads the variables of the command line and the inventory where Ansible has them."""

    _requires_connection = False
    ARGUMENTS = {
        "pattern": {"type": "raw", "required": True},
        "purpose": {"type": "str", "choices": ["benchmark", "tune", "profile", "optimize"], "default": "benchmark"},
    }

    def perform(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the options, the host to measure and the hosts that send the load, or refuse."""
        given = self.options()
        asked = self._asked(given["purpose"])
        serving = self._serving(given["pattern"], task_vars)
        sides = wishes.sides(asked, serving)
        hosts = list(dict.fromkeys(side["host"] for side in sides))
        load = wishes.load_hosts(task_vars["groups"], hosts)
        limit = task_vars.get("ansible_limit")
        if limit:
            wishes.require_within_limit([*hosts, *load], task_vars["ansible_play_hosts_all"], limit)
        return {
            "options": asdict(asked),
            "earlier": asked.earlier,
            "host": hosts[0],
            "hosts": hosts,
            "sides": sides,
            "load_hosts": load,
            "controller": load == [wishes.CONTROLLER],
            "longest_s": int(asked.longest_s),
            "id": uuid.uuid4().hex[:12],
        }

    def _asked(self, purpose: str) -> options.Options:
        extra = load_extra_vars(self._loader)
        refusals = Refusals()
        others = optimization.FIELDS if purpose == "optimize" else ()
        for error in wishes.misspelt(extra, options.FIELDS, {*inventory.role_options(), *others}):
            refusals.add(error)
        given = {name: extra[name] for name in options.FIELDS if name in extra}
        found: options.Options = refusals.check(options.read, given, purpose)
        refusals.stop()
        return found

    def _serving(self, pattern: Any, task_vars: dict[str, Any]) -> dict[str, list[str]]:
        hosts = self.hosts_of(pattern, task_vars)
        instances = {host: task_vars["hostvars"][host].get("tfserving_instances") or [] for host in hosts}
        return {
            host: [str(each.get("name")) for each in listed if isinstance(each, dict)]
            for host, listed in instances.items()
            if isinstance(listed, list)
        }
