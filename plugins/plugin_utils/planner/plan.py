# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The plan of a host, from its hardware and its users' wishes; docs/plan-schema.md explains every key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.releases import ids as release_ids
from ansible_collections.tfserving.fleet.plugins.module_utils.topology.schema import Topology

from ..phrases import counted, joined
from ..tables import surveyed
from ..wishes import checks as wish_fields
from ..wishes import policy as plan_policy
from ..wishes import read as wishes
from ..wishes import secrets as plan_secrets
from ..wishes.read import InstanceWish, ModelWish
from . import (
    cpu_mask,
    gpu_memory,
    gpus,
    held,
    housekeeping,
    instance,
    jemalloc,
    machine,
    memory,
    placement,
    sandbox,
    swaps,
)
from . import gate as serving_gate
from . import kernel as kernel_settings
from . import monitoring as watched
from . import partition as cpu_partition
from . import runtimes as server_runtimes
from .places import Place
from .schema import Half, InstancePlan, ModelPlan, Plan

SCHEMA = 1

AMD64 = ("x86_64", "amd64")


def host_plan(
    topology: Topology, instances: Any, models: Any, policy: Mapping[str, Any] | None = None, key: str = ""
) -> Plan:
    """Return the plan of one host as plain data.

    :param topology: the module host_topology's ``topology``.
    :param instances: ``tfserving_instances``.
    :param models: ``tfserving_models``.
    :param policy: settings that differ from ``plan_policy.DEFAULTS``.
    :param key: the host's key for digests of possible secrets; see wishes/secrets.py.
    :raises WishError: wishes are malformed (all reported at once), or this host cannot grant one.
    """
    settings = plan_policy.complete(policy)
    return of_wishes(topology, wishes.read(instances, models, settings), settings, key)


def of_wishes(topology: Topology, asked: wishes.Wishes, settings: Mapping[str, Any], key: str) -> Plan:
    """Return the plan of one host from parsed wishes; ``settings`` are the complete policy."""
    host = machine.read(topology)
    _refuse_wrong_builds(asked.instances, settings, settings["architecture"] or host.architecture)
    devices = gpus.read(topology, host)
    halves = housekeeping.split(host, settings["housekeeping"])
    assigned = gpus.assign(asked.instances, devices, gpus.uncut(topology), gpus.left_out(topology))
    _refuse_unfit_host(topology, asked.instances, assigned, settings)
    places = placement.place(asked.instances, [gpus.homes(each) for each in assigned], halves.cores, host.sockets)
    shares = gpu_memory.fractions(asked.instances, assigned, settings["memory"]["gpu_context_mb"])

    serving_mb = memory.serving_memory_mb(host, settings["memory"])
    allocator = _allocator(host, settings)
    release = release_ids.release(settings["version"], settings["install_method"], **settings["releases"])
    models = held.settle(asked.models, settings)
    site = instance.Site(host, bool(devices), models, settings, allocator, serving_mb, release, key)
    drafts = [instance.draft(site, *each) for each in zip(places, assigned, shares)]
    crowded = _settle_memory(site, drafts)
    planned = [instance.finish(site, drafted, crowded) for drafted in drafts]
    system = _half(host, halves.housekeeping, halves.housekeeping_reason)
    serving = _half(host, halves.serving, halves.serving_reason)
    partition = cpu_partition.partition(topology, system, serving, settings["extra_slices"])
    preloaded = [each.environment.get("LD_PRELOAD") for each in asked.instances]
    _add_units(planned, topology, site, assigned, preloaded)
    ports = [port for each in planned for port in (each["ports"]["grpc"], each["ports"]["rest"])]
    return {
        "schema": SCHEMA,
        "server": {"version": settings["version"], "method": settings["install_method"], "release": release},
        "paths": {"models": settings["paths"]["models"], "config": settings["paths"]["config"]},
        "allocator": dict(allocator),
        "housekeeping": system,
        "serving": serving,
        "instances": planned,
        "models": [_model(model, key) for model in models.values()],
        "warnings": [
            *(f"topology: {problem}" for problem in topology.get("problems") or ()),
            *_unsurveyed(settings["version"]),
            *asked.warnings,
            *held.warnings(asked.models.values(), settings),
            *halves.warnings,
            *_unfiltered(topology, planned, settings["address_rules"]),
            *(warning for drafted in drafts for warning in drafted.sheet.warnings),
            *_idle(places, halves),
        ],
        "partition": partition,
        "gate": serving_gate.gate(settings["gate"], planned),
        "monitoring": watched.monitoring(settings["monitoring"], settings["gate"], planned),
        "kernel": kernel_settings.settings(topology, settings["kernel"], bool(system["cpus"]), ports),
    }


def _unsurveyed(version: str) -> list[str]:
    """Warn of a release that nobody has surveyed."""
    if not surveyed.is_newer(version):
        return []
    return [
        f"tfserving_version: {version} was not surveyed, so it is planned for as {surveyed.newest()}, the newest"
        " release that was; its flags, the fields of its files and its needs of a host may differ"
    ]


def _unfiltered(topology: Topology, planned: list[InstancePlan], rules: str) -> list[str]:
    """Warn if systemd would accept the address rules, but the kernel would not enforce them."""
    mode = topology.get("cgroup_mode")
    if rules != "systemd" or not planned or mode in (None, "unified"):
        return []
    why = f"systemd filters no addresses where the cgroup hierarchy is {mode}"
    return [
        f"tfserving_address_rules: {why}, so anyone can connect to the servers, and they to anyone; set it to nftables"
    ]


