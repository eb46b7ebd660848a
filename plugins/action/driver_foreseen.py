# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Refuses a change of the NVIDIA driver after which its modules and libraries would be of two versions."""

from __future__ import annotations

from typing import Any

from ansible_collections.tfserving.fleet.plugins.plugin_utils.action import Action
from ansible_collections.tfserving.fleet.plugins.plugin_utils.driver import foreseen


class ActionModule(Action):
    """Reads what apt says that it would do."""

    _requires_connection = False
    ARGUMENTS = {
        "state": {"type": "dict", "required": True},
        "resolved": {"type": "dict", "required": True},
        "purge": {"type": "list", "elements": "str", "required": True},
        "simulated": {"type": "dict", "required": True},
    }

    def perform(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the versions of the packages afterwards."""
        return {"packages": foreseen.foreseen(**self.options())}
