# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Plans a host on the controller, once, or refuses with everything that cannot be granted."""

from __future__ import annotations

from functools import partial
from typing import Any

from ansible_collections.tfserving.fleet.plugins.plugin_utils import planner
from ansible_collections.tfserving.fleet.plugins.plugin_utils.action import Action, private
from ansible_collections.tfserving.fleet.plugins.plugin_utils.fleet import fitness
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import golden, secrets
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import policy as plan_policy
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import read as wishes

_NEEDED = frozenset({"topology", "instances", "models"})


class ActionModule(Action):
    """Hands the wishes to the planner. What it returns holds secrets, so none of it is printed."""

    _requires_connection = False
    # Checked by name alone: the planner checks the values, and Ansible would copy each of them in full.
    _VALID_ARGS = _NEEDED | {"policy", "key", "host", "servers"}

    def perform(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the plan, and apart from it what may be secret."""
        self.require(_NEEDED)
        given = self._task.args
        if given.get("servers"):
            fitness.check(task_vars["inventory_hostname"], given["host"], given["servers"])
        settings = plan_policy.complete(given.get("policy"))
        asked = wishes.read(given["instances"], given["models"], settings)
        golden.fill(asked.models, partial(self.beside_inventory, task_vars))
        key = given.get("key") or ""
        plan = planner.of_wishes(given["topology"], asked, settings, key)
        return private({"plan": plan, "secrets": secrets.secrets(asked, key, settings)})
