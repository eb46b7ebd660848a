# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The hardware of one host as one dictionary: CPUs, NUMA nodes, GPUs, NICs and the kernel's own facts.

Everything is read from sysfs and procfs. `lscpu` is not used: it reads the same files, and where core ids repeat (Arm
servers number cores per cluster) it counts too few cores.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import NamedTuple

from .. import cpu_list
from ..host.sysfs import Tree
from ..visible_text import visible
from . import devices as topology_devices
from . import gpu_memory as topology_gpu_memory
from . import host as topology_host
from .confinement import Allowed, read_allowed, read_cgroups
from .schema import Cpu, HugePages, Node, Topology

CPU = "sys/devices/system/cpu"
NODE = "sys/devices/system/node"
HUGEPAGES = "sys/kernel/mm/hugepages"

# A core counts as an efficiency core below this share of the fastest core's capacity or clock. Efficiency cores reach
# 0.69 to 0.81 of their neighbours (Zen 4c beside Zen 4, Cortex-A725 beside X925, Skymont beside Lion Cove), while
# favoured cores of one kind are within 0.92 of each other (Turbo Boost Max 3.0, Ryzen X3D).
EFFICIENCY_SHARE = 0.85

# The kernel's names for the list of one core's threads, newest first (core_cpus came with Linux 5.3).
_SIBLINGS = ("core_cpus", "thread_siblings")


class Cpus(NamedTuple):
    """CPU numbers: all of the machine's, and those that this host may use."""

    present: list[int]
    usable: set[int]


class Numa(NamedTuple):
    """NUMA nodes as the firmware reports them, without its contradictions."""

    cpus: dict[int, list[int]]  # node -> its CPUs, present ones only; every CPU at most once
    problems: list[str]
    others: list[int]  # online nodes that are not the host's memory


def read(tree: Tree, gpu_pci_vendors: Collection[str], ignored: Collection[str] = ()) -> Topology:
    """Read the topology of the machine that `tree` shows, without its drivers' tools.

    `gpu_pci_vendors` holds PCI vendor ids as sysfs writes them ("0x10de"), `ignored` the GPUs that the user leaves out
    (driver_gpus.checked). Raises LookupError if the tree shows no CPU at all. The shape is documented as the return
    value of the module host_topology.
    """
    cgroups = read_cgroups(tree)
    allowed = read_allowed(tree, cgroups)
    cpus = read_cpus(tree, allowed.cpus)
    numa = read_numa(tree, cpus, topology_devices.physical_gpus(tree, gpu_pci_vendors))
    nodes = _nodes(tree, numa, cpus, allowed)
    locality = topology_devices.Locality(
        nodes={node["id"]: node["cpus"] for node in nodes}, usable=sorted(cpus.usable), problems=[]
    )
    gpus = topology_devices.read_gpus(tree, locality, gpu_pci_vendors, list(ignored))
    nics = topology_devices.read_nics(tree, locality)
    return {
        "cpus": _cpus(tree, cpus, numa),
        "nodes": nodes,
        "gpus": gpus,
        "gpus_left_out": topology_devices.gpus_left_out(tree, gpu_pci_vendors, list(ignored)),
        "nics": nics,
        "memory_mb": _memory_mb(tree, nodes, numa.others, allowed),
        "hugepages": _hugepages(tree),
        "cgroup_version": cgroups.version,
        "cgroup_mode": cgroups.mode,
        **topology_host.read(tree),
        "driver_version": None,
        "driver_libraries": [],
        "cuda_version": None,
        "problems": [visible(problem) for problem in numa.problems + locality.problems],
    }


def read_cpus(tree: Tree, allowed: Collection[int] | None) -> Cpus:
    """Return the CPUs present, and those of them that are online and allowed."""
    folders = tree.numbered(CPU, "cpu")
    # Some platforms have folders for CPUs that could be plugged in but are absent.
    present = sorted(set(folders) & set(tree.numbers(f"{CPU}/present") or folders))
    if not present:
        present = [int(number) for number in re.findall(r"^processor\s*:\s*(\d+)", _text(tree, "proc/cpuinfo"), re.M)]
    if not present:
        raise LookupError(f"no CPU is listed in {tree.path(CPU)} or {tree.path('proc/cpuinfo')}")
    online = tree.numbers(f"{CPU}/online") or [cpu for cpu in present if tree.number(f"{CPU}/cpu{cpu}/online") != 0]
    usable = set(present) & set(online)
    return Cpus(present, usable if allowed is None else usable & set(allowed))


