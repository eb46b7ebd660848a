# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The CPU partition of a host: the CPUs of each systemd unit, the targets of interrupts, the limits of each instance.

Pure: topology and plan in, plain data out. cpusets.py, affinity.py and interrupts.py in module_utils/kernel apply it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from ansible_collections.tfserving.fleet.plugins.module_utils import cpu_list
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError, quoted
from ansible_collections.tfserving.fleet.plugins.module_utils.kernel.names import AFFINITY, CPUSET, NONE, SERVING_UNIT
from ansible_collections.tfserving.fleet.plugins.module_utils.topology.schema import Topology

from .machine import shares_kernel
from .schema import BootParameter, Half, InstancePlan, Interrupts, Partition, Slice

# Everything that systemd starts is in one of these: services, logins, virtual machines and containers, systemd itself.
HOUSEKEEPING_UNITS = ("system.slice", "user.slice", "machine.slice", "init.scope")

# The role's templates for one way alone, and those for interrupts.
AFFINITY_FILES = ("etc/systemd/system.conf.d/*",)
INTERRUPT_FILES = (
    "etc/default/*",
    "etc/systemd/system/*interrupts*",
    "etc/systemd/system/irqbalance.service.d/*",
    "etc/systemd/system/multi-user.target.d/*",
    "usr/**",
)


def partition(topology: Topology, housekeeping: Half, serving: Half, extra_slices: Sequence[str] = ()) -> Partition:
    """Return the CPU partition of a planned host.

    :param topology: what the module host_topology returned as ``topology``.
    :param housekeeping: the CPUs of the system.
    :param serving: all other CPUs.
    :param extra_slices: further top-level slices to keep on the housekeeping CPUs, such as ``kubepods.slice``.
    :raises WishError: an extra slice is not a slice directly below the root.
    :returns: ``mode`` and ``reason``; ``cpus`` (all that the host may use) and ``housekeeping``; ``slices`` (each
        ``name``, ``section``, ``cpus``, ``nodes``, ``reason``; empty ``nodes`` mean all); ``irqs`` (``cpus``,
        ``mask``, ``banned``, ``local``, ``reason``; None if the host does not control its interrupts); ``boot``
        (``name``, ``parameter``, ``reason`` of each boot parameter that a user may ask for), ``exclude`` (the role's
        templates that this host does not need) and ``warnings``.
    """
    _refuse_other_units(extra_slices)
    contained = shares_kernel(topology)
    split = bool(housekeeping["cpus"])
    mode = NONE if not split else CPUSET if enforces_cpusets(topology) else AFFINITY
    steered = split and not contained
    return {
        "mode": mode,
        "reason": housekeeping["reason"],
        "cpus": cpu_list.format(cpu["id"] for cpu in topology["cpus"] if cpu["online"]),
        "housekeeping": housekeeping["cpus"],
        "slices": _slices(topology, housekeeping, serving, extra_slices) if mode == CPUSET else [],
        "irqs": _interrupts(topology, housekeeping, serving) if steered else None,
        "boot": _boot(housekeeping["cpus"], serving["cpus"]) if steered else [],
        "exclude": [*(() if mode == AFFINITY else AFFINITY_FILES), *(() if steered else INTERRUPT_FILES)],
        "warnings": [_weaker(topology, contained)] if mode == AFFINITY else [],
    }


def _refuse_other_units(extra_slices: Sequence[str]) -> None:
    for name in extra_slices:
        if not re.fullmatch(r"[a-z0-9_]{1,64}\.slice", name) or name in (SERVING_UNIT, *HOUSEKEEPING_UNITS):
            remedy = "name a slice directly below the root, such as kubepods.slice"
            raise WishError("cpu_partition_extra_slices", f"{quoted(name)} cannot be kept away from serving", remedy)


def enforces_cpusets(topology: Topology) -> bool:
    """Return whether systemd can use cpusets on this host."""
    return topology.get("cgroup_mode") == "unified" and not shares_kernel(topology)