def _add_units(
    planned: list[InstancePlan],
    topology: Topology,
    site: instance.Site,
    assigned: list[list[gpus.Gpu]],
    preloaded: list[str | None],
) -> None:
    """Add the lines of each instance's unit.

    ``preloaded`` is each instance's ``LD_PRELOAD`` from the wishes, the only variable there that names files.
    """
    enforced = cpu_partition.enforces_cpusets(topology)
    libraries = topology.get("driver_libraries") or []
    for each, devices, wished in zip(planned, assigned, preloaded):
        used = {gpu.index for gpu in devices}
        mine = [gpu for gpu in topology.get("gpus") or () if gpu["index"] in used]
        shown = wished or each["environment"].get("LD_PRELOAD", "")
        sealed = sandbox.lines(each, shown, site.release, mine, libraries, site.settings["paths"])
        each["unit"] = {**cpu_partition.lines(each, enforced), **sealed}


def _refuse_wrong_builds(instances: list[InstanceWish], settings: Mapping[str, Any], architecture: str) -> None:
    """Refuse servers that upstream does not build: its packages are for CPUs, and all its builds are for amd64."""
    method = settings["install_method"]
    if method != "archive" and architecture not in AMD64:
        raise WishError(
            "tfserving_install_method",
            f"is {method}, for which upstream builds x86_64 only, and this host is {architecture}",
            "use archive with a build of your own",
        )
    for wish in instances:
        if wish.gpus and method == "apt":
            raise WishError(
                f"{wish.path}.gpus",
                "asks for GPUs, and the packages that apt installs are CPU builds",
                "set tfserving_install_method to image or archive, or gpus to 0",
            )


def _refuse_unfit_host(
    topology: Topology,
    instances: list[InstanceWish],
    assigned: list[list[gpus.Gpu]],
    settings: Mapping[str, Any],
) -> None:
    """Refuse a C library, GPUs or a driver that the release does not run on, and GPUs that need a reboot first."""
    waits = settings["driver_waits_for_boot"]
    for wish, devices in zip(instances, assigned):
        if devices and waits:
            raise WishError(
                f"{wish.path}.gpus",
                f"asks for GPUs that this host can use only after a reboot: {joined(waits)}",
                "set nvidia_driver_reboot_ok, or reboot it and run this again",
            )
    used = {gpu.index for devices in assigned for gpu in devices}
    refusal = server_runtimes.check(
        topology,
        settings["version"],
        settings["install_method"],
        [gpu for gpu in topology.get("gpus") or () if gpu["index"] in used],
        allow_unproven=settings["allow_unproven_gpus"],
        allow_unsurveyed=settings["allow_unsurveyed_release"],
    )
    if refusal:
        raise refusal


def _allocator(host: machine.Machine, settings: Mapping[str, Any]) -> Mapping[str, str]:
    choice = settings["jemalloc"]
    if not choice["enabled"]:
        return {}
    return jemalloc.environment(choice["preset"], choice["conf"], settings["architecture"] or host.architecture)


def _settle_memory(site: instance.Site, drafts: list[instance.Draft]) -> set[int]:
    """Settle swaps and limits within the host's memory, and return the nodes that are short of it."""
    limits = site.settings["memory"]
    tenants = [drafted.tenant for drafted in drafts]
    swaps.settle_on_host(tenants, site.serving_mb, limits, site.settings["drain_then_swap"])
    memory.set_limits(tenants, site.serving_mb, limits)
    wanted = [(drafted.place.nodes, drafted.tenant.host_mb(limits)) for drafted in drafts]
    return memory.crowded_nodes(site.host, wanted, site.serving_mb)


def _half(host: machine.Machine, mask: int, reason: str) -> Half:
    # Either half may need more memory than its own nodes have; nearby memory is a preference of each process.
    return {
        "cpus": cpu_mask.listed(mask),
        "nodes": cpu_mask.listed(cpu_mask.of(host.memory) if mask else 0),
        "reason": reason,
    }


def _idle(places: list[Place], halves: housekeeping.Split) -> list[str]:
    """Return warnings for nodes, or cores of one kind, that no instance uses."""
    if not places:
        return []
    used = cpu_mask.union(place.mask for place in places)
    free = {node: [core for core in cores if not core.mask & used] for node, cores in halves.cores.items()}
    idle = {node: cores for node, cores in free.items() if cores == halves.cores[node]}
    warnings = []
    if idle:
        unused = counted(sum(map(len, idle.values())), "serving core")
        warnings.append(
            f"no instance uses the {unused} of {cpu_mask.named('node', cpu_mask.of(idle))}; an instance stays on one"
            f" node, so add one for each to {wishes.INSTANCES}"
        )
    auto = cpu_mask.union(place.nodes for place in places if not place.wish.cpus)
    for node, cores in free.items():
        if cores and node not in idle and auto >> node & 1:
            kind = "efficiency" if cores[0].efficiency else "performance"
            warnings.append(
                f"no instance uses the {counted(len(cores), f'{kind} core')} of node {node}; an instance on auto keeps"
                f" to one kind, so add one for them to {wishes.INSTANCES}"
            )
    return warnings


def _model(model: ModelWish, key: str) -> ModelPlan:
    """Return a model's entry in the plan, without possible secrets."""
    entry: ModelPlan = {
        "name": model.name,
        "path": model.path,
        "versions": list(model.versions),
        "provided": list(model.provided),
        "source": plan_secrets.planned_source(model, key),
        "serve": wish_fields.plain(model.serve),
        "keep": model.keep,
        "contract": model.contract,
        "probe": model.probe,
        "golden": model.golden,
        "warmup": model.warmup,
        "memory_mb": model.memory_mb,
    }
    if model.cache:
        entry["cache"] = dict(model.cache)
    if model.proofs:
        entry["proofs"] = {str(version): proof for version, proof in model.proofs.items()}
    if model.waits:
        entry["waits"] = model.waits
    if model.protected:
        entry["protected"] = list(model.protected)
    return entry
