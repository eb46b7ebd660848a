# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The cpusets of systemd's units that the kernel has in force: reads, settles and proves them.

The configuration says little: a cgroup may keep a limit that systemd has forgotten, and a process may be outside all
the units. So everything here relies on the cgroups' effective sets and on what the kernel grants each process.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import cpu_list
from ..host.run import Run
from ..host.sysfs import Tree
from .names import SERVING_UNIT

CGROUPS = "sys/fs/cgroup"

# The limits: systemd's property, the cgroup file that carries it, and the kernel's list of all possible values.
LIMITS = {
    "cpus": ("AllowedCPUs", "cpuset.cpus", "sys/devices/system/cpu/possible"),
    "nodes": ("AllowedMemoryNodes", "cpuset.mems", "sys/devices/system/node/possible"),
}


@dataclass
class Unit:
    """A unit with its limits; an empty list means no limit of its own."""

    name: str
    group: str
    """Its cgroup below the root of the hierarchy; empty while nothing runs in it."""
    wanted: dict[str, list[int]]
    configured: dict[str, list[int]]
    """systemd's configuration."""
    effective: dict[str, list[int]] = field(default_factory=dict)
    """The kernel's grant to the unit."""
    available: dict[str, list[int]] = field(default_factory=dict)
    """The kernel's grant to the parent cgroup."""

    def planned(self, what: str) -> list[int]:
        """Return what the kernel should grant: the wanted numbers that are available; without a limit, all of them."""
        available = self.available[what]
        return [number for number in self.wanted[what] if number in available] or available

    def unsettled(self) -> list[str]:
        """Return which limits of the cgroup are missing, different or left over."""
        return [what for what in LIMITS if self.group and self.effective[what] != self.planned(what)]

    def report(self) -> dict[str, str]:
        """Return the unit as plain data."""
        return {"name": self.name, **{what: cpu_list.format(self.effective.get(what, ())) for what in LIMITS}}