def read_numa(tree: Tree, cpus: Cpus, gpus: int = 0) -> Numa:
    """Return the node of each CPU; a host without NUMA is one node 0.

    Nodes that are, or may be, the memory of one of the host's `gpus` GPUs are not the host's.

    Firmware may list a CPU on two nodes or on none. The first node wins, and a usable CPU without a node goes to the
    node of its socket's other CPUs, so that each usable CPU is on exactly one node.
    """
    ids = tree.numbered(NODE, "node")
    online = set(ids) & set(tree.numbers(f"{NODE}/online") or ids)
    bare = {node for node in online if not _node_cpus(tree, node)}
    # If no node lists a CPU, the firmware describes none.
    owned = topology_gpu_memory.read(tree, bare if bare < online else (), gpus)
    doubtful = {node: memory_mb for node in owned.doubtful if (memory_mb := _node_memory_mb(tree, node))}
    ids = sorted(online - owned.told - set(doubtful))
    free = set(cpus.present)
    nodes: dict[int, list[int]] = {}
    repeated: set[int] = set()
    for node in ids or [0]:
        claimed = _node_cpus(tree, node) & set(cpus.present)
        repeated |= claimed - free
        nodes[node] = sorted(claimed & free)
        free -= claimed
    lost = sorted(free & cpus.usable)
    for cpu in free if len(nodes) == 1 else lost:
        nodes[_adopting_node(tree, cpu, nodes)].append(cpu)
    problems = [
        f"node {node} has memory and no CPUs, and it is unknown whether it is a GPU's: its {memory_mb} MB are not"
        " counted as memory of the host"
        for node, memory_mb in sorted(doubtful.items())
    ]
    if repeated:
        listed = cpu_list.format(repeated)
        problems.append(f"CPUs {listed} are listed on more than one NUMA node; each is counted to the first of them")
    if lost and ids:
        listed = cpu_list.format(lost)
        problems.append(f"CPUs {listed} are listed on no NUMA node; each is counted to a node of its socket")
    return Numa({node: sorted(members) for node, members in nodes.items()}, problems, sorted(online - set(ids)))


def _node_cpus(tree: Tree, node: int) -> set[int]:
    return set(_cpu_set(tree, f"{NODE}/node{node}/cpulist", f"{NODE}/node{node}/cpumap") or [])


def _adopting_node(tree: Tree, cpu: int, nodes: dict[int, list[int]]) -> int:
    """Return the node with CPUs of the same socket, or else the first one with CPUs, or else the first one."""
    socket = _socket(tree, cpu)
    homes = [node for node, members in nodes.items() if members]
    neighbours = (node for node in homes if any(_socket(tree, member) == socket for member in nodes[node]))
    return next(neighbours, (homes or list(nodes))[0])


def _nodes(tree: Tree, numa: Numa, cpus: Cpus, allowed: Allowed) -> list[Node]:
    return [
        {
            "id": node,
            "cpus": [cpu for cpu in members if cpu in cpus.usable],
            # Forbidden memory does not count: as with CPUs, a plan that uses it would fail when binding it.
            "memory_mb": _node_memory_mb(tree, node) if _may_use(allowed.mems, node) else 0,
            "distances": _distances(tree, node, sorted(numa.cpus), numa.others),
        }
        for node, members in numa.cpus.items()
    ]


def _may_use(mems: Collection[int] | None, node: int) -> bool:
    return mems is None or node in mems


def _node_memory_mb(tree: Tree, node: int) -> int:
    match = re.search(r"MemTotal:\s*(\d+) kB", _text(tree, f"{NODE}/node{node}/meminfo"))
    told = int(match.group(1)) // 1024 if match else 0
    # An only node has all the memory: some hypervisors omit memory plugged in later from the node's file.
    alone = len(tree.numbers(f"{NODE}/possible") or [node]) < 2 and len(tree.numbered(NODE, "node")) < 2
    return max(told, _meminfo_mb(tree) or 0) if alone else told


def _meminfo_mb(tree: Tree) -> int | None:
    match = re.search(r"^MemTotal:\s*(\d+) kB", _text(tree, "proc/meminfo"), re.M)
    return int(match.group(1)) // 1024 if match else None


def _memory_mb(tree: Tree, nodes: list[Node], others: list[int], allowed: Allowed) -> int:
    in_nodes = sum(node["memory_mb"] for node in nodes)
    if all(_may_use(allowed.mems, node["id"]) for node in nodes):
        # The kernel's total includes the memory of GPUs if that is a node.
        in_others = sum(_node_memory_mb(tree, node) for node in others)
        return max(0, (_meminfo_mb(tree) or 0) - in_others) or in_nodes
    return in_nodes


