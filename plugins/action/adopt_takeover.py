# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Decides which old servers of a host end or come back, or refuses it before anything changes."""

from __future__ import annotations

from typing import Any

from ansible.utils.display import Display
from ansible_collections.tfserving.fleet.plugins.module_utils.visible_text import visible
from ansible_collections.tfserving.fleet.plugins.plugin_utils.action import Action
from ansible_collections.tfserving.fleet.plugins.plugin_utils.adoption import takeover


class ActionModule(Action):
    """Reads the report of the adoption on the controller, and prints what will be done."""

    _requires_connection = False
    ARGUMENTS = {
        "folder": {"type": "str", "required": True},
        "survey": {"type": "dict", "required": True},
        "only": {"type": "list", "elements": "str", "default": []},
        "state": {"type": "str", "choices": [takeover.STOPPED, takeover.STARTED], "required": True},
    }

    def perform(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the steps of this host."""
        given, host = self.options(), str(task_vars["inventory_hostname"])
        document = takeover.read(given["folder"])
        steps = takeover.steps(document, host, given["survey"], given["only"], given["state"])
        for step in steps:
            Display().display(visible(takeover.sentence(host, step, given["state"])))
        return {"steps": steps}
