# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Takes the lock of a host for this run of ansible-playbook, and makes sure that it is released."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import Any

from ansible import context
from ansible.utils.display import Display
from ansible_collections.tfserving.fleet.plugins.module_utils.host import run_lock
from ansible_collections.tfserving.fleet.plugins.plugin_utils.action import Action
from ansible_collections.tfserving.fleet.plugins.plugin_utils.fleet import run_holder
from ansible_collections.tfserving.fleet.plugins.plugin_utils.slices import member

MODULE = "tfserving.fleet.run_lock"


class ActionModule(Action):
    """One call on the host; a second where the run that holds the lock was on this machine and is dead."""

    _requires_connection = True

    def perform(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Return the module's result and the sentence that refuses the run."""
        pids = [os.getppid()]
        slice_of = member.member(pids[0])
        if slice_of:
            # All slices of a run are one holder, whose life is the runner's; and while a slice lives, it is at work.
            pids = [slice_of.runner, *pids]
        arguments = {"folder": run_lock.FOLDER, **self._task.args}
        arguments["holder"] = run_holder.this_run(pids[0], context.CLIARGS.get("args") or [])
        take = arguments.get("state", "held") == "held" and not self._task.check_mode
        taken = self._give_up_after(pids, arguments["folder"], arguments["holder"]) if take else None
        result = self.call(MODULE, arguments, task_vars)
        other = result.get("other") or {}
        if other and run_holder.is_dead(other):
            result = self.call(MODULE, {**arguments, "break_lock": other["run"]}, task_vars)
            other = result.get("other") or {}
        if taken and not other and not result.get("failed"):
            taken()
        refusal = run_lock.refusal(task_vars["inventory_hostname"], other) if take and other else ""
        return {**result, "refusal": result.get("msg", "") if result.get("failed") else refusal}

    def _give_up_after(self, pids: list[int], folder: str, holder: dict[str, Any]) -> Callable[[], None]:
        def on_host(command: str) -> None:
            # The run's own display sends what it is given to a process that may be gone.
            Display()._final_q = None
            # Errors cannot be reported any more; the lock expires.
            with contextlib.suppress(Exception):
                self._low_level_execute_command(command)

        return run_holder.watch(
            pids,
            renew=lambda: on_host(run_lock.renew_command(folder, holder)),
            release=lambda: on_host(run_lock.release_command(folder, holder["run"])),
            every_s=run_lock.RENEW_S,
        )
