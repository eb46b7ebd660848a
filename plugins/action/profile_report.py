# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Shows the memory of an instance around a trace as a page."""

from __future__ import annotations

from typing import Any

from ansible_collections.tfserving.fleet.plugins.plugin_utils.action import Action
from ansible_collections.tfserving.fleet.plugins.plugin_utils.profiling import page


class ActionModule(Action):
    """Writes a file on the controller."""

    _requires_connection = False
    ARGUMENTS = {
        "instance": {"type": "str", "required": True},
        "host": {"type": "str", "required": True},
        "captured": {"type": "dict", "required": True},
        "samples": {"type": "list", "elements": "dict", "required": True},
    }

    def perform(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return where the page is."""
        given = self.options()
        return {"page": page.kept(given["samples"], given["captured"], given["instance"], given["host"])}
