# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The split of a host's cores between the system and serving."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..phrases import counted
from . import cpu_mask
from .machine import Core, Machine


@dataclass
class Split:
    """The two halves of a host."""

    housekeeping: int
    serving: int
    cores: dict[int, list[Core]]
    """The serving cores by node."""
    housekeeping_reason: str
    serving_reason: str
    warnings: list[str]


def split(machine: Machine, policy: Mapping[str, Any]) -> Split:
    """Keep whole cores for the system, on every node or on as few nodes as possible; a small host is not split."""
    total = sum(map(len, machine.cores.values()))
    if total < policy["smallest_host_cores"]:
        return _whole(machine, total, policy["smallest_host_cores"])
    wanted = _wanted(machine, total, policy)
    kept: dict[int, list[Core]] = {}
    serving: dict[int, list[Core]] = {}
    for node, cores in machine.cores.items():
        kept[node] = sorted(cores, key=_most_dispensable)[: wanted[node]]
        serving[node] = [core for core in cores if core not in kept[node]]
    if not any(kept.values()):
        boot = _boot_node(machine)
        kept[boot], serving[boot] = serving[boot], []
    return _split(machine, kept, serving)


def _boot_node(machine: Machine) -> int:
    return min(machine.cores, key=lambda node: machine.cores[node][0].first)


def _wanted(machine: Machine, total: int, policy: Mapping[str, Any]) -> dict[int, int]:
    """Return how many cores each node keeps for the system."""
    # A node never gives up its last core: it would have no CPU left to serve from.
    wanted = {node: min(_wanted_of(len(cores), policy), len(cores) - 1) for node, cores in machine.cores.items()}
    most = math.ceil(total * policy["largest_share"])
    if policy["cores_per_node"] != "auto" or sum(wanted.values()) <= most:
        return wanted
    # Many small nodes (one for each cache or each quarter of a chip): keep cores on the nodes with NICs, as many as a
    # host of this size keeps on a single node. They take the interrupts of devices on other nodes as well.
    near = sum(wanted.get(node, 0) for node in machine.nic_nodes)
    left = min(most, max(near, _wanted_of(total, policy)))
    boot = _boot_node(machine)
    result = dict.fromkeys(wanted, 0)
    for node in sorted(wanted, key=lambda node: (node not in machine.nic_nodes, node != boot, node)):
        result[node] = min(wanted[node], left)
        left -= result[node]
    return result


def _wanted_of(cores: int, policy: Mapping[str, Any]) -> int:
    if policy["cores_per_node"] != "auto":
        return int(policy["cores_per_node"])
    return 1 if cores <= policy["large_node_cores"] else 2


def _most_dispensable(core: Core) -> tuple[bool, int]:
    # Slow cores are good enough for the system. Among equals, the lowest goes first: CPU 0 boots the host, takes the
    # interrupts that nobody steers, and cannot be freed from the kernel's own work.
    return not core.efficiency, core.first


def _split(machine: Machine, kept: Mapping[int, list[Core]], serving: Mapping[int, list[Core]]) -> Split:
    housekeeping = cpu_mask.union(core.mask for cores in kept.values() for core in cores)
    total = sum(map(len, kept.values()))
    slow = " (efficiency cores first)" if machine.hybrid else ""
    nics = cpu_mask.of(machine.nic_nodes)
    where_nics = f"; NICs on {cpu_mask.named('node', nics)}" if nics else ""
    return Split(
        housekeeping=housekeeping,
        serving=machine.online & ~housekeeping,
        cores={node: cores for node, cores in serving.items() if cores},
        housekeeping_reason=f"{counted(total, 'whole core')}{slow} for the system, agents and interrupts:"
        f" {_by_node(kept)}{where_nics}",
        serving_reason=f"every other online CPU: {counted(sum(map(len, serving.values())), 'core')}",
        warnings=[],
    )


def _by_node(kept: Mapping[int, list[Core]]) -> str:
    """Return the number of cores kept on each node: ``1 on node 2, 2 on each of nodes 0-1``."""
    nodes: dict[int, int] = {}
    for node, cores in kept.items():
        nodes[len(cores)] = nodes.get(len(cores), 0) | 1 << node
    return ", ".join(
        f"{number} on {'each of ' if cpu_mask.count(mask) > 1 else ''}{cpu_mask.named('node', mask)}"
        for number, mask in sorted(nodes.items())
        if number
    )


def _whole(machine: Machine, total: int, smallest: int) -> Split:
    why = f"the host has {counted(total, 'core')} online, fewer than the {smallest} from which it is split"
    return Split(
        housekeeping=0,
        serving=machine.online,
        cores=machine.cores,
        housekeeping_reason=f"the system shares all CPUs with the servers: {why}",
        serving_reason=f"all online CPUs, shared with the system: {why}",
        warnings=[f"{why}; the system and the servers share all CPUs"],
    )