def _distances(tree: Tree, node: int, nodes: list[int], others: list[int]) -> list[int]:
    """Return the distances to all nodes of the host in their order; empty unless the kernel reports one for each."""
    words, columns = _text(tree, f"{NODE}/node{node}/distance").split(), sorted([*nodes, *others])
    if len(words) != len(columns):
        return [10] if len(nodes) == 1 else []
    return [int(word) for column, word in zip(columns, words) if column in nodes]


def _hugepages(tree: Tree) -> list[HugePages]:
    sizes = (re.fullmatch(r"hugepages-(\d+)kB", name) for name in tree.names(HUGEPAGES))
    found: list[HugePages] = [
        {"size_kb": int(size[1]), "total": tree.number(f"{HUGEPAGES}/{size[0]}/nr_hugepages") or 0}
        for size in sizes
        if size
    ]
    return sorted(found, key=lambda pages: pages["size_kb"])


def _cpus(tree: Tree, cpus: Cpus, numa: Numa) -> list[Cpu]:
    node_of = {cpu: node for node, members in numa.cpus.items() for cpu in members}
    siblings_of = _cores(tree, cpus.present)
    mhz_of = {cpu: _max_mhz(tree, cpu) for cpu in cpus.present}
    kind_of = _kinds(tree, cpus.present, mhz_of)
    return [
        {
            "id": cpu,
            "core": siblings_of[cpu][0],
            "socket": _socket(tree, cpu),
            "node": node_of.get(cpu),
            "siblings": siblings_of[cpu],
            "online": cpu in cpus.usable,
            "max_mhz": mhz_of[cpu],
            "kind": kind_of[cpu],
        }
        for cpu in cpus.present
    ]


def _cores(tree: Tree, present: Iterable[int]) -> dict[int, list[int]]:
    """Return the threads of each CPU's core, ascending. Not by core ids: these repeat per socket, die or cluster."""
    free = set(present)
    cores: dict[int, list[int]] = {}
    for cpu in present:
        if cpu in cores:
            continue
        folder = f"{CPU}/cpu{cpu}/topology"
        listed = next(filter(None, (_cpu_set(tree, f"{folder}/{n}_list", f"{folder}/{n}") for n in _SIBLINGS)), [])
        core = sorted({cpu, *listed} & free)
        free.difference_update(core)
        cores.update((sibling, core) for sibling in core)
    return cores


def _socket(tree: Tree, cpu: int) -> int | None:
    number = tree.number(f"{CPU}/cpu{cpu}/topology/physical_package_id")
    # Arm firmware without a processor table gives -1.
    return None if number is None or number < 0 else number


def _max_mhz(tree: Tree, cpu: int) -> int | None:
    khz = tree.number(f"{CPU}/cpu{cpu}/cpufreq/cpuinfo_max_freq")
    return khz // 1000 if khz else None


def _kinds(tree: Tree, present: list[int], mhz_of: dict[int, int | None]) -> dict[int, str]:
    """Tell efficiency cores from performance cores; unknown for CPUs about which the kernel gives no hint."""
    # On hybrid x86 the kernel itself names both kinds, as two performance monitoring units.
    fast, slow = (set(tree.numbers(f"sys/devices/{pmu}/cpus") or []) for pmu in ("cpu_core", "cpu_atom"))
    if fast and slow:
        return {cpu: _named_kind(cpu, fast, slow) for cpu in present}
    capacity_of = {cpu: tree.number(f"{CPU}/cpu{cpu}/cpu_capacity") for cpu in present}
    speed_of = capacity_of if any(capacity_of.values()) else mhz_of
    limit = EFFICIENCY_SHARE * max((speed for speed in speed_of.values() if speed), default=0)
    return {cpu: _ranked_kind(speed_of[cpu], limit) for cpu in present}


def _named_kind(cpu: int, fast: set[int], slow: set[int]) -> str:
    return "performance" if cpu in fast else "efficiency" if cpu in slow else "unknown"


def _ranked_kind(speed: int | None, limit: float) -> str:
    if not speed:
        return "unknown"
    return "performance" if speed >= limit else "efficiency"


def _cpu_set(tree: Tree, list_path: str, mask_path: str) -> list[int] | None:
    """Return a set of CPUs from its list file, or from its mask on kernels too old to have the list."""
    numbers = tree.numbers(list_path)
    return tree.mask(mask_path) if numbers is None else numbers


def _text(tree: Tree, path: str) -> str:
    return tree.text(path) or ""
