# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The cgroups of a server's process: throttling by CPU quotas, and pressure, on cgroup v1 and v2."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from typing import NamedTuple

from ..host.sysfs import Tree

PRESSURES = ("cpu", "memory", "io")


class Groups(NamedTuple):
    """Directories of one process's cgroups; None where the host has no such hierarchy."""

    cpu: str | None
    """With the CPU controller's statistics (v1 or v2)."""
    unified: str | None
    """In the v2 hierarchy; the only one with pressure."""
    processes: str | None
    """With the list of the unit's processes."""


def of_process(tree: Tree, pid: int) -> Groups:
    """Return the cgroups of a process; all None if it is gone."""
    paths = {}
    for line in tree.lines(f"proc/{pid}/cgroup"):
        _number, _colon, rest = line.partition(":")
        controllers, _colon, path = rest.partition(":")
        paths.update(dict.fromkeys(controllers.split(","), path))
    mounts = dict(_mounts(tree))
    found = {name: _joined(mounts.get(name), paths.get(name)) for name in ("cpu", "name=systemd", "")}
    unified = found[""]
    return Groups(found["cpu"] or unified, unified, found["name=systemd"] or unified)


def _mounts(tree: Tree) -> Iterator[tuple[str, str]]:
    """Yield the mount point of each controller, and of the v2 hierarchy under an empty name."""
    for line in tree.lines("proc/mounts"):
        fields = line.split()
        if len(fields) > 3 and fields[2] == "cgroup2":
            yield "", fields[1]
        elif len(fields) > 3 and fields[2] == "cgroup":
            yield from ((option, fields[1]) for option in fields[3].split(","))


def _joined(mount: str | None, path: str | None) -> str | None:
    # A group outside of the reader's namespace is shown as /../name, and is not below the mount.
    if mount is None or path is None or ".." in path.split("/"):
        return None
    return posixpath.join(mount, path.lstrip("/")).rstrip("/")


class Quotas(NamedTuple):
    """Periods with a CPU quota, those in which it stopped a group, and for how long; None where nothing is counted."""

    periods: int | None
    throttled: int | None
    throttled_us: int | None


def quotas(tree: Tree, group: str | None) -> Quotas:
    """Return what the quotas of a group and of those above it have done to it."""
    periods: list[int] = []
    counts: list[int] = []
    times: list[int] = []
    while group and group.count("/") > 1:
        stat = dict(line.split(None, 1) for line in tree.lines(f"{group}/cpu.stat") if " " in line)
        periods += _whole(stat.get("nr_periods"))
        counts += _whole(stat.get("nr_throttled"))
        # v1 counts nanoseconds.
        times += _whole(stat.get("throttled_usec")) or [each // 1000 for each in _whole(stat.get("throttled_time"))]
        group = posixpath.dirname(group)
    return Quotas(*(sum(found) if found else None for found in (periods, counts, times)))


def throttled(tree: Tree, group: str | None) -> tuple[int | None, int | None]:
    """Return how often and for how many microseconds quotas stopped a group, its own and those of the groups above."""
    found = quotas(tree, group)
    return found.throttled, found.throttled_us


def pressures(tree: Tree, group: str | None) -> dict[str, int | None]:
    """Return the microseconds in which some task of a v2 group waited, by resource."""
    return {each: _some(tree, f"{group}/{each}.pressure") if group else None for each in PRESSURES}


def host_pressures(tree: Tree) -> dict[str, int | None]:
    """Return the microseconds in which some task of the host waited, by resource."""
    return {each: _some(tree, f"proc/pressure/{each}") for each in PRESSURES}


def slice_of(group: str | None) -> str | None:
    """Return the slice of a unit's group."""
    return posixpath.dirname(group) if group else None


def _some(tree: Tree, path: str) -> int | None:
    for line in tree.lines(path):
        words = line.split()
        if words and words[0] == "some":
            return next(iter(_whole(words[-1].partition("total=")[2])), None)
    return None


def _whole(text: str | None) -> list[int]:
    return [int(text)] if text and text.strip().isdecimal() and text.isascii() else []
