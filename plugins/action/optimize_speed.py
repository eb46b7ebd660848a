# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Measures a candidate and its original in turns: the drained host serves them, the load hosts send the load."""

from __future__ import annotations

from typing import Any

from ansible.utils.display import Display
from ansible_collections.tfserving.fleet.plugins.module_utils.visible_text import visible_lines
from ansible_collections.tfserving.fleet.plugins.plugin_utils.action import Action
from ansible_collections.tfserving.fleet.plugins.plugin_utils.benchmark import here
from ansible_collections.tfserving.fleet.plugins.plugin_utils.benchmark.conduct import options_of
from ansible_collections.tfserving.fleet.plugins.plugin_utils.benchmark.crew import Crew
from ansible_collections.tfserving.fleet.plugins.plugin_utils.benchmark.options import LONGEST_S
from ansible_collections.tfserving.fleet.plugins.plugin_utils.benchmark.runner import Place
from ansible_collections.tfserving.fleet.plugins.plugin_utils.optimization import turns
from ansible_collections.tfserving.fleet.plugins.plugin_utils.tuning import conduct as tuning


class ActionModule(Action):
    """Runs on the measured host and on all load hosts at the same time; the first load host conducts."""

    _requires_connection = True
    ARGUMENTS = {
        "options": {"type": "dict", "required": True},
        "target": {"type": "dict", "required": True},
        "plan": {"type": "dict", "required": True},
        "model": {"type": "str", "required": True},
        "base_path": {"type": "str", "required": True},
        "flags": {"type": "dict", "default": {}},
        "owner": {"type": "str", "required": True},
        "load_hosts": {"type": "list", "elements": "str", "required": True},
        "generator": {"type": "dict"},
    }

    def perform(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the rows of the speed on the first load host."""
        given = self.options()
        target, me = given["target"], task_vars["inventory_hostname"]
        with here.crew(self, me, [*given["load_hosts"], target["name"]]) as crew:
            if me == target["name"]:
                tuning.follow(crew, lambda module, arguments: self.call(module, arguments, task_vars), LONGEST_S)
                return {}
            with here.place(self, me, given["generator"], crew.is_left) as place:
                return self._conducted(given, crew, place) if crew.conducts else here.follow(crew, place)

    def _conducted(self, given: dict[str, Any], crew: Crew, place: Place) -> dict[str, Any]:
        kept = ("target", "plan", "model", "base_path", "flags", "owner", "load_hosts")
        call = turns.Call(asked=options_of(given["options"]), tell=self._tell, **{key: given[key] for key in kept})
        return turns.conduct(call, crew, place)

    def _tell(self, text: str) -> None:
        Display().display(visible_lines(text))
