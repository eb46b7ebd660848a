# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Waits until nobody calls an old server any more, by the sockets in its own network: a container's are not the host's.

A connection that has been quiet for the longest call carries none, although its caller may use it again.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import WishError
from ..gate import sockets
from ..host.run import EndlessError, Run, bounded

SECONDS_BOUNDS = (0, 3600)
MOST_CALLERS = 20
_PAUSE_S = 1.0
# A line of ss has some 400 bytes, and a server with thousands of connections has them all listed.
_ANSWER_S, _MOST_BYTES = 10.0, 8 << 20


@dataclass(frozen=True)
class Wanted:
    """The process of a server, its ports, the longest call, and how long to wait."""

    pid: int
    ports: tuple[int, ...]
    longest_call_s: float
    seconds: int


def check(given: Mapping[str, Any]) -> Wanted:
    """Return the options of the module. Raises WishError."""
    low, high = SECONDS_BOUNDS
    for name in ("seconds", "longest_call_s"):
        if not low <= given[name] <= high:
            raise WishError(name, f"{given[name]} is out of bounds", f"write {low} to {high}")
    if not given["ports"]:
        raise WishError("ports", "is empty", "name the ports of the server")
    return Wanted(given["pid"], tuple(given["ports"]), float(given["longest_call_s"]), given["seconds"])


def inside(pid: int) -> Run:
    """Return what runs a command in the network of a process."""

    def run(command: list[str]) -> tuple[int, str, str]:
        found = bounded(["nsenter", f"--net=/proc/{pid}/ns/net", *command], _ANSWER_S, _MOST_BYTES)
        return found or (127, "", "nsenter is not installed")

    return run


def wait(wanted: Wanted, run: Run, pause: Callable[[float], None] = time.sleep) -> dict[str, Any]:
    """Return who calls the server, after it was idle or the time was over. Raises WishError."""
    for second in range(wanted.seconds + 1):
        try:
            found = sockets.established(run, wanted.ports)
        except (RuntimeError, OSError, EndlessError, subprocess.TimeoutExpired) as error:
            raise WishError("pid", f"its connections cannot be read ({error})", "see whether it still runs") from error
        busy = sorted({each.peer for each in found if each.busy(wanted.longest_call_s)})
        if not busy or second == wanted.seconds:
            break
        pause(_PAUSE_S)
    return {"idle": not busy, "callers": busy[:MOST_CALLERS], "connections": len(found)}
