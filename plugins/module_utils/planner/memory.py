# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Memory of the host: what the models need, what the system keeps, NUMA policy and limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.planner import cpu_mask
from ansible_collections.tfserving.fleet.plugins.module_utils.planner.machine import Machine
from ansible_collections.tfserving.fleet.plugins.module_utils.planner.reasons import Sheet
from ansible_collections.tfserving.fleet.plugins.module_utils.wishes import InstanceWish, ModelWish

# Room above the expected peak before the kernel slows the server down (high) and before it ends it (max): sizes are
# rough, and a leak has to be told from a large request.
HIGH_FACTOR = 1.5
MAX_FACTOR = 2.0


@dataclass
class Tenant:
    """What one instance holds in memory, in MB."""

    wish: InstanceWish
    sheet: Sheet
    resident_mb: int | None
    """All versions that are served, or None where a size is not known."""
    swaps: list[tuple[int, str]]
    """The size of one version of each model and its name, largest first."""
    at_once: int
    """How many models may be swapped at the same time: one for each load thread."""
    on_gpu: bool
    drained: set[str] = field(default_factory=set)
    """The models that leave before their next version comes."""

    def swap_mb(self) -> int:
        """Return what the largest swaps add for a moment: new versions beside old ones."""
        return sum([size for size, name in self.swaps if name not in self.drained][: self.at_once])

    def host_mb(self, limits: Mapping[str, Any]) -> int | None:
        """Return the most memory of the host that the instance is expected to take."""
        if self.resident_mb is None:
            return None
        models = self.resident_mb + self.swap_mb()
        if self.on_gpu:
            # Weights only pass through the host on their way to the GPU, also those of a drained model.
            models = sum([size for size, _ in self.swaps][: self.at_once])
        return int(limits["process_mb"] + limits["model_factor"] * models)


def tenant(wish: InstanceWish, sheet: Sheet, models: list[ModelWish], load_threads: int, on_gpu: bool) -> Tenant:
    """Return what the models of an instance take."""
    sizes = [(model.memory_mb, model) for model in models if model.memory_mb is not None]
    if len(sizes) < len(models):
        return Tenant(wish, sheet, None, [], load_threads, on_gpu)
    swaps = sorted(((size, model.name) for size, model in sizes), key=lambda swap: (-swap[0], swap[1]))
    return Tenant(wish, sheet, sum(size * model.resident() for size, model in sizes), swaps, load_threads, on_gpu)


def serving_memory_mb(machine: Machine, limits: Mapping[str, Any]) -> int | None:
    """Return the host's memory less what the system keeps, or None where it is not known."""
    if not machine.memory_mb:
        return None
    kept = min(max(machine.memory_mb * limits["system_share"], limits["system_least_mb"]), limits["system_most_mb"])
    # A tiny host keeps a quarter for itself, however little that is.
    return int(machine.memory_mb - min(kept, machine.memory_mb / 4))


def numa(sheet: Sheet, machine: Machine, nodes: int, crowded: set[int]) -> dict[str, str]:
    """Return the NUMA policy of an instance whose CPUs are on ``nodes`` (a mask), and the nodes that it names.

    ``crowded`` are the nodes whose memory may not be enough for the instances on them.
    """
    mask = machine.memory_nodes(nodes)
    listed = cpu_mask.listed(mask)
    if len(machine.memory) < 2:
        policy, listed, reason = "default", "", "the host has its memory in one place"
    elif cpu_mask.count(mask) > 1:
        policy = "interleave"
        reason = f"its CPUs are on several nodes: spread over nodes {listed}, no node's memory is the narrow part"
    elif cpu_mask.first(mask) in crowded:
        policy = "preferred"
        reason = f"the memory of node {listed} first; remote memory is slow, but better than an end for lack of memory"
    else:
        policy = "bind"
        reason = f"all that runs on node {listed} fits into its memory, so nothing needs to be remote"
    sheet.reasons["memory.policy"] = sheet.reasons["memory.mask"] = reason
    return {"policy": policy, "mask": listed}


def crowded_nodes(machine: Machine, tenants: list[tuple[int, int | None]], serving_mb: int | None) -> set[int]:
    """Return the nodes whose memory cannot be relied on to hold the instances there.

    ``tenants`` holds for each instance the mask of its nodes and the memory it is expected to take; an instance of
    unknown size may fill any node.
    """
    share = serving_mb / machine.memory_mb if serving_mb else 0.0
    left: dict[int, float] = {node: memory_mb * share for node, memory_mb in machine.memory.items()}
    for nodes, expected in tenants:
        mask = machine.memory_nodes(nodes)
        for node in left:
            if mask >> node & 1:
                left[node] -= float("inf") if expected is None else expected
    return {node for node, room in left.items() if room < 0}


def limits(sheet: Sheet, expected: int | None, serving_mb: int | None) -> dict[str, int | None]:
    """Return where the kernel slows an instance down and where it ends it, in MB."""
    sheet.reasons["memory.expected_mb"] = "the process, and 1.2 times its models with both versions of a swap"
    if expected is None:
        sheet.reasons["memory.expected_mb"] = "not known: give every model its memory_mb"
        sheet.reasons["memory.high_mb"] = "none: the size of a model is not known (memory_mb)"
        sheet.reasons["memory.max_mb"] = "all but what the system keeps, so that a leak ends this server, not the host"
        return {"high_mb": None, "max_mb": serving_mb}
    high, most = int(expected * HIGH_FACTOR), int(expected * MAX_FACTOR)
    if serving_mb is not None:
        high, most = min(high, serving_mb), min(most, serving_mb)
    peak = f"the expected peak of {expected} MB, both versions of a swap included"
    sheet.reasons["memory.high_mb"] = f"{HIGH_FACTOR:g} times {peak}"
    sheet.reasons["memory.max_mb"] = f"{MAX_FACTOR:g} times {peak}, within what the system leaves"
    return {"high_mb": high, "max_mb": most}
