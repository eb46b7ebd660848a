# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Plans what is done about the NVIDIA driver of a host, or refuses with everything that cannot work."""

from __future__ import annotations

from typing import Any

from ansible_collections.tfserving.fleet.plugins.plugin_utils.action import Action
from ansible_collections.tfserving.fleet.plugins.plugin_utils.driver import plan

_FACTS = {"distribution", "distribution_version", "architecture"}
_SUBSETS = ["!all", "!min", "distribution", "platform"]


class ActionModule(Action):
    """Hands the wishes, what the host shows and Ansible's facts of its distribution to the rules."""

    ARGUMENTS = {
        "wish": {"type": "dict", "required": True},
        "found": {"type": "dict", "required": True},
        "is_controller": {"type": "bool", "default": False},
        "group": {"type": "str", "default": ""},
    }

    def perform(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the plan of the driver."""
        options = self.options()
        wish, found = options["wish"], options["found"]
        facts = task_vars.get("ansible_facts") or {}
        read = {}
        if wish.get("state") == "present" and not found["driver"]["passed_over"] and _FACTS.difference(facts):
            read = self.call("ansible.legacy.setup", {"gather_subset": _SUBSETS}, task_vars)
            if read.get("failed") or read.get("unreachable"):
                return read
            facts = {name.removeprefix("ansible_"): value for name, value in read["ansible_facts"].items()}
        system = {
            "distribution": facts.get("distribution"),
            "release": facts.get("distribution_version"),
            "architecture": facts.get("architecture"),
        }
        planned = plan.plan(wish, found, system, options["is_controller"])
        kept = {"ansible_facts": read["ansible_facts"]} if read else {}
        joined = self.join(f"{options['group']}_{planned['due']}", task_vars) if options["group"] else {}
        return {**planned, **kept, **joined}
