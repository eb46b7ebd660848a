# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The CPUs of a server: how busy and how fast they are, and how they are set."""

from __future__ import annotations

import os
import re
import statistics
from collections.abc import Collection, Sequence
from typing import NamedTuple

from ..host.sysfs import Tree

CPU = "sys/devices/system/cpu"
# Reading a clock may interrupt its CPU. Some of them show what all do.
MOST_CLOCKS = 16
# The first lines tell the model; a host of 512 CPUs has a megabyte of them.
_CPUINFO_BYTES = 1 << 16

_MODEL = re.compile(r"^(?:model name|Model|cpu model|Hardware)\s*:\s*(.{1,200})$", re.MULTILINE)
_CLOCK = re.compile(r"^cpu MHz\s*:\s*([0-9.]{1,12})$", re.MULTILINE)


class Times(NamedTuple):
    """Time of some CPUs in microseconds since boot. ``busy`` is without what a hypervisor took, ``steal``."""

    busy: int
    steal: int
    total: int


def tick_us() -> int:
    """Return the microseconds of the kernel's unit of CPU time."""
    return 1_000_000 // os.sysconf("SC_CLK_TCK")


def times(tree: Tree, cpus: Collection[int]) -> Times | None:
    """Return the time of the CPUs together (proc(5), /proc/stat); None if the kernel does not tell."""
    names = {f"cpu{number}" for number in cpus}
    rows = [line.split() for line in tree.lines("proc/stat") if line.startswith("cpu")]
    found = [[int(word) for word in row[1:9]] for row in rows if row[0] in names and len(row) > 8]
    if not found:
        return None
    user, nice, system, idle, iowait, irq, softirq, steal = (sum(column) * tick_us() for column in zip(*found))
    busy = user + nice + system + irq + softirq
    return Times(busy, steal, busy + idle + iowait + steal)


def mhz(tree: Tree, cpus: Sequence[int]) -> list[int] | None:
    """Return the lowest, median and highest clock of the CPUs in MHz; None where no file tells."""
    some = sorted(cpus)[:: max(1, -(-len(cpus) // MOST_CLOCKS))]
    read = [tree.number(f"{CPU}/cpu{number}/cpufreq/scaling_cur_freq") for number in some]
    clocks = [kilohertz / 1000 for kilohertz in read if kilohertz]
    if not clocks:
        # Guests and containers; without telling which CPU, since all lines together are few.
        clocks = [float(text) for text in _CLOCK.findall(_cpuinfo(tree)) if text.count(".") < 2]
    if not clocks:
        return None
    return [round(min(clocks)), round(statistics.median(clocks)), round(max(clocks))]


def governor(tree: Tree, cpus: Sequence[int]) -> str | None:
    """Return the frequency governor of the CPUs, several joined by a plus; None without frequency scaling."""
    found = {tree.text(f"{CPU}/cpu{number}/cpufreq/scaling_governor") for number in cpus} - {None, ""}
    return "+".join(sorted(filter(None, found)))[:100] or None


def boost(tree: Tree) -> bool | None:
    """Return whether CPUs may exceed their nominal clock; None where the kernel does not tell."""
    no_turbo = tree.number(f"{CPU}/intel_pstate/no_turbo")
    if no_turbo is not None:
        return no_turbo == 0
    on = tree.number(f"{CPU}/cpufreq/boost")
    return None if on is None else on == 1


def model(tree: Tree) -> str | None:
    """Return the CPU's name."""
    found = _MODEL.search(_cpuinfo(tree))
    return found.group(1).strip() if found else None


def _cpuinfo(tree: Tree) -> str:
    return (tree.data("proc/cpuinfo", _CPUINFO_BYTES) or b"").decode("utf-8", "replace")
