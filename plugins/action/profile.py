# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Takes a trace of an instance from the load hosts, or proves that its profiler is closed."""

from __future__ import annotations

from typing import Any

from ansible.utils.display import Display
from ansible_collections.tfserving.fleet.plugins.module_utils.visible_text import visible_lines
from ansible_collections.tfserving.fleet.plugins.plugin_utils.action import Action
from ansible_collections.tfserving.fleet.plugins.plugin_utils.benchmark import here
from ansible_collections.tfserving.fleet.plugins.plugin_utils.benchmark.conduct import options_of
from ansible_collections.tfserving.fleet.plugins.plugin_utils.profiling import capture


class ActionModule(Action):
    """Runs on all load hosts at the same time; the first one conducts and asks for the trace."""

    _requires_connection = True
    ARGUMENTS = {
        "options": {"type": "dict", "required": True},
        "target": {"type": "dict", "required": True},
        "session": {"type": "str", "required": True},
        "load_hosts": {"type": "list", "elements": "str", "required": True},
        "generator": {"type": "dict", "required": True},
        "state": {"type": "str", "choices": ["captured", "closed"], "default": "captured"},
    }

    def perform(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return where the trace is, on the first load host."""
        given = self.options()
        me, load_hosts = task_vars["inventory_hostname"], given["load_hosts"]
        with here.crew(self, me, load_hosts) as crew, here.place(self, me, given["generator"], crew.is_left) as place:
            if not crew.conducts:
                return here.follow(crew, place)
            asked = options_of(given["options"])
            if given["state"] == "closed":
                return capture.prove_closed(asked, given["target"], place)
            return capture.capture(asked, given["target"], given["session"], crew, place, self._tell, load_hosts)

    def _tell(self, text: str) -> None:
        Display().display(visible_lines(text))
