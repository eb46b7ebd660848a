# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Runs a process with jemalloc and its configuration on a host, and refuses what the library does not take."""

from __future__ import annotations

from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.action import Action
from ansible_collections.tfserving.fleet.plugins.plugin_utils.planner.jemalloc import complaints

MISSING = "skipped, since"  # how the module command begins where there is no library


class ActionModule(Action):
    """One call of the module command."""

    ARGUMENTS = {"environment": {"type": "dict", "required": True}}

    def perform(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return whether the library is missing, or refuse options that it does not take."""
        environment = self.options()["environment"]
        library, configuration = environment["LD_PRELOAD"], environment["MALLOC_CONF"]
        argv = ["/usr/bin/env", f"LD_PRELOAD={library}", f"MALLOC_CONF=confirm_conf:true,{configuration}", "/bin/true"]
        tried = self.call("ansible.legacy.command", {"argv": argv, "removes": library}, task_vars)
        if tried.get("failed"):
            return tried
        missing = str(tried["stdout"]).startswith(MISSING)
        found = [] if missing else complaints(tried["stderr"], configuration)
        if found:
            problem = f'the library does not take "{configuration}" ({"; ".join(found)})'
            raise WishError("tfserving_allocator_conf", problem, "correct the option or leave it out")
        return {"missing": missing}
