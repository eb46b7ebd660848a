# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Memory of the host: needs of the models, the system's share, NUMA policy and limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError

from ..phrases import counted
from ..wishes.read import InstanceWish, ModelWish
from . import cpu_mask
from .machine import Machine
from .reasons import Sheet
from .schema import Numa

# Multiples of the expected peak at which the kernel throttles the server (high) and kills it (max): sizes are rough,
# and a leak must be told from a large request.
HIGH_FACTOR = 1.5
MAX_FACTOR = 2.0


@dataclass
class Tenant:
    """The memory of one instance, in MB."""

    wish: InstanceWish
    sheet: Sheet
    resident_mb: int | None
    """All served versions, or None if a size is not known."""
    swaps: list[tuple[int, str]]
    """The size of one version of each model, and the model's name, largest first."""
    at_once: int
    """The number of models that may be swapped at the same time: one for each load thread."""
    on_gpu: bool
    coming: dict[str, int] = field(default_factory=dict)
    """The versions that a change loads beside the resident ones, by model: usually one, none while a roll-out has both
    in memory."""
    drained: set[str] = field(default_factory=set)
    """The models that are unloaded before their next version is loaded."""
    high_mb: int | None = None
    """The limit at which the kernel throttles the instance; None if the sizes of its models are unknown."""
    max_mb: int | None = None
    """The limit at which the kernel kills it; None if the host's memory is unknown as well."""

    def swap_mb(self) -> int:
        """Return the temporary need of the largest swaps, which hold new versions beside old ones."""
        hot = [size * self.coming.get(name, 1) for size, name in self.swaps if name not in self.drained]
        return sum(sorted(hot, reverse=True)[: self.at_once])

    def host_mb(self, limits: Mapping[str, Any]) -> int | None:
        """Return the peak of host memory that the instance is expected to use."""
        if self.resident_mb is None:
            return None
        models = self.resident_mb + self.swap_mb()
        if self.on_gpu:
            # Weights only pass through host memory on their way to the GPU, those of a drained model too.
            models = sum([size for size, _name in self.swaps][: self.at_once])
        return int(limits["process_mb"] + limits["model_factor"] * models)


def tenant(wish: InstanceWish, sheet: Sheet, models: list[ModelWish], load_threads: int, on_gpu: bool) -> Tenant:
    """Return the memory that the models of an instance need."""
    sizes = [(model.memory_mb, model) for model in models if model.memory_mb is not None]
    if len(sizes) < len(models):
        return Tenant(wish, sheet, None, [], load_threads, on_gpu)
    swaps = sorted(((size, model.name) for size, model in sizes), key=lambda swap: (-swap[0], swap[1]))
    coming = {model.name: model.coming for model in models}
    resident_mb = sum(size * model.resident() for size, model in sizes)
    return Tenant(wish, sheet, resident_mb, swaps, load_threads, on_gpu, coming)


def serving_memory_mb(machine: Machine, limits: Mapping[str, Any]) -> int | None:
    """Return the host's memory less the system's share, or None if it is not known."""
    if not machine.memory_mb:
        return None
    kept = min(max(machine.memory_mb * limits["system_share"], limits["system_least_mb"]), limits["system_most_mb"])
    # On a tiny host the system keeps no more than a quarter, however little that is.
    return int(machine.memory_mb - min(kept, machine.memory_mb / 4))


