# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What the process looks like from outside: its name, its threads' names, and what signals do to it."""

from __future__ import annotations

import ctypes
import os
import signal
import threading
from collections.abc import Callable
from typing import Any

PROCESS_NAME = "tensorflow_model_server"
_PR_SET_NAME = 15
_libc = ctypes.CDLL(None, use_errno=True)


def set_thread_name(name: str) -> None:
    """Name the calling thread as /proc/PID/task/TID/comm shows it; the kernel keeps 15 characters."""
    _libc.prctl(_PR_SET_NAME, name.encode()[:15], 0, 0, 0)


def start_thread(target: Callable[..., None], name: str, *arguments: Any) -> None:
    """Start a daemon thread under this name (without one it would carry the name of the process)."""

    def run() -> None:
        set_thread_name(name)
        target(*arguments)

    threading.Thread(target=run, name=name, daemon=True).start()


def schedulable_cpus() -> int:
    """CPUs in the affinity mask: what upstream's computed defaults follow (a CPU quota does not count)."""
    return len(os.sched_getaffinity(0))


def default_signals() -> None:
    """Upstream installs no handler, so SIGTERM, SIGINT and SIGHUP end the process at once; SIGPIPE is ignored."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
