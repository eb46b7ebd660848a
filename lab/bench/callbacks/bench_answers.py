# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Keep what a host answers to each module call, or tell connections/simulated.py which of those answers to give."""

from __future__ import annotations

import functools
import json
import os
import re
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = r"""
name: bench_answers
type: aggregate
short_description: Keep or play a host's answers to module calls
description:
  - For the lab's benchmarks only. E(BENCH_ANSWERS) names a folder with a file for each task and module.
  - On a simulated host, the answer is played; on any other, it is kept.
options: {}
"""


class CallbackModule(CallbackBase):
    """Workers are forked from the process that loads callbacks, so they inherit what is set here."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "bench_answers"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        _watch(Path(os.environ["BENCH_ANSWERS"]))


def _watch(folder: Path) -> None:
    execute = ActionBase._execute_module

    @functools.wraps(execute)
    def execute_module(self: ActionBase, module_name: str | None = None, *args: Any, **kwargs: Any) -> Any:
        answer = folder / _file_name(self._task, module_name or self._task.action)
        connection = self._connection
        if connection.transport == "simulated":
            # Options that the play's variables give are read anew for each task; this one is of the call.
            connection.answer = answer
        elif connection.transport != "local" and "exec_command" not in vars(connection):
            connection.exec_command = _kept(connection.exec_command, answer)
        return execute(self, module_name, *args, **kwargs)

    ActionBase._execute_module = execute_module


def _kept(run: Any, answer: Path) -> Any:
    @functools.wraps(run)
    def exec_command(cmd: str, in_data: bytes | None = None, sudoable: bool = True) -> tuple[int, bytes, bytes]:
        code, output, errors = run(cmd, in_data=in_data, sudoable=sudoable)
        if in_data is not None:
            answer.write_text(json.dumps({"code": code, "output": output.decode(), "size": len(in_data)}))
        return code, output, errors

    return exec_command


def _file_name(task: Any, module: str) -> str:
    """Return the file of a task's answer. Of the rounds of a loop all hosts get the last one's."""
    return re.sub(r"[^a-z0-9]+", "-", f"{task.get_name()} {module}".lower()) + ".json"
