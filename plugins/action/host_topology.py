# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Keeps what the module reads to itself where the host's key is part of it."""

from __future__ import annotations

from typing import Any

from ansible_collections.tfserving.fleet.plugins.plugin_utils.action import Action, private

MODULE = "tfserving.fleet.host_topology"


class ActionModule(Action):
    """One call; whatever it says where it fails is for everybody."""

    def perform(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the module's result."""
        result = self.call(MODULE, self._task.args, task_vars)
        return private(result) if "key" in result else result
