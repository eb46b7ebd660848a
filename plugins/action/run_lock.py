# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Takes the lock of a host for this run of ansible-playbook, and makes sure that it is released."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import Any

from ansible import context
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.tfserving.fleet.plugins.module_utils.host import run_lock
from ansible_collections.tfserving.fleet.plugins.plugin_utils.fleet import run_holder

MODULE = "tfserving.fleet.run_lock"


class ActionModule(ActionBase):
    """One call on the host; a second where the run that holds the lock was on this machine and is dead."""

    _requires_connection = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the module's result and the sentence that refuses the run."""
        super().run(tmp, task_vars)
        run_pid = os.getppid()
        arguments = {"folder": run_lock.FOLDER, **self._task.args}
        arguments["holder"] = run_holder.this_run(run_pid, context.CLIARGS.get("args") or [])
        take = arguments.get("state", "held") == "held" and not self._task.check_mode
        taken = self._give_up_after(run_pid, arguments["folder"], arguments["holder"]) if take else None
        result = self._call(arguments, task_vars)
        other = result.get("other") or {}
        if other and run_holder.is_dead(other):
            result = self._call({**arguments, "break_lock": other["run"]}, task_vars)
            other = result.get("other") or {}
        if taken and not other and not result.get("failed"):
            taken()
        host = (task_vars or {}).get("inventory_hostname", "")
        refusal = run_lock.refusal(host, other) if take and other else ""
        return {**result, "refusal": result.get("msg", "") if result.get("failed") else refusal}

    def _call(self, arguments: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        result: dict[str, Any] = self._execute_module(module_name=MODULE, module_args=arguments, task_vars=task_vars)
        return result

    def _give_up_after(self, pid: int, folder: str, holder: dict[str, Any]) -> Callable[[], None]:
        def on_host(command: str) -> None:
            # The run's own display sends what it is given to a process that may be gone.
            Display()._final_q = None
            # Errors cannot be reported any more; the lock expires.
            with contextlib.suppress(Exception):
                self._low_level_execute_command(command)

        return run_holder.watch(
            pid,
            renew=lambda: on_host(run_lock.renew_command(folder, holder)),
            release=lambda: on_host(run_lock.release_command(folder, holder["run"])),
            every_s=run_lock.RENEW_S,
        )
