# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The units of a host's instances, by one question to systemd, and the processes that they run."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..host import process as process_facts
from ..host.sysfs import Tree
from ..serving.units import MARK
from ..visible_text import told
from . import groups
from .command import Ask

UNIT = "tfserving@{name}.service"
PROPERTIES = (
    "Id,LoadState,ActiveState,SubState,NRestarts,Result,ExecMainStatus,ExecMainStartTimestampMonotonic,InvocationID,"
    "MainPID,UnitFileState,NeedDaemonReload,CPUQuotaPerSecUSec,MemoryHigh,MemoryMax,AllowedCPUs,CPUAffinity,TasksMax,"
    "LimitNOFILE"
)
MOST_FLAGS = 200
LONGEST = 4096
MOST_ENVIRONMENT = 1 << 20
_LIMIT = re.compile(r"^Max (open files|processes|locked memory)\s+(\w+)\s+(\w+)", re.MULTILINE)
_LIMITS = {"open files": "nofile", "processes": "nproc", "locked memory": "memlock"}


def show(ask: Ask, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the state of each instance's unit. Raises RuntimeError if systemd does not answer."""
    if not names:
        return {}
    answer = ask(["systemctl", "show", f"--property={PROPERTIES}", *(UNIT.replace("{name}", name) for name in names)])
    blocks = [dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
              for block in (answer or "").strip().split("\n\n")]  # fmt: skip
    by_unit = {block.get("Id", ""): block for block in blocks}
    return {name: _unit(by_unit.get(UNIT.replace("{name}", name), {})) for name in names}


def _unit(shown: Mapping[str, str]) -> dict[str, Any]:
    text = {key: told(value, LONGEST) for key, value in shown.items()}
    return {
        "name": text.get("Id", ""),
        "load": text.get("LoadState", ""),
        "state": text.get("ActiveState", ""),
        "sub_state": text.get("SubState", ""),
        "restarts": _count(text.get("NRestarts")),
        "result": text.get("Result", ""),
        "exit_status": _count(text.get("ExecMainStatus")),
        "started": _started(text.get("ExecMainStartTimestampMonotonic")),
        "invocation": text.get("InvocationID", ""),
        "pid": _count(text.get("MainPID")) or 0,
        "enabled": text.get("UnitFileState") in ("enabled", "enabled-runtime"),
        "needs_reload": text.get("NeedDaemonReload") == "yes",
        "cpu_quota": None if text.get("CPUQuotaPerSecUSec") in (None, "", "infinity") else text["CPUQuotaPerSecUSec"],
        "memory_high_mb": _mib(text.get("MemoryHigh")),
        "memory_max_mb": _mib(text.get("MemoryMax")),
        # systemd separates ranges with blanks, the kernel with commas.
        "allowed_cpus": text.get("AllowedCPUs", "").replace(" ", ","),
        "affinity": text.get("CPUAffinity", "").replace(" ", ","),
        "tasks_max": _count(text.get("TasksMax")),
        "limit_nofile": _count(text.get("LimitNOFILE")),
    }


def _count(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() and len(text) < 20 else None


def _mib(text: str | None) -> int | None:
    size = _count(text)
    return None if size is None else size >> 20


def _started(text: str | None) -> float | None:
    """Return the moment in UNIX seconds of one in microseconds since boot."""
    since_boot = _count(text)
    return round(time.time() - time.monotonic() + since_boot / 1e6, 3) if since_boot else None


def process(tree: Tree, pid: int, digest: str) -> dict[str, Any]:
    """Return what an instance's process runs with; null where there is none. ``digest`` is that of the plan."""
    found = process_facts.process(pid, Path(tree.path("proc"))) if pid else None
    granted = groups.effective(tree, pid) if found else {}
    return {
        "cmdline": _words(tree, pid) if found else [],
        "limits": limits(tree, pid) if found else {},
        "cpus_allowed": found.cpus if found else None,
        "mems_allowed": found.nodes if found else None,
        "cpus_of_threads": list(found.cpus_of_threads) if found else [],
        "effective_cpus": granted.get("cpus"),
        "effective_mems": granted.get("mems"),
        "allocator": found.allocator if found else None,
        "binary_replaced": found.replaced if found else None,
        "mark_is_planned": _is_planned(tree, pid, digest) if found else None,
        "numa_pages": groups.node_pages(tree, pid) if found else None,
    }


def _words(tree: Tree, pid: int) -> list[str]:
    text = (tree.data(f"proc/{pid}/cmdline", LONGEST * MOST_FLAGS) or b"").decode("utf-8", "replace")
    return [told(word, LONGEST) for word in text.split("\0") if word][:MOST_FLAGS]


def limits(tree: Tree, pid: int) -> dict[str, list[int | None]]:
    """Return the soft and the hard limits of a process; None where there is none."""
    found = _LIMIT.findall(tree.text(f"proc/{pid}/limits") or "")
    return {_LIMITS[name]: [_count(soft), _count(hard)] for name, soft, hard in found}


def _is_planned(tree: Tree, pid: int, digest: str) -> bool | None:
    """Return whether the process was started with the plan in force. Of its environment nothing else is looked at."""
    pairs = (tree.data(f"proc/{pid}/environ", MOST_ENVIRONMENT) or b"").decode("utf-8", "replace").split("\0")
    mark = next((pair.partition("=")[2] for pair in pairs if pair.startswith(f"{MARK}=")), None)
    return None if mark is None or not digest else mark.startswith(f"{digest}-")
