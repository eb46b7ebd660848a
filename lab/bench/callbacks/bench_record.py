# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Write down what a run did: how long each task took, and every call of a module and of the connection."""

from __future__ import annotations

import functools
import json
import os
import resource
import time
from collections.abc import Callable
from typing import Any

from ansible.executor.process.worker import WorkerProcess
from ansible.plugins.action import ActionBase
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = r"""
name: bench_record
type: aggregate
short_description: Record tasks, module calls and connection commands
description:
  - For the lab's benchmarks only. Appends a line of JSON for each event to the file that E(BENCH_RECORD) names.
  - Events are V(start) (name of the playbook), V(task) (name, changed, seconds), V(module) (name, transport),
    V(command) (transport), V(fork) (host, task and whether it is once for all hosts, of a worker process for one task
    on one host), V(worker) (host, task, CPU seconds at its end) and V(stats) (hosts, CPU seconds of the main process
    and of its workers, and the peak of the main process's memory in MiB).
options: {}
"""


def _record(**event: Any) -> None:
    # One write to a file opened for appending: workers write at the same time, and no line may tear another one.
    descriptor = os.open(os.environ["BENCH_RECORD"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, json.dumps(event).encode() + b"\n")
    finally:
        os.close(descriptor)


def _watch_actions() -> None:
    """Have every action plugin report its calls. A callback only sees tasks, and a task may call any number of modules
    or none. Workers are forked from the process that loads callbacks, so they inherit this."""
    execute, command = ActionBase._execute_module, ActionBase._low_level_execute_command

    @functools.wraps(execute)
    def execute_module(self: ActionBase, module_name: str | None = None, *args: Any, **kwargs: Any) -> Any:
        _record(event="module", name=module_name or self._task.action, transport=self._connection.transport)
        return execute(self, module_name, *args, **kwargs)

    @functools.wraps(command)
    def execute_command(self: ActionBase, *args: Any, **kwargs: Any) -> Any:
        _record(event="command", transport=self._connection.transport)
        return command(self, *args, **kwargs)

    ActionBase._execute_module, ActionBase._low_level_execute_command = execute_module, execute_command


def _watch_workers() -> None:
    """Count the processes, which cost as much where a task is skipped."""
    start = WorkerProcess.start

    @functools.wraps(start)
    def started(self: WorkerProcess) -> Any:
        _record(event="fork", host=self._host.name, task=self._task.get_name(), once=bool(self._task.run_once))
        return start(self)

    run = WorkerProcess.run

    @functools.wraps(run)
    def ran(self: WorkerProcess) -> Any:
        try:
            return run(self)
        finally:
            _record(event="worker", host=self._host.name, task=self._task.get_name(), seconds=time.process_time())

    WorkerProcess.start, WorkerProcess.run = started, ran


def _used() -> dict[str, float]:
    own, workers = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "main": own.ru_utime + own.ru_stime,
        "workers": workers.ru_utime + workers.ru_stime,
        "system": own.ru_stime + workers.ru_stime,
        "peak": own.ru_maxrss / 1024,
    }


class CallbackModule(CallbackBase):
    """Times tasks by the clock that the user waits by: from the start of a task to the result of its last item."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "bench_record"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._started = 0.0
        _watch_actions()
        _watch_workers()

    def v2_playbook_on_start(self, playbook: Any) -> None:
        _record(event="start", name=os.path.basename(playbook._file_name))

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        self._started = time.perf_counter()

    def v2_runner_on_ok(self, result: Any) -> None:
        seconds = time.perf_counter() - self._started
        changed = bool(result.result.get("changed"))
        _record(event="task", name=result.task.get_name(), changed=changed, seconds=seconds)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        hosts: Callable[[str], dict[str, int]] = stats.summarize
        _record(event="stats", hosts={host: hosts(host) for host in stats.processed}, **_used())
