# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Brings a running host in line with a CPU partition, or undoes it: cpusets, affinity, interrupts."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from .. import cpu_list
from ..disk.record import Record
from ..host.run import Run
from ..host.sysfs import Tree
from . import affinity as affinity_live
from . import interrupts as irqs
from .cpusets import CGROUPS, Cpusets, Unit
from .names import AFFINITY, NONE

INTERRUPTS_UNIT = "tfserving-fleet-interrupts.service"
BALANCER_UNIT = "irqbalance.service"
# Set in the environment of an irqbalance started with the role's drop-in, next to the CPUs to spare.
BALANCER_MARK = "TFSERVING_FLEET"
BALANCER_BANNED = "IRQBALANCE_BANNED_CPULIST"

# What takes the place of a partition that is to go.
ABSENT = {"mode": NONE, "reason": "cpu_partition_state is absent: nothing is kept apart"}


class PartitionError(Exception):
    """The kernel's state in force differs from the plan. ``str()`` is one sentence."""


@dataclass
class Done:
    """The changes made, or in check mode due, and the state in force now."""

    changed: list[str] = field(default_factory=list)
    units: list[dict[str, str]] = field(default_factory=list)
    interrupts: dict[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


class Limits:
    """The record of limits set by this or an earlier run: units, and CPUs by affinity."""

    def __init__(self, path: str) -> None:
        self._record = Record(path, {"units?": [str], "affinity?": str})
        known = self._record.found() or {}
        self.units: list[str] = known.get("units", [])
        self.affinity: str = known.get("affinity", "")

    def save(self, units: Collection[str], affinity: str) -> None:
        """Record the present limits; without any, there is no record."""
        if (self.units, self.affinity) != (sorted(units), affinity):
            self.units, self.affinity = sorted(units), affinity
            self._record.save({"units": self.units, "affinity": affinity} if units or affinity else {})


def remarks(partition: Mapping[str, Any]) -> list[str]:
    """Return what a person should know of a partition: why there is none, and its warnings."""
    reason = [partition["reason"]] if partition.get("mode") == NONE else []
    return [*reason, *partition.get("warnings", [])]


class Host:
    """A running host; ``dry`` only reports what would be done."""

    def __init__(
        self, tree: Tree, run: Run, record: str, dry: bool = False, scheduler: affinity_live.Scheduler = os
    ) -> None:
        self.tree = tree
        self.run = run
        self.record = Limits(record)
        self.dry = dry
        self.scheduler = scheduler
        self.done = Done()

    def bring(self, partition: Mapping[str, Any]) -> Done:
        """Put ``partition`` in force; limits that it does not name are lifted.

        :param partition: ``slices``, ``mode``, ``cpus``, ``housekeeping`` and ``irqs`` as cpu_partition.partition
            returns them; empty to undo everything.
        :raises PartitionError: the result in force is not the wanted one.
        """
        slices = partition.get("slices") or []
        named = {each["name"] for each in slices}
        affinity = partition["housekeeping"] if partition.get("mode") == AFFINITY else ""
        before = self.record.affinity
        if not self.dry:
            self.record.save(named.union(self.record.units), affinity or before)
        self._cpusets(slices, sorted(set(self.record.units) - named))
        if affinity:
            self._move(affinity_live.confined(cpu_list.parse(affinity), cpu_list.parse(before)))
        elif before:
            everything = cpu_list.parse(partition.get("cpus") or self.tree.text("sys/devices/system/cpu/online") or "")
            self._move(affinity_live.released(cpu_list.parse(before), everything))
        if partition.get("irqs"):
            self._steer(partition["irqs"])
        else:
            self._give_interrupts_back()
        if not self.dry:
            self.record.save(named, affinity)
        return self.done

    def _cpusets(self, slices: Collection[Mapping[str, Any]], lifted: Collection[str]) -> None:
        if not self.tree.exists(f"{CGROUPS}/cgroup.controllers"):
            return
        cpusets = Cpusets(self.tree, self.run, slices, lifted)
        found = cpusets.read()
        stale = [*cpusets.stale(found), *lifted]
        due = {*stale, *(unit.name for unit in found if unit.unsettled())}
        self.done.changed += sorted(due)
        if due and not self.dry:
            found = self._settle(cpusets, reload=bool(stale))
        self.done.units = [unit.report() for unit in found if unit.group]
        faults = [] if self.dry else cpusets.faults(found)
        if faults:
            raise PartitionError(faults[0])
        self.done.problems += cpusets.outside()

    def _settle(self, cpusets: Cpusets, reload: bool) -> list[Unit]:
        if reload:
            cpusets.reload()
        found = cpusets.read()
        for name in cpusets.stale(found):
            problem = "systemd has other CPUs or memory nodes for it than the plan, since another file wins"
            raise PartitionError(f"{name}: {problem}; see systemctl cat {name}")
        cpusets.settle(found)
        return cpusets.read()

    def _move(self, wish: affinity_live.Wish) -> None:
        threads = affinity_live.astray(self.tree, wish, self.scheduler)
        if threads:
            self.done.changed.append(f"{len(threads)} threads")
        if not self.dry:
            self.done.problems += affinity_live.move(threads, self.scheduler)

    def _steer(self, wanted: Mapping[str, Any]) -> None:
        allowed = cpu_list.parse(wanted["cpus"])
        found = irqs.read(self.tree, allowed)
        if found.movable or not self._active(INTERRUPTS_UNIT):
            self.done.changed.append("interrupts")
            if not self.dry:
                self._systemctl("daemon-reload")
                self._systemctl("restart", INTERRUPTS_UNIT)
                found = irqs.read(self.tree, allowed)
        if found.movable and not self.dry:
            path = found.movable[0]
            where = cpu_list.format(found.astray[path])
            problem = f"may still go to {where} where the plan has {wanted['cpus']}"
            raise PartitionError(f"/{path}: {problem}; see journalctl -u {INTERRUPTS_UNIT}")
        self.done.interrupts = found.report()
        self._rebalance(wanted["banned"])

    def _give_interrupts_back(self) -> None:
        active = self._active(INTERRUPTS_UNIT)
        if active or irqs.steered(self.tree):
            self.done.changed.append("interrupts")
            if not self.dry:
                irqs.give_back(self.tree)
                self._systemctl("daemon-reload")
                if active:
                    self._systemctl("stop", INTERRUPTS_UNIT)
        self._rebalance("")

    def _rebalance(self, banned: str) -> None:
        """Restart irqbalance if it runs and was started with other CPUs to spare."""
        shown = self._show(BALANCER_UNIT, "ActiveState", "MainPID")
        if shown.get("ActiveState") != "active":
            return
        pairs = (self.tree.text(f"proc/{shown['MainPID']}/environ") or "").split("\0")
        environment = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
        spared = environment.get(BALANCER_BANNED, "") if BALANCER_MARK in environment else ""
        if spared != banned:
            self.done.changed.append(BALANCER_UNIT)
            if not self.dry:
                self._systemctl("daemon-reload")
                self._systemctl("restart", BALANCER_UNIT)

    def _active(self, unit: str) -> bool:
        return self._show(unit, "ActiveState").get("ActiveState") == "active"

    def _show(self, unit: str, *properties: str) -> dict[str, str]:
        out = self._systemctl("show", f"--property={','.join(properties)}", unit)
        return dict(line.split("=", 1) for line in out.splitlines() if "=" in line)

    def _systemctl(self, *arguments: str) -> str:
        status, out, err = self.run(["systemctl", *arguments])
        if status != 0:
            raise RuntimeError(f"systemctl {' '.join(arguments)} failed: {(err or out).strip()}")
        return out
