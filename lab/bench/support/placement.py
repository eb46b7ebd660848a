# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Where the processes of a block ran, by the kernel's own files: read before and after, and held against the plan.

Pure. A block whose evidence does not fit shows nothing, whatever its latencies are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

SIDES = ("default", "partitioned")
SERVERS = {side: f"bench-{side}.service" for side in SIDES}
# A unit that somebody writes by hand says nothing of slices, and systemd puts it into this one.
SLICES = {"partitioned": "tfserving.slice", "default": "system.slice"}
NEIGHBOUR, ITS_SLICE = "bench-neighbour.service", "system.slice"
# Busy loops take what is left of their CPUs, and a server at 30 % of its load leaves more than this.
BUSY = 0.5

Evidence = Mapping[str, Any]
Partition = Mapping[str, Any]


def wanted(side: str, partition: Partition) -> dict[str, str]:
    """The CPUs of each slice of a plan's partition by name; by default each slice has all CPUs of the host."""
    return {each["name"]: each["cpus"] if side == "partitioned" else partition["cpus"] for each in partition["slices"]}


def complaints(side: str, partition: Partition, loops: int, before: Evidence, after: Evidence) -> list[str]:
    """What in the evidence of a block contradicts its side, as sentences."""
    cpus = wanted(side, partition)
    found = [text for evidence in (before, after) for text in _placed(side, cpus, loops, evidence)]
    if not found:
        found += _lasted(loops, cpus[ITS_SLICE], before, after) if loops else ()
        if _pids(before, SERVERS[side]) != _pids(after, SERVERS[side]):
            found.append("the server has been restarted")
    return list(dict.fromkeys(found))


def cpu_share(unit: str, before: Evidence, after: Evidence) -> float:
    """The CPU time of a unit between two readings, as a share of one CPU."""
    used = after["units"][unit]["cpu_s"] - before["units"][unit]["cpu_s"]
    return float(used / (after["at"] - before["at"]))


def number_of(cpus: str) -> int:
    """How many CPUs a list of the kernel's has: 3 for "0-1,4"."""
    ends = [part.split("-") for part in cpus.split(",") if part]
    return sum(int(end[-1]) - int(end[0]) + 1 for end in ends)


def _placed(side: str, cpus: Mapping[str, str], loops: int, evidence: Evidence) -> Iterator[str]:
    for name, expected in cpus.items():
        effective = evidence["slices"].get(name)
        # A slice without a cgroup holds no process that it could confine.
        if effective and effective != expected:
            yield f"{name} has the CPUs {effective}, not {expected}"
    yield from _unit(evidence, SERVERS[side], SLICES[side], cpus)
    if loops:
        yield from _unit(evidence, NEIGHBOUR, ITS_SLICE, cpus)
        if len(_pids(evidence, NEIGHBOUR)) < loops:
            yield f"the neighbour has {len(_pids(evidence, NEIGHBOUR))} processes, not {loops}"
    elif _pids(evidence, NEIGHBOUR):
        yield "there is a neighbour where none should be"


def _unit(evidence: Evidence, unit: str, where: str, cpus: Mapping[str, str]) -> Iterator[str]:
    found = evidence["units"].get(unit)
    if not found or not found["pids"]:
        yield f"{unit} does not run"
    elif found["slice"] != where:
        yield f"{unit} is in {found['slice']}, not in {where}"
    elif found["allowed"] != [cpus[where]]:
        yield f"threads of {unit} may run on {' and '.join(found['allowed'])}, not on {cpus[where]}"


def _lasted(loops: int, cpus: str, before: Evidence, after: Evidence) -> Iterator[str]:
    share, most = cpu_share(NEIGHBOUR, before, after), min(loops, number_of(cpus))
    if share < BUSY * most:
        yield f"the neighbour used {share:.2f} CPUs of {most}, so it was none"


def _pids(evidence: Evidence, unit: str) -> list[int]:
    return (evidence["units"].get(unit) or {}).get("pids", [])
