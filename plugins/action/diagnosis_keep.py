# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Keeps the evidence of a diagnosis on the controller."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from ansible_collections.tfserving.fleet.plugins.plugin_utils.action import Action
from ansible_collections.tfserving.fleet.plugins.plugin_utils.diagnosis import keep, probe


class ActionModule(Action):
    """Writes files on the controller."""

    _requires_connection = False
    ARGUMENTS = {
        "folder": {"type": "str", "default": ""},
        "evidence": {"type": "dict"},
        "probes": {"type": "list", "elements": "dict", "default": []},
        "unprobed": {"type": "str", "default": ""},
    }

    def perform(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the folder, and the file that was written."""
        given = self.options()
        folder = keep.folder_named(given["folder"], datetime.now(timezone.utc))
        evidence = given["evidence"]
        path = None
        if evidence is not None:
            path = keep.write(folder, probe.together(evidence, given["probes"], given["unprobed"]))
        return {"folder": folder, "path": path}
