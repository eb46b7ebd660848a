# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The instances of the plan: whether they run, since when, with which plan, and what their processes hold."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from .host import Host, Mark, tick, whole
from .sample import Samples, known, sample

# Set by each instance's drop-in (serving.units.MARK).
_MARK = b"TFSERVING_CONFIGURATION="
_MOST_ENVIRON_BYTES = 1 << 20
_KEPT = {str: {"pid": int, "ticks": int, "at": (int, float)}}
_FILES = re.compile(r"^Max open files +([0-9]{1,20}) ", re.MULTILINE)


def read(host: Host) -> Samples:
    """Yield the samples."""
    starts = host.state.section("instances", _KEPT)
    kept: dict[str, Any] = {}
    for instance in host.instances:
        name = instance["name"]
        unit, process = host.units[name], host.process(name)
        yield sample("instance_running", unit.is_active, serving_instance=name)
        yield sample("instance_restarts_total", unit.restarts, serving_instance=name)
        if process:
            kept[name] = _start(host, process, starts.get(name, {}))
            yield from known(_facts(host, instance, process, kept[name]["at"]), serving_instance=name)
    host.state.keep("instances", kept)


def _start(host: Host, process: Mark, before: Mapping[str, Any]) -> dict[str, Any]:
    """Return when a process began. It is worked out once: the difference of two clocks moves from run to run."""
    if (before.get("pid"), before.get("ticks")) == process:
        return dict(before)
    uptime = (host.tree.text("proc/uptime") or "0").split()[0]
    at = host.now - float(uptime) + process.ticks / tick()
    return {"pid": process.pid, "ticks": process.ticks, "at": round(at, 1)}


def _facts(host: Host, instance: Mapping[str, Any], process: Mark, start: float) -> dict[str, float | None]:
    status = host.status(process.pid)
    return {
        "instance_start_time_seconds": start,
        "instance_matches_plan": _matches(host, instance["digest"], process.pid),
        "instance_swap_bytes": kib(status.get("VmSwap")),
        "instance_threads": whole(status.get("Threads")),
        "instance_open_files": _open_files(host, process.pid),
        "instance_open_files_limit": _limit(host, process.pid),
    }


def kib(text: str | None) -> int | None:
    """Return the bytes of a figure of /proc such as ``24 kB``."""
    kibibytes = whole((text or "").partition(" ")[0])
    return None if kibibytes is None else kibibytes * 1024


def _matches(host: Host, digest: str, pid: int) -> bool | None:
    """Return whether the mark of a process is that of the plan. Nothing else of its environment is kept or told."""
    pairs = (host.tree.data(f"proc/{pid}/environ", _MOST_ENVIRON_BYTES) or b"").split(b"\0")
    marks = [pair for pair in pairs if pair.startswith(_MARK)]
    return marks[0].startswith(_MARK + f"{digest}-".encode()) if marks else None


def _open_files(host: Host, pid: int) -> int | None:
    try:
        return len(os.listdir(host.tree.path(f"proc/{pid}/fd")))
    except OSError:
        return None


def _limit(host: Host, pid: int) -> int | None:
    found = _FILES.search(host.tree.text(f"proc/{pid}/limits") or "")
    return whole(found[1]) if found else None