def lines(instance: InstancePlan, enforced: bool) -> dict[str, str]:
    """Return the directives that confine an instance's unit to its CPUs and memory, with their values.

    :param enforced: the result of enforces_cpusets for the host. With cpusets, CPUAffinity= is of no use: kernels
        before 6.2 forget it as soon as a cpuset changes anywhere above the process (systemd#23748).
    """
    memory = instance["memory"]
    found = {}
    if instance["cpus"]:
        found["AllowedCPUs" if enforced else "CPUAffinity"] = instance["cpus"]
    if memory["policy"] != "default":
        found["NUMAPolicy"] = memory["policy"]
        found["NUMAMask"] = memory["mask"]
    # Under other policies memory may spill to other nodes, which a cpuset would forbid.
    if memory["policy"] == "bind" and enforced:
        found["AllowedMemoryNodes"] = memory["mask"]
    for directive, figure in (("MemoryHigh", memory["high_mb"]), ("MemoryMax", memory["max_mb"])):
        if figure is not None:
            found[directive] = f"{figure}M"
    return found


def mask(numbers: Iterable[int]) -> str:
    """Return CPUs in the kernel's mask format: hexadecimal, in comma-separated groups of 32 bits ("1,00000101")."""
    bits = sum(1 << number for number in set(numbers))
    groups = []
    while bits:
        groups.append(bits & 0xFFFFFFFF)
        bits >>= 32
    return ",".join(f"{group:08x}" for group in reversed(groups)).lstrip("0,") or "0"


def _slices(topology: Topology, housekeeping: Half, serving: Half, extra: Sequence[str]) -> list[Slice]:
    found: list[Slice] = []
    for half, names in ((serving, [SERVING_UNIT]), (housekeeping, [*HOUSEKEEPING_UNITS, *extra])):
        nodes = _narrower(topology, half["nodes"])
        found += [
            {
                "name": name,
                "section": name.rpartition(".")[2].capitalize(),
                "cpus": half["cpus"],
                "nodes": nodes,
                "reason": half["reason"],
            }
            for name in names
        ]
    return found


def _narrower(topology: Topology, nodes: str) -> str:
    """Return the nodes to confine to, or "" if they hold all memory: listing all would bar nodes added later."""
    everything = {node["id"] for node in topology.get("nodes") or () if node["memory_mb"]}
    return nodes if everything - set(cpu_list.parse(nodes)) and nodes else ""


def _interrupts(topology: Topology, housekeeping: Half, serving: Half) -> Interrupts:
    kept = cpu_list.parse(housekeeping["cpus"])
    home = {cpu["id"]: cpu["node"] for cpu in topology["cpus"]}
    local: dict[int, list[int]] = {}
    for cpu in kept:
        node = home.get(cpu)
        if node is not None:
            local.setdefault(node, []).append(cpu)
    return {
        "cpus": housekeeping["cpus"],
        "mask": mask(kept),
        "banned": serving["cpus"],
        "local": [{"node": node, "cpus": cpu_list.format(cpus)} for node, cpus in sorted(local.items())],
        "reason": "interrupts go to the housekeeping CPUs, those of a device to the ones on its own node",
    }


def _boot(housekeeping: str, serving: str) -> list[BootParameter]:
    """Return the boot parameters that users may ask for, since nothing else has their effect.

    Source: https://docs.kernel.org/admin-guide/kernel-parameters.html

    isolcpus=domain is left out: it takes CPUs out of load balancing, so all threads of a server would stay on the CPU
    where they were started.
    """
    return [
        {
            "name": "managed_irq",
            "parameter": f"isolcpus=managed_irq,{serving}",
            "reason": "keeps the interrupts of NVMe disks away, which the kernel lets nobody move at run time",
        },
        {
            "name": "irqaffinity",
            "parameter": f"irqaffinity={housekeeping}",
            "reason": "interrupts of drivers that load early begin on the housekeeping CPUs",
        },
        {
            "name": "rcu_nocbs",
            "parameter": f"rcu_nocbs={serving}",
            "reason": "the kernel's deferred work is done by threads, on the housekeeping CPUs",
        },
        {
            "name": "nohz_full",
            "parameter": f"nohz_full={serving}",
            "reason": "stops the timer on CPUs with a single thread; system calls get more expensive: measure first",
        },
    ]


def _weaker(topology: Topology, contained: bool) -> str:
    if contained:
        why, remedy = "this is a container", "cpusets and interrupts are up to the host around it"
    else:
        why = f"the cgroup hierarchy is {topology.get('cgroup_mode') or 'missing'}"
        remedy = "boot with systemd.unified_cgroup_hierarchy=1 to have the kernel enforce it"
    return (
        f"{why}: CPUs are kept apart by affinity alone, which any process may widen for itself and which holds no"
        f" memory to its node; {remedy}"
    )