def numa(sheet: Sheet, machine: Machine, nodes: int, crowded: set[int]) -> Numa:
    """Return the NUMA policy of an instance whose CPUs are on ``nodes`` (a mask), with the nodes it applies to.

    ``crowded`` are the nodes whose memory may not suffice for the instances on them.
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
        reason = (
            f"the memory of node {listed} first; remote memory is slow, but better than being killed for lack of memory"
        )
    else:
        policy = "bind"
        reason = f"all that runs on node {listed} fits into its memory, so nothing needs to be remote"
    sheet.reasons["memory.policy"] = sheet.reasons["memory.mask"] = reason
    return {"policy": policy, "mask": listed}


def crowded_nodes(machine: Machine, tenants: list[tuple[int, int | None]], serving_mb: int | None) -> set[int]:
    """Return the nodes whose memory may not suffice for the instances there.

    ``tenants`` holds, for each instance, the mask of its nodes and its expected memory; an instance of unknown size
    may fill any node.
    """
    share = serving_mb / machine.memory_mb if serving_mb else 0.0
    left: dict[int, float] = {node: memory_mb * share for node, memory_mb in machine.memory.items()}
    for nodes, expected in tenants:
        mask = machine.memory_nodes(nodes)
        for node in left:
            if mask >> node & 1:
                left[node] -= float("inf") if expected is None else expected
    return {node for node, room in left.items() if room < 0}


def set_limits(tenants: list[Tenant], serving_mb: int | None, limits: Mapping[str, Any]) -> None:
    """Set the limits at which the kernel throttles and kills each instance.

    The hard limits never add up to more than ``serving_mb``, so no two instances count on the same memory. Raise
    WishError if there is not even room for the processes.
    """
    known = [(tenant, expected) for tenant in tenants if (expected := tenant.host_mb(limits)) is not None]
    blind = [tenant for tenant in tenants if tenant.resident_mb is None]
    expected_mb = sum(expected for _tenant, expected in known)
    factor = MAX_FACTOR
    if serving_mb is not None:
        blind_mb = _blind_mb(tenants, blind, expected_mb, serving_mb)
        _refuse_no_room(blind, blind_mb, expected_mb, limits)
        _divide(blind, blind_mb, len(tenants))
        factor = min(MAX_FACTOR, (serving_mb - blind_mb) / max(1, expected_mb))
    for tenant, expected in known:
        _set_known(tenant, expected, factor, limits["model_factor"])
    if serving_mb is None:
        for tenant in blind:
            _explain_blind(tenant, "none: neither the host's memory nor the size of its models (memory_mb) is known")


def _blind_mb(tenants: list[Tenant], blind: list[Tenant], expected_mb: int, serving_mb: int) -> int:
    """Return the memory for all instances of unknown size together.

    It is what the others' limits leave or, if that is less, a share by weight within what the others are not expected
    to use.
    """
    if not blind:
        return 0
    weights = _weights(tenants)
    share = serving_mb * sum(weights[id(each)] for each in blind) / sum(weights.values())
    return int(max(serving_mb - MAX_FACTOR * expected_mb, min(share, serving_mb - expected_mb)))


def _weights(tenants: list[Tenant]) -> dict[int, float]:
    """Return weights relative to the largest, so that their sum is always finite."""
    most = max(tenant.wish.weight for tenant in tenants)
    return {id(tenant): tenant.wish.weight / most for tenant in tenants}


def _refuse_no_room(blind: list[Tenant], blind_mb: int, expected_mb: int, limits: Mapping[str, Any]) -> None:
    """Refuse instances of unknown size beside others that need all memory; on a host too small anyway, only warn."""
    if not blind or blind_mb >= len(blind) * limits["process_mb"]:
        return
    beside = f" beside the {expected_mb} MB that the other instances are expected to take" if expected_mb else ""
    error = WishError(
        f"{blind[0].wish.path}.models",
        f"have no memory_mb, and of the host's memory {max(0, blind_mb)} MB are left for"
        f" {counted(len(blind), 'instance')} of unknown size{beside}; a server without a model takes"
        f" {limits['process_mb']} MB",
        "move instances to another host, or give every model its memory_mb",
    )
    if expected_mb:
        raise error
    blind[0].sheet.warnings.append(str(error))


def _divide(blind: list[Tenant], blind_mb: int, instances: int) -> None:
    """Divide memory by weight among instances of unknown size."""
    weights = _weights(blind) if blind else {}
    for tenant in blind:
        tenant.max_mb = int(blind_mb * weights[id(tenant)] / sum(weights.values()))
        reason = "all that the system leaves, so that a leak ends this server and not the host"
        if instances > 1:
            reason = (
                f"its share by weight {tenant.wish.weight:g} of what is there for instances of unknown size, so that"
                " all limits together are within the serving memory"
            )
        _explain_blind(
            tenant, f"{reason}; a guess, since the size of its models is not known: memory_mb makes it a figure"
        )


def _explain_blind(tenant: Tenant, most: str) -> None:
    tenant.sheet.reasons["memory.expected_mb"] = "not known: give every model its memory_mb"
    tenant.sheet.reasons["memory.high_mb"] = "none: the size of a model is not known (memory_mb)"
    tenant.sheet.reasons["memory.max_mb"] = most


def _set_known(tenant: Tenant, expected: int, factor: float, model_factor: float) -> None:
    # The room above the peak shrinks with the hard limit; the soft limit keeps its relative place within it.
    brake = 1 + (factor - 1) * (HIGH_FACTOR - 1) / (MAX_FACTOR - 1)
    tenant.high_mb, tenant.max_mb = int(expected * brake), int(expected * factor)
    peak = f"the expected peak of {expected} MB, both versions of a swap included"
    tight = "" if factor == MAX_FACTOR else ", all that the limits of the others leave within the serving memory"
    reasons = tenant.sheet.reasons
    reasons["memory.expected_mb"] = f"the process, and {model_factor:g} times its models with both versions of a swap"
    reasons["memory.high_mb"] = f"{brake:.3g} times {peak}{tight}"
    reasons["memory.max_mb"] = f"{factor:.3g} times {peak}{tight}"
