# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Other processes on the CPUs that serve: who used them between two looks at all processes."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from .. import cpu_list
from ..evidence.cpus import tick_us
from ..host.sysfs import Tree
from ..visible_text import told
from .tasks import status_of

MOST_PIDS = 8192
MOST_SHOWN = 20
# A tenth of a second in ten: less cannot be felt.
LEAST_US = 100_000
_UNIT = re.compile(r"/([^/]+\.(?:service|scope))(?:/|\Z)")


def times(tree: Tree) -> dict[int, int]:
    """Return the CPU time of all processes in microseconds."""
    found = {}
    for pid in tree.numbered("proc", "")[:MOST_PIDS]:
        fields = (tree.text(f"proc/{pid}/stat") or "").rpartition(")")[2].split()
        if len(fields) > 12:
            found[pid] = (int(fields[11]) + int(fields[12])) * tick_us()
    return found


def busiest(
    tree: Tree, before: Mapping[int, int], after: Mapping[int, int], cpus: Collection[int], own: Collection[int]
) -> list[dict[str, Any]]:
    """Return the processes that used most, of those that may run on ``cpus`` and are none of ``own``."""
    used = {pid: spent - before.get(pid, 0) for pid, spent in after.items() if pid not in own}
    found: list[dict[str, Any]] = []
    for pid in sorted(used, key=lambda each: -used[each]):
        if used[pid] < LEAST_US or len(found) == MOST_SHOWN:
            break
        status = status_of(tree, f"proc/{pid}")
        allowed = status.get("Cpus_allowed_list", "")
        if _overlaps(allowed, cpus):
            name = told(status.get("Name", ""), 40)
            row = {"pid": pid, "name": name, "cpus_allowed": told(allowed, 200), "cpu_us": used[pid]}
            found.append({**row, "unit": _unit(tree, pid)})
    return found


def _overlaps(allowed: str, cpus: Collection[int]) -> bool:
    try:
        return bool(set(cpu_list.parse(allowed)) & set(cpus))
    except ValueError:
        return False


def _unit(tree: Tree, pid: int) -> str:
    units = [match for line in tree.lines(f"proc/{pid}/cgroup") for match in _UNIT.findall(line)]
    return told(units[-1], 100) if units else ""
