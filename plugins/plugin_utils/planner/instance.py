# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The plan of one instance: drafted from its own place, finished once all instances of the host are drafted."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.releases.ids import Release

from ..wishes import secrets as plan_secrets
from ..wishes.read import ModelWish
from . import batching, cpu_mask, gpu_memory, gpus, memory, placement, server, swaps, threads
from .machine import Machine
from .places import Place
from .reasons import Sheet
from .schema import Figures, InstancePlan, Ports


@dataclass
class Site:
    """The data that all instances of a host share."""

    host: Machine
    has_gpus: bool
    models: dict[str, ModelWish]
    settings: Mapping[str, Any]
    """The complete policy."""
    allocator: Mapping[str, str]
    """The variables that preload the memory allocator."""
    serving_mb: int | None
    """The host's memory less what the system keeps."""
    release: Release
    """The server's release, from ``release_ids.release``."""
    key: str = ""
    """The host's key for digests of what may be secret."""


@dataclass
class Draft:
    """An instance as far as it can be planned by itself."""

    place: Place
    gpus: list[gpus.Gpu]
    shared: bool
    """Whether another instance is on one of its GPUs."""
    models: list[ModelWish]
    figures: Figures
    tenant: memory.Tenant
    sheet: Sheet


def draft(site: Site, place: Place, devices: list[gpus.Gpu], fraction: float | None) -> Draft:
    """Settle everything that depends only on the instance's own CPUs and GPUs."""
    wish, settings = place.wish, site.settings
    sheet = Sheet(threads.figures(wish.tuned))
    cpus = cpu_mask.count(place.mask)
    models = [site.models[name] for name in wish.models]
    placement.explain(sheet, place)
    gpus.explain(sheet, wish, devices)
    settled = gpu_memory.settle(sheet, wish, devices, fraction)
    batches = batching.batching(sheet, wish, cpus, len(devices), settings)
    pools = threads.threads(sheet, wish, cpus, settings["profiles"][wish.profile], batches)
    ports: Ports = {"grpc": wish.ports["grpc"], "rest": wish.ports["rest"]}
    figures: Figures = {"ports": ports, "threads": pools, "batching": batches, "gpu_memory_fraction": settled}
    tenant = memory.tenant(wish, sheet, models, pools["load"], bool(devices))
    capacity = gpu_memory.capacity_mb(devices, settled, settings["memory"]["gpu_context_mb"])
    swaps.settle_on_gpu(tenant, capacity, settings["drain_then_swap"])
    return Draft(place, devices, fraction is not None, models, figures, tenant, sheet)


def finish(site: Site, drafted: Draft, crowded: set[int]) -> InstancePlan:
    """Return the plan of an instance except for its unit; ``crowded`` are the nodes short of memory."""
    wish, sheet, settings = drafted.place.wish, drafted.sheet, site.settings
    nodes = drafted.place.nodes
    expected = drafted.tenant.host_mb(settings["memory"])
    variables = server.environment(sheet, wish, drafted.gpus, drafted.shared, site.has_gpus, vars(site))
    sealed = plan_secrets.planned_environment(wish, variables, site.key)
    instance: InstancePlan = {
        "name": wish.name,
        "models": list(wish.models),
        "server": {
            "id": site.release["id"],
            "binary": site.release["binary"],
            "chroot": site.release["chroot"],
            "version": settings["version"],
        },
        "profile": wish.profile,
        "slo_p99_ms": wish.slo_p99_ms,
        "objective_p99_ms": wish.slo_p99_ms or settings["profiles"][wish.profile]["slo_p99_ms"],
        "cpus": cpu_mask.listed(drafted.place.mask),
        "nodes": cpu_mask.listed(nodes),
        "gpus": [gpu.identity for gpu in drafted.gpus],
        **drafted.figures,
        "memory": {
            **memory.numa(sheet, site.host, nodes, crowded),
            "high_mb": drafted.tenant.high_mb,
            "max_mb": drafted.tenant.max_mb,
            "expected_mb": expected,
        },
        "swap": {name: "drain" if name in drafted.tenant.drained else "hot" for name in wish.models},
        "model_config": server.model_config(drafted.models, settings["paths"]["models"]),
        "monitoring": {"prometheus_config": {"enable": True, "path": settings["metrics_path"]}},
        "flags": server.flags(sheet, wish, drafted.figures, drafted.models, settings),
        "environment": sealed["environment"],
        "environment_digests": sealed["environment_digests"],
        "start_timeout_s": server.start_timeout_s(sheet, drafted.models, bool(drafted.gpus)),
        "reasons": sheet.reasons,
        "overrides": sheet.overrides,
        "digest": "",
        "unit": {},
    }
    instance["digest"] = _digest(instance, settings)
    return instance


# A running server cannot pick these up, so a change to any of them needs a restart. Models are hot-reloaded, and limits
# of memory and time concern systemd alone.
RESTART_KEYS = ("server", "cpus", "gpus", "batching", "monitoring", "flags", "environment", "environment_digests")


_encoded = json.JSONEncoder(sort_keys=True).encode


def _digest(instance: InstancePlan, settings: Mapping[str, Any]) -> str:
    """Return a short digest that changes exactly when the instance needs a restart."""
    numa = {"policy": instance["memory"]["policy"], "mask": instance["memory"]["mask"]}
    figures: Mapping[str, Any] = instance
    what = [numa, {key: figures[key] for key in RESTART_KEYS}]
    return hashlib.sha256(_encoded(what).encode()).hexdigest()[:12]
