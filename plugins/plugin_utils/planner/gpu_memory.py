# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Division of a GPU's memory among the instances that share it."""

from __future__ import annotations

import math

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError, described

from ..phrases import counted
from ..wishes.read import InstanceWish
from .gpus import Gpu
from .reasons import Sheet

FLAG = "per_process_gpu_memory_fraction"

# If the driver does not report a shared GPU's memory, this share of it is divided; the rest is for the CUDA contexts.
BLIND_SHARE = 0.9


def fractions(wishes: list[InstanceWish], assigned: list[list[Gpu]], context_mb: int) -> list[float | None]:
    """Return each instance's share of its GPUs' memory, None if it has its GPUs to itself.

    The flag is one number for all GPUs of a process, so the tightest GPU decides. Shares are of a GPU's total memory.
    Raise WishError if a GPU is too small for its tenants, or if the shares that users set exceed the whole.
    """
    tenants: dict[Gpu, list[int]] = {}
    for place, gpus in enumerate(assigned):
        for gpu in gpus:
            tenants.setdefault(gpu, []).append(place)
    result: list[float | None] = [None] * len(wishes)
    for gpu, places in tenants.items():
        if len(places) > 1:
            _divide(gpu, places, wishes, context_mb, result)
    for gpu, places in tenants.items():
        if len(places) > 1:
            _refuse_more_than_all(gpu, places, wishes, result)
    return result


def _divide(
    gpu: Gpu, places: list[int], wishes: list[InstanceWish], context_mb: int, result: list[float | None]
) -> None:
    contexts = context_mb * len(places)
    free = 1 - contexts / gpu.memory_mb if gpu.memory_mb else BLIND_SHARE
    weights = sum(wishes[place].weight for place in places)
    for place in places:
        # Rounded down: a thousandth too much for each would make the last one fail.
        share = math.floor(1000 * free * wishes[place].weight / weights) / 1000
        if share <= 0:
            raise WishError(
                f"{wishes[place].path}.gpus",
                f"shares {gpu.label} with {counted(len(places) - 1, 'other instance')}, and nothing of its"
                f" {gpu.memory_mb} MB is left beside {context_mb} MB for the CUDA context of each",
                "put fewer instances on it",
            )
        known = result[place]
        result[place] = share if known is None else min(known, share)


def _refuse_more_than_all(gpu: Gpu, places: list[int], wishes: list[InstanceWish], planned: list[float | None]) -> None:
    shares = [_wished(wishes[place]) if FLAG in wishes[place].flags else planned[place] for place in places]
    total = sum(share or 0 for share in shares)
    for place, share in zip(places, shares):
        if FLAG in wishes[place].flags and (total > 1 or share == 0):
            problem = "is 0, which means all" if share == 0 else f"brings {gpu.label} to {total:.0%} of its memory"
            raise WishError(
                f"{wishes[place].path}.flags.{FLAG}",
                f"{problem}, and other instances share it",
                "lower it, or leave it out and use weight",
            )


def _wished(wish: InstanceWish) -> float:
    value: object = wish.flags[FLAG]
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 1:
        return value
    raise WishError(f"{wish.path}.flags.{FLAG}", f"is {described(value)}", "give a share from 0 to 1")


def settle(sheet: Sheet, wish: InstanceWish, gpus: list[Gpu], fraction: float | None) -> float | None:
    """Return the share of GPU memory, the user's before the planned one."""
    wished = _wished(wish) if FLAG in wish.flags else None
    reason = "no other instance shares its GPUs, so it may use all of their memory"
    if not gpus:
        reason = "it has no GPU"
    elif fraction is not None:
        reason = "its GPUs are shared: their memory, minus a CUDA context for each process, divided by weight"
    return sheet.settle("gpu_memory_fraction", fraction, reason, wished)


def capacity_mb(gpus: list[Gpu], fraction: float | None, context_mb: int) -> int | None:
    """Return how much GPU memory an instance may fill, or None if that is not known."""
    if not gpus or any(not gpu.memory_mb for gpu in gpus):
        return None
    if fraction:
        return sum(int(gpu.memory_mb * fraction) for gpu in gpus)
    return sum(max(0, gpu.memory_mb - context_mb) for gpu in gpus)
