# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Compares a host with its record of the last run, and has an unchanged one leave the run early."""

from __future__ import annotations

from typing import Any

from ansible_collections.tfserving.fleet.plugins.plugin_utils.action import Action, private
from ansible_collections.tfserving.fleet.plugins.plugin_utils.fleet import wished
from ansible_collections.tfserving.fleet.plugins.plugin_utils.models.arguments import module_arguments

MODULE = "tfserving.fleet.fleet_unchanged"
GROUP = "fleet_unchanged"


class ActionModule(Action):
    """One call; only a host of which the module says so joins the group."""

    _requires_connection = True

    def perform(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the module's result. Models and addresses of the plan are nobody's to print."""
        self.require({"wishes"})
        wishes = self._task.args["wishes"]
        # Without a digest of the wishes there is none of both, so that the host is a changed one.
        whole = wished.wishes(wishes, wished.collection()) if wishes else ""
        checks = dict(self._task.args.get("checks") or {})
        if "models" in checks:
            checks["models"] = module_arguments(checks["models"])
        result = self.call(MODULE, {**self._task.args, "checks": checks, "wishes": whole}, task_vars)
        if result.get("failed") or result.get("unreachable"):
            return result
        compares = self._task.args.get("state", "compared") == "compared"
        if compares and result.get("unchanged") is True:
            group = self._task.args.get("group", GROUP)
            result |= self.join(f"{group}_{'watched' if result.get('watched') else 'alone'}", task_vars, group)
        why = result.get("why")
        return private({**result, "told": f"{task_vars['inventory_hostname']}: {why}" if why else ""})
