# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Measures an instance from the load hosts: one of their workers conducts, the others carry out its orders."""

from __future__ import annotations

from typing import Any

from ansible.utils.display import Display
from ansible_collections.tfserving.fleet.plugins.module_utils.visible_text import visible_lines
from ansible_collections.tfserving.fleet.plugins.plugin_utils.action import Action
from ansible_collections.tfserving.fleet.plugins.plugin_utils.benchmark import conduct, here


class ActionModule(Action):
    """Gives the benchmark a way to run commands on this load host, and the terminal to tell its progress."""

    _requires_connection = True
    ARGUMENTS = {
        "options": {"type": "dict", "required": True},
        "target": {"type": "dict", "required": True},
        "other": {"type": "dict"},
        "load_hosts": {"type": "list", "elements": "str", "required": True},
        "generator": {"type": "dict", "required": True},
    }

    def perform(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return where the results are, on the first load host."""
        given = self.options()
        me = task_vars["inventory_hostname"]
        load_hosts = given["load_hosts"]
        with here.crew(self, me, load_hosts) as crew, here.place(self, me, given["generator"], crew.is_left) as place:
            if not crew.conducts:
                return here.follow(crew, place)
            return conduct.conduct(
                given["options"], given["target"], crew, place, load_hosts, self._tell, given["other"]
            )

    def _tell(self, text: str) -> None:
        Display().display(visible_lines(text))
