# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The CPUs that get interrupts and the kernel's unbound work: reads them, and restores what was steered away.

A script of the role cpu_partition does the steering, usr/local/lib/tfserving-fleet/keep-interrupts, so that a boot and
a run of the role do exactly the same.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import cpu_list
from ..host.sysfs import Tree

# Until the next boot the script records here what it changed (path and former value) and what it could not change.
STEERED = "run/tfserving-fleet/steered"
IMMOVABLE = "run/tfserving-fleet/immovable"

# Future interrupts, and the kernel's work that is not bound to a CPU.
DEFAULT = "proc/irq/default_smp_affinity"
WORKQUEUES = "sys/devices/virtual/workqueue/cpumask"


@dataclass
class Interrupts:
    """The present targets of interrupts."""

    astray: dict[str, list[int]] = field(default_factory=dict)
    """Files of what may go to unwanted CPUs, with those CPUs: an interrupt, the default or the workqueues."""
    immovable: list[str] = field(default_factory=list)
    """Those of them that the kernel does not allow to be moved."""

    @property
    def movable(self) -> list[str]:
        """Return those that can still be moved."""
        return [path for path in self.astray if path not in self.immovable]

    def report(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "astray": {path: cpu_list.format(self.astray[path]) for path in self.movable},
            "immovable": {path: cpu_list.format(self.astray[path]) for path in self.astray if path in self.immovable},
        }


def read(tree: Tree, allowed: Collection[int]) -> Interrupts:
    """Return what may interrupt CPUs other than ``allowed``."""
    wanted = set(allowed)
    found: dict[str, list[int] | None] = {DEFAULT: tree.mask(DEFAULT), WORKQUEUES: tree.mask(WORKQUEUES)}
    for number in tree.numbered("proc/irq", ""):
        path = f"proc/irq/{number}/smp_affinity_list"
        found[path] = tree.numbers(path)
    astray = {path: cpus for path, cpus in found.items() if cpus and set(cpus) - wanted}
    return Interrupts(astray, [path for path in _noted(tree, IMMOVABLE) if path in astray])


def steered(tree: Tree) -> bool:
    """Return whether there is anything to restore."""
    return bool(_noted(tree, STEERED))


def give_back(tree: Tree) -> list[str]:
    """Restore the former value of everything that was steered in this boot; return what no longer accepts it."""
    stubborn = []
    for path, value in _noted(tree, STEERED).items():
        try:
            Path(tree.path(path)).write_text(f"{value}\n", encoding="utf-8")
        except OSError:
            # The device is gone, and so is its interrupt.
            stubborn.append(path)
    for path in (STEERED, IMMOVABLE):
        Path(tree.path(path)).unlink(missing_ok=True)
    return stubborn


def _noted(tree: Tree, path: str) -> dict[str, str]:
    """Return the lines of one of the script's records: a path, without its first slash, and the rest of the line."""
    pairs = (line.partition(" ") for line in tree.lines(path) if line)
    return {name.lstrip("/"): value for name, _blank, value in pairs}