class Cpusets:
    """The units of a running host: ``slices`` with their limits, and ``lifted``, with no limits but systemd's own."""

    def __init__(self, tree: Tree, run: Run, slices: Iterable[Mapping[str, Any]], lifted: Iterable[str]) -> None:
        self.tree = tree
        self.run = run
        self.wanted: dict[str, dict[str, list[int]] | None] = dict.fromkeys(lifted)
        self.wanted.update(
            {each["name"]: {what: cpu_list.parse(each.get(what) or "") for what in LIMITS} for each in slices}
        )

    def read(self) -> list[Unit]:
        """Return all units in their present state."""
        names = list(self.wanted)
        if not names:
            return []
        out = self.systemctl("show", "--property=Id,ControlGroup,AllowedCPUs,AllowedMemoryNodes", *names)
        blocks = [dict(line.split("=", 1) for line in block.splitlines()) for block in out.strip().split("\n\n")]
        return [self._unit(name, block) for name, block in zip(names, blocks)]

    def _unit(self, name: str, shown: Mapping[str, str]) -> Unit:
        # systemd separates ranges with blanks, the kernel with commas.
        configured = {what: cpu_list.parse(shown.get(LIMITS[what][0], "").replace(" ", ",")) for what in LIMITS}
        # A unit that the role no longer limits may still be limited by the administrator.
        unit = Unit(name, shown.get("ControlGroup", "").strip("/"), self.wanted[name] or configured, configured)
        if unit.group:
            for what, (_directive, file, _all) in LIMITS.items():
                unit.effective[what] = self.effective(unit.group, file)
                unit.available[what] = self.effective(unit.group.rpartition("/")[0], file)
        return unit

    def effective(self, group: str, file: str) -> list[int]:
        """Return the kernel's grant to a cgroup; one without the cpuset controller has its parent's."""
        while True:
            numbers = self.tree.numbers(f"{CGROUPS}/{group}/{file}.effective")
            if numbers is not None or not group:
                return numbers or []
            group = group.rpartition("/")[0]

    def stale(self, units: Iterable[Unit]) -> list[str]:
        """Return the units whose configuration in systemd is not the wanted one."""
        return [unit.name for unit in units if unit.configured != unit.wanted]

    def reload(self) -> None:
        """Have systemd reread its files, which also applies them to running units."""
        self.systemctl("daemon-reload")

    def settle(self, units: Iterable[Unit]) -> list[str]:
        """Write limits that systemd has not carried to the cgroup; return the units that needed it.

        A lifted limit stays in the cgroup as long as anything else needs cpusets (systemd#43846), and the kernel
        refuses to empty it while it contains processes. So it gets all CPUs that can ever exist, including those
        switched on later. Nothing is written that systemd would contradict.
        """
        settled = set()
        for unit in units:
            for what in unit.unsettled():
                _directive, file, everything = LIMITS[what]
                path = Path(self.tree.path(f"{CGROUPS}/{unit.group}/{file}"))
                if path.exists():
                    numbers = cpu_list.format(unit.wanted[what]) or self.tree.text(everything)
                    path.write_text(f"{numbers}\n", encoding="utf-8")
                    settled.add(unit.name)
        return sorted(settled)

    def faults(self, units: Iterable[Unit]) -> list[str]:
        """Return a sentence for every unit and every process whose CPUs or nodes differ from the plan."""
        found = []
        for unit in units:
            for what in unit.unsettled():
                directive, file, _all = LIMITS[what]
                effective, planned = cpu_list.format(unit.effective[what]), cpu_list.format(unit.planned(what))
                found.append(
                    f"{unit.name}: the kernel grants it {directive} {effective or 'nothing'} where the plan has"
                    f" {planned}; compare systemctl cat {unit.name} with /{CGROUPS}/{unit.group}/{file}"
                )
            found += self._strays(unit) if unit.group else []
        return found

    def _strays(self, unit: Unit) -> list[str]:
        allowed = set(unit.effective["cpus"])
        strays = [(pid, cpus) for pid, cpus in self.processes(unit.group) if set(cpus) - allowed]
        return [
            f"{unit.name}: process {pid} may run on {cpu_list.format(cpus)} where the plan has"
            f" {cpu_list.format(allowed)}; stop it or move it into its unit"
            for pid, cpus in strays[:1]
        ]

    def processes(self, group: str) -> list[tuple[int, list[int]]]:
        """Return all processes of a cgroup and its descendants, with the CPUs that the kernel grants them."""
        found = []
        for folder in [group, *self._below(group)]:
            for pid in self.tree.lines(f"{CGROUPS}/{folder}/cgroup.procs"):
                cpus = granted(self.tree, f"proc/{pid}")
                # A process that has ended meanwhile does not count.
                if pid != "0" and cpus is not None:
                    found.append((int(pid), cpus))
        return found

    def _below(self, group: str) -> list[str]:
        root = Path(self.tree.path(CGROUPS))
        return [str(file.parent.relative_to(root)) for file in sorted((root / group).glob("*/**/cgroup.procs"))]

    def outside(self) -> list[str]:
        """Return a sentence for every other cgroup whose processes may use the serving CPUs."""
        serving = set((self.wanted.get(SERVING_UNIT) or {}).get("cpus", ()))
        found = []
        for name in self.tree.names(CGROUPS):
            if name in self.wanted or not self.tree.exists(f"{CGROUPS}/{name}/cgroup.procs"):
                continue
            strays = [pid for pid, cpus in self.processes(name) if serving & set(cpus)]
            if strays:
                found.append(
                    f"/{name}: {len(strays)} of its processes may run on serving CPUs; have what starts them use a"
                    " slice of systemd (for Docker: native.cgroupdriver=systemd)"
                )
        return found

    def systemctl(self, *arguments: str) -> str:
        """Run systemctl and return its output. Raises RuntimeError with its message if it fails."""
        status, out, err = self.run(["systemctl", *arguments])
        if status != 0:
            raise RuntimeError(f"systemctl {arguments[0]} failed: {(err or out).strip()}")
        return out


def granted(tree: Tree, process: str) -> list[int] | None:
    """Return the CPUs that the kernel lets a process (or thread) run on, or None if it is gone."""
    line = next((line for line in tree.lines(f"{process}/status") if line.startswith("Cpus_allowed_list:")), "")
    return cpu_list.parse(line.split()[1]) if line else None
