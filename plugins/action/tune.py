# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Finds the settings of an instance by measurement: the measured host tries them, the load hosts send the load."""

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
from ansible_collections.tfserving.fleet.plugins.plugin_utils.tuning import conduct, publish
from ansible_collections.tfserving.fleet.plugins.plugin_utils.tuning.space import Context


class ActionModule(Action):
    """Runs on the measured host and on all load hosts at the same time; the first load host conducts."""

    _requires_connection = True
    ARGUMENTS = {
        "options": {"type": "dict", "required": True},
        "target": {"type": "dict", "required": True},
        "load_hosts": {"type": "list", "elements": "str", "required": True},
        "generator": {"type": "dict"},
        "planned_with": {"type": "dict", "no_log": True},
        "tuned": {"type": "dict"},
    }

    def perform(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the files of the result on the first load host."""
        given = self.options()
        target = given["target"]
        me = task_vars["inventory_hostname"]
        with here.crew(self, me, [*given["load_hosts"], target["name"]]) as crew:
            if me == target["name"]:
                conduct.follow(crew, lambda module, arguments: self.call(module, arguments, task_vars), LONGEST_S)
                return {}
            with here.place(self, me, given["generator"], crew.is_left) as place:
                return self._conducted(given, crew, place) if crew.conducts else here.follow(crew, place)

    def _conducted(self, given: dict[str, Any], crew: Crew, place: Place) -> dict[str, Any]:
        call = self._called(given)
        published = publish.publish(call.asked.output, conduct.conduct(call, crew, place))
        Display().display(f"\n{published.text}")
        return {"files": published.files}

    def _called(self, given: dict[str, Any]) -> conduct.Call:
        asked = options_of(given["options"])
        context = Context(**given["planned_with"], instance=asked.instance)
        return conduct.Call(asked, given["target"], context, given["tuned"], given["load_hosts"], self._tell)

    def _tell(self, text: str) -> None:
        Display().display(visible_lines(text))
