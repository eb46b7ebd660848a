# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The cgroup of a server: quotas, pressure, memory and CPUs, of cgroup v1 and v2."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from typing import Any

from ..evidence import groups
from ..host.sysfs import Tree
from .counters import PRESSURES, pressure

_STAT = {
    "nr_periods": "nr_periods",
    "nr_throttled": "nr_throttled",
    "usage_usec": "usage_us",
    "throttled_usec": "throttled_us",
}
# v1 has no limit where it shows the largest multiple of a page.
_UNLIMITED = 1 << 60


def version(tree: Tree) -> int | None:
    """Return the version of the hierarchy that limits the host's processes."""
    kinds = {(fields[1], fields[2]) for line in tree.lines("proc/mounts") if len(fields := line.split()) > 3}
    if any(kind == "cgroup" for _place, kind in kinds):
        return 1
    return 2 if any(kind == "cgroup2" for _place, kind in kinds) else None


def sample(tree: Tree, pid: int) -> dict[str, Any] | None:
    """Return the counters of a process's cgroup; None where they cannot be found."""
    places = groups.of_process(tree, pid)
    if places.cpu is None and places.unified is None:
        return None
    unified = places.unified if tree.exists(f"{places.unified}/memory.current") else None
    memory = _memory(tree, unified) if unified else _memory_v1(tree, pid)
    waits = {name: pressure(tree, f"{places.unified}/{name}.pressure") for name in PRESSURES} if places.unified else {}
    return {
        "cpu_stat": _cpu_stat(tree, places.cpu),
        "pressure": waits if any(waits.values()) else None,
        "memory": memory,
    }


def _cpu_stat(tree: Tree, group: str | None) -> dict[str, int] | None:
    """Return periods and throttling of the group that was throttled most: a quota above it stops it all the same."""
    levels = [stat for each in _upwards(group) if (stat := _stat(tree, each))]
    if not levels:
        return None
    worst = max(levels, key=lambda stat: stat.get("nr_throttled", 0))
    return {**worst, **{name: value for name, value in levels[0].items() if name == "usage_us"}}


def _stat(tree: Tree, group: str) -> dict[str, int]:
    pairs = [line.split() for line in tree.lines(f"{group}/cpu.stat")]
    known = {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdecimal()}
    found = {name: known[key] for key, name in _STAT.items() if key in known}
    if "throttled_time" in known:
        # v1 counts nanoseconds.
        found["throttled_us"] = known["throttled_time"] // 1000
    return found


def _upwards(group: str | None) -> Iterator[str]:
    while group and group.count("/") > 1:
        yield group
        group = posixpath.dirname(group)


def _memory(tree: Tree, group: str) -> dict[str, Any]:
    names = {"current": "current_mb", "max": "max_mb", "high": "high_mb", "swap.current": "swap_mb"}
    sizes = {name: _mib(tree.number(f"{group}/memory.{key}")) for key, name in names.items()}
    return {**sizes, "events": _events(tree, f"{group}/memory.events")}


def _memory_v1(tree: Tree, pid: int) -> dict[str, Any] | None:
    group = group_v1(tree, pid, "memory")
    current = tree.number(f"{group}/memory.usage_in_bytes") if group else None
    if current is None:
        return None
    limit = tree.number(f"{group}/memory.limit_in_bytes")
    most = _mib(limit) if limit is not None and limit < _UNLIMITED else None
    events = _events(tree, f"{group}/memory.oom_control")
    kept = {name: value for name, value in events.items() if name == "oom_kill"}
    failures = tree.number(f"{group}/memory.failcnt")
    return {"current_mb": _mib(current), "max_mb": most, "events": {**kept, "max": failures}}


def group_v1(tree: Tree, pid: int, controller: str) -> str | None:
    """Return the v1 group of a process under one controller."""
    path = next((rest[2] for line in tree.lines(f"proc/{pid}/cgroup")
                 if controller in (rest := line.split(":", 2))[1].split(",")), None)  # fmt: skip
    mounts = (line.split() for line in tree.lines("proc/mounts"))
    place = next(
        (row[1] for row in mounts if len(row) > 3 and row[2] == "cgroup" and controller in row[3].split(",")), None
    )
    if path is None or place is None or ".." in path.split("/"):
        return None
    return posixpath.join(place, path.lstrip("/")).rstrip("/")


def _events(tree: Tree, path: str) -> dict[str, int]:
    pairs = (line.split() for line in tree.lines(path))
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdecimal()}


def _mib(size: int | None) -> float | None:
    return None if size is None else round(size / (1 << 20), 1)


def effective(tree: Tree, pid: int) -> dict[str, str | None]:
    """Return the CPUs and the memory nodes that the kernel grants the process's group, in its own notation."""
    unified = groups.of_process(tree, pid).unified
    old = group_v1(tree, pid, "cpuset")
    found = {}
    for what in ("cpus", "mems"):
        files = [f"{group}/cpuset.{what}.effective" for group in _upwards(unified)]
        files += [f"{old}/cpuset.effective_{what}"] if old else []
        found[what] = next(filter(None, map(tree.text, files)), None)
    return found


def node_pages(tree: Tree, pid: int) -> dict[str, int] | None:
    """Return the pages of the process's group on each NUMA node, those of files left out.

    The kernel counts them as it goes. The file numa_maps of the process would have it walk all of its memory, which
    holds up the server.
    """
    unified, old = groups.of_process(tree, pid).unified, group_v1(tree, pid, "memory")
    for group, size in ((unified, 4096), (old, 1)):
        line = (
            next((line for line in tree.lines(f"{group}/memory.numa_stat") if line.startswith("anon")), "")
            if group
            else ""
        )
        pairs = [word.partition("=") for word in line.split() if word.startswith("N")]
        if pairs:
            return {name[1:]: int(value) // size for name, _equals, value in pairs if value.isdecimal()}
    return None
