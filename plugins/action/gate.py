# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Says on whose behalf a gate is closed, and for how long, before the module does it on the host."""

from __future__ import annotations

import os
from typing import Any

from ansible import context
from ansible_collections.tfserving.fleet.plugins.plugin_utils.action import Action
from ansible_collections.tfserving.fleet.plugins.plugin_utils.benchmark import options
from ansible_collections.tfserving.fleet.plugins.plugin_utils.fleet import run_holder
from ansible_collections.tfserving.fleet.plugins.plugin_utils.report import gates

MODULE = "tfserving.fleet.gate"
# A closing that should last longer is one without an end.
LONGEST_S = 30 * 24 * 3600.0
_expiry = options.seconds(1, LONGEST_S)


class ActionModule(Action):
    """One call on the host."""

    _requires_connection = True

    def perform(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the module's result."""
        given = {name: value for name, value in self._task.args.items() if name != "expires"}
        if self._task.args.get("expires"):
            given["until_s"] = _expiry("until", self._task.args["expires"])
        holder = run_holder.this_run(os.getppid(), context.CLIARGS.get("args") or [])
        result = self.call(MODULE, {"by": holder["who"], "run": holder["run"], **given}, task_vars)
        if "instances" in result:
            result["text"] = gates.text(task_vars["inventory_hostname"], result)
        return result
