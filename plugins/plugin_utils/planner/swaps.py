# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Choice between hot swap and drain for each model, by GPU memory and host memory.

The server's transition policy is fixed: it loads the new version before it unloads the old one, so both are in memory
during a swap. Models for which there is no room are drained instead, if the policy allows it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError

from .memory import Tenant

# A cold read from one disk, in MB/s. Models are read once, mostly from local SSDs or RAID, rarely slower than this.
READ_MB_PER_SECOND = 100


def load_seconds(size_mb: float) -> int:
    """Return the approximate load time of a version of this size."""
    return max(1, math.ceil(size_mb / READ_MB_PER_SECOND))


def settle_on_gpu(tenant: Tenant, capacity_mb: int | None, may_drain: bool) -> None:
    """Settle which models of an instance are swapped hot and which are drained, by the memory of its GPUs.

    Raise WishError if they do not fit and draining is not allowed or does not help.
    """
    resident_mb = tenant.resident_mb
    if resident_mb is None or capacity_mb is None:
        return
    _settle([tenant], lambda: resident_mb + tenant.swap_mb(), capacity_mb, "GPU memory", may_drain)


def settle_on_host(tenants: list[Tenant], capacity_mb: int | None, limits: Mapping[str, Any], may_drain: bool) -> None:
    """Settle the same for all instances of a host together, by host memory."""
    if capacity_mb is not None:

        def needed() -> int:
            return sum(tenant.host_mb(limits) or 0 for tenant in tenants)

        _settle([each for each in tenants if not each.on_gpu], needed, capacity_mb, "the host's memory", may_drain)


def _settle(tenants: list[Tenant], needed: Callable[[], int], capacity_mb: int, where: str, may_drain: bool) -> None:
    """Drain the largest models until the rest fits, or refuse."""
    while needed() > capacity_mb:
        hot = [
            (size, -place, name)
            for place, tenant in enumerate(tenants)
            for size, name in tenant.swaps
            if name not in tenant.drained and tenant.coming.get(name, 1)
        ]
        rolling = [(tenant, name) for tenant in tenants for name, coming in tenant.coming.items() if not coming]
        if rolling and not (hot and may_drain):
            raise _no_room_for_rollout(*rolling[0], needed(), capacity_mb, where)
        if not hot:
            raise _too_much(tenants, needed(), capacity_mb, where)
        size, place, name = max(hot)
        tenant = tenants[-place]
        if not may_drain:
            raise _no_room_for_two(tenant, name, size, needed(), capacity_mb, where)
        tenant.drained.add(name)
        tenant.sheet.warnings.append(
            f"{tenant.wish.path}: two versions of '{name}' do not fit into {where} ({capacity_mb} MB), so each new"
            f" version drains this host first: about {load_seconds(size)} s without its capacity"
        )


def _too_much(tenants: list[Tenant], needed: int, capacity_mb: int, where: str) -> WishError:
    path = f"{tenants[0].wish.path}.models" if len(tenants) == 1 else "tfserving_instances"
    return WishError(
        path,
        f"need {needed} MB of {where} even while nothing is swapped, and there are {capacity_mb} MB",
        "serve fewer models or versions here, or move some to another host",
    )


def _no_room_for_rollout(tenant: Tenant, name: str, needed: int, capacity_mb: int, where: str) -> WishError:
    return WishError(
        f"{tenant.wish.path}.models",
        f"hold '{name}' with all versions of its roll-out side by side, which takes {needed} MB of {where}, and there"
        f" are {capacity_mb} MB",
        "give it more memory, serve fewer models or versions here, or move some to another host",
    )


def _no_room_for_two(tenant: Tenant, name: str, size: int, needed: int, capacity_mb: int, where: str) -> WishError:
    return WishError(
        f"{tenant.wish.path}.models",
        f"hold '{name}', and its next version ({size} MB) does not fit beside the one in service: the server loads the"
        f" new one before it unloads the old one, which takes {needed} MB of {where}, and there are {capacity_mb} MB",
        f"give it more memory, or set drain_then_swap in host_plan_policy, which takes this host out of rotation for"
        f" about {load_seconds(size)} s at each new version",
    )
