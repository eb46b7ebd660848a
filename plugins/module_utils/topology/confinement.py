# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The CPUs and memory nodes that a host may use, from the cgroups around it.

That means the host, not the reading process: a container has the cpuset that its engine set, a bare-metal host has
none. Limits of the reading session (AllowedCPUs= of system.slice, CPUAffinity=, isolcpus=) must not count, since
serving CPUs are kept free by these very limits: counting them would take the serving CPUs away on the run after they
were set aside. The cgroup that holds all of a host's processes is that of its first process.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from .. import cpu_list
from ..host.sysfs import Tree

# systemd's own group, one below the group that holds the whole host.
_INIT_SCOPE = "/init.scope"

# The file systems of cgroup v1; `cpuset` is the name of its first controller from before there were others.
_LEGACY = ("cgroup", "cpuset")
_MODES = {(True, False): "unified", (True, True): "hybrid", (False, True): "legacy", (False, False): None}


class Hierarchy(NamedTuple):
    """A mounted cgroup hierarchy that can hold cpusets."""

    version: int  # 1 or 2
    mount: str
    file: str  # the name of a cpuset's file, "{}" stands for cpus or mems


class Cgroups(NamedTuple):
    """The cgroups that a host mounts: `version` is that of the hierarchy with the CPU sets, None without cgroups."""

    version: int | None
    mode: str | None  # unified (v2 alone) | hybrid (both) | legacy (v1 alone)
    cpuset: Hierarchy | None


class Allowed(NamedTuple):
    """CPUs and memory nodes that the host may use; None without a limit."""

    cpus: set[int] | None
    mems: set[int] | None


def read_cgroups(tree: Tree) -> Cgroups:
    """Return which cgroup hierarchies are mounted, and which one has the cpuset controller."""
    lines = [line.split() for line in tree.lines("proc/mounts")]
    mounts = [(fields[1], fields[2], fields[3].split(",")) for fields in lines if len(fields) > 3]
    unified = [mount for mount, kind, _options in mounts if kind == "cgroup2"]
    legacy = [Hierarchy(1, mount, _legacy_file(kind, options)) for mount, kind, options in mounts if kind in _LEGACY]
    holders = [hierarchy for hierarchy in legacy if hierarchy.file]
    for mount in unified:
        # Next to v1 hierarchies cgroup2 is often mounted without controllers, only for systemd's bookkeeping.
        if not legacy or "cpuset" in (tree.text(f"{mount}/cgroup.controllers") or "").split():
            holders.insert(0, Hierarchy(2, mount, "cpuset.{}.effective"))
    holder = holders[0] if holders else None
    mode = _MODES[bool(unified), bool(legacy)]
    return Cgroups(holder.version if holder else 1 if legacy else None, mode, holder)


def read_allowed(tree: Tree, cgroups: Cgroups) -> Allowed:
    """Return the limits set by the host's outermost cgroup."""
    process = "proc/1" if tree.exists("proc/1/cgroup") else "proc/self"
    hierarchy = cgroups.cpuset
    cpus = mems = None
    if hierarchy:
        group = _host_group(tree, process)
        cpus, mems = (_limit(tree, hierarchy, group, what) for what in ("cpus", "mems"))
        if cpus is not None and hierarchy.version == 2:
            cpus |= _taken_by_partitions(tree, hierarchy, group)
    # Without readable cpusets only the affinity is left to ask. Where both exist the affinity does not count: it is a
    # default that any process may widen, a cpuset is a limit.
    if cpus is None:
        cpus = _status_list(tree, process, "Cpus_allowed_list")
    if mems is None:
        mems = _status_list(tree, process, "Mems_allowed_list")
    return Allowed(cpus, mems)


def _legacy_file(kind: str, options: list[str]) -> str:
    """Return the file name pattern of a v1 hierarchy's cpusets; empty for a hierarchy without the controller."""
    if kind == "cpuset" or {"cpuset", "noprefix"} <= set(options):
        return "{}"
    return "cpuset.{}" if "cpuset" in options else ""


def _host_group(tree: Tree, process: str) -> str:
    """Return the path of the process's cgroup in the cpuset hierarchy."""
    group = tree.text(f"{process}/cpuset")
    if group is None:
        groups = [line.split(":", 2) for line in tree.lines(f"{process}/cgroup")]
        named = {controllers: path for _id, controllers, path in (group for group in groups if len(group) == 3)}
        group = next((path for controllers, path in named.items() if "cpuset" in controllers.split(",")), None)
        group = group or named.get("", "/")
    if group.endswith(_INIT_SCOPE):
        group = group[: -len(_INIT_SCOPE)]
    # A group outside the reader's cgroup namespace is shown as /../name: the limits of the mount's root apply.
    return "/" if ".." in group.split("/") else group or "/"


def _limit(tree: Tree, hierarchy: Hierarchy, group: str, what: str) -> set[int] | None:
    """Return the limit of the closest group with a cpuset; groups without the controller inherit."""
    name = hierarchy.file.format(what)
    while True:
        numbers = tree.numbers(f"{hierarchy.mount}/{group.lstrip('/')}/{name}")
        if numbers:
            return set(numbers)
        if group in ("", "/"):
            return None
        group = os.path.dirname(group)


def _taken_by_partitions(tree: Tree, hierarchy: Hierarchy, group: str) -> set[int]:
    """Return the CPUs that child groups hold exclusively: the kernel removes these from the parent's effective set.

    https://docs.kernel.org/admin-guide/cgroup-v2.html, cpuset.cpus.partition
    """
    base = f"{hierarchy.mount}/{group.lstrip('/')}"
    taken: set[int] = set()
    for name in tree.names(base):
        partition = (tree.text(f"{base}/{name}/cpuset.cpus.partition") or "member").split()
        if partition in (["root"], ["isolated"]):
            taken.update(tree.numbers(f"{base}/{name}/cpuset.cpus.effective") or [])
    return taken


def _status_list(tree: Tree, process: str, field: str) -> set[int] | None:
    for line in tree.lines(f"{process}/status"):
        name, _colon, value = line.partition(":")
        if name == field:
            return set(cpu_list.parse(value)) or None
    return None
