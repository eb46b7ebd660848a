# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Chooses the environment of a builder of models, or refuses."""

from __future__ import annotations

from typing import Any

from ansible_collections.tfserving.fleet.plugins.plugin_utils.action import Action
from ansible_collections.tfserving.fleet.plugins.plugin_utils.builder.environments import environment


class ActionModule(Action):
    """Judges what a release of the server and a builder's Python have in common."""

    _requires_connection = False
    ARGUMENTS = {
        "server_version": {"type": "str", "required": True},
        "found": {"type": "str", "required": True},
        "image": {"type": "str", "default": ""},
    }

    def perform(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the environment."""
        options = self.options()
        return environment(options["server_version"], options["found"], options["image"])
