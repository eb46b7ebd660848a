# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The map of a machine: sockets, nodes, cores and devices, with their owners."""

from __future__ import annotations

import string
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ansible_collections.tfserving.fleet.plugins.module_utils import cpu_list
from ansible_collections.tfserving.fleet.plugins.module_utils.topology.schema import Cpu, Gpu, Nic, Topology

from ..phrases import counted
from ..planner.schema import InstancePlan, Plan
from . import words as values
from .sheet import FREE, OFFLINE, SYSTEM, Board, Core, Device, Machine, Node, Owner

# One character for each instance, in the order of the plan. Further instances share GLYPH_OF_THE_REST.
GLYPHS = string.ascii_uppercase + string.ascii_lowercase.replace("x", "") + string.digits
GLYPH_OF_THE_REST = "*"
OTHERS = ((SYSTEM, "·", "system"), (FREE, "-", "free for serving"), (OFFLINE, "x", "offline"))


@dataclass
class _Host:
    """The data from which the parts of the map are drawn."""

    topology: Topology
    owner_of: dict[int, str]
    gpu_owners: dict[str, tuple[str, ...]]


def machine_map(topology: Topology, plan: Plan) -> Machine:
    """Return the map of a host.

    :param topology: the module host_topology's ``topology``.
    :param plan: the plan, with short names of GPUs.
    """
    owner_of = _owners_of_cpus(topology, plan)
    host = _Host(topology, owner_of, _owners_of_gpus(plan))
    return Machine(_summary(topology), tuple(_boards(host)), tuple(_owners(plan, owner_of)))


def instance_key(number: int) -> str:
    """Return the owner key of the instance at this place in the plan."""
    return f"instance-{number}"


def _owners_of_cpus(topology: Topology, plan: Plan) -> dict[int, str]:
    owners = {cpu["id"]: FREE if cpu["online"] else OFFLINE for cpu in topology["cpus"]}
    cpus = [(key, instance["cpus"]) for key, instance in _keyed(plan["instances"])]
    for key, listed in [(SYSTEM, plan["housekeeping"]["cpus"]), *cpus]:
        owners.update(dict.fromkeys(cpu_list.parse(listed), key))
    return owners


def _owners_of_gpus(plan: Plan) -> dict[str, tuple[str, ...]]:
    """Return owners by the short name of the GPU; the owner of a slice counts as one of the GPU's."""
    owners: dict[str, tuple[str, ...]] = {}
    for key, instance in _keyed(plan["instances"]):
        for gpu in dict.fromkeys(str(gpu).partition(":")[0] for gpu in instance["gpus"]):
            owners[gpu] = (*owners.get(gpu, ()), key)
    return owners


def _keyed(instances: Iterable[InstancePlan]) -> list[tuple[str, InstancePlan]]:
    return [(instance_key(number), instance) for number, instance in enumerate(instances)]


def _owners(plan: Plan, owner_of: Mapping[int, str]) -> Iterable[Owner]:
    """Yield the legend: every instance, and other owners that own anything."""
    owned = list(owner_of.values())
    for number, instance in enumerate(plan["instances"]):
        glyph = GLYPHS[number] if number < len(GLYPHS) else GLYPH_OF_THE_REST
        key = instance_key(number)
        yield Owner(key, glyph, instance["name"], owned.count(key), number)
    for key, glyph, name in OTHERS:
        if key in owned:
            yield Owner(key, glyph, name, owned.count(key), None)


def _summary(topology: Topology) -> tuple[str, ...]:
    online = [cpu for cpu in topology["cpus"] if cpu["online"]]
    gpus, nics = topology.get("gpus") or (), topology.get("nics") or ()
    slow = len({cpu["core"] for cpu in online if cpu["kind"] == "efficiency"})
    parts = [
        counted(len({cpu["socket"] for cpu in online}), "socket"),
        counted(len(topology["nodes"]), "node"),
        counted(len({cpu["core"] for cpu in online}), "core") + (f" ({slow} efficiency)" if slow else ""),
        counted(len(online), "CPU"),
    ]
    parts += [values.size(topology["memory_mb"])] if topology.get("memory_mb") else []
    names = [_gpu_detail(gpu) for gpu in gpus]
    for name in dict.fromkeys(names):
        parts.append(counted(names.count(name), "GPU") + (f" ({name})" if name else ""))
    parts += [counted(len(nics), "NIC")] if nics else []
    return tuple(parts)


def _boards(host: _Host) -> Iterable[Board]:
    """Yield the sockets in order, then anything on no known node."""
    members: dict[int | None, list[Cpu]] = {}
    for cpu in host.topology["cpus"]:
        members.setdefault(cpu["node"], []).append(cpu)
    known = sorted(node["id"] for node in host.topology["nodes"])
    sockets_of = {
        node: {socket for cpu in members.get(node, ()) if (socket := cpu["socket"]) is not None} for node in known
    }
    for sockets, nodes in sorted(_joined(sockets_of), key=lambda board: (not board[0], min(board[0] or board[1]))):
        yield Board(_board_title(sockets), tuple(_node(host, node, members.get(node, [])) for node in sorted(nodes)))
    yield from _elsewhere(host, known, members)


def _joined(sockets_of: Mapping[int, set[int]]) -> list[tuple[set[int], set[int]]]:
    """Return sockets with their nodes; sockets that share a node, as in small virtual machines, stay together."""
    boards: list[tuple[set[int], set[int]]] = []
    for node, sockets in sockets_of.items():
        sharing = [board for board in boards if board[0] & sockets]
        boards = [board for board in boards if board not in sharing]
        boards.append((sockets.union(*(board[0] for board in sharing)), {node}.union(*(board[1] for board in sharing))))
    return boards


def _board_title(sockets: set[int]) -> str:
    if not sockets:
        return "Memory alone"
    return f"Socket{'s' if len(sockets) > 1 else ''} {cpu_list.format(sockets)}"


def _elsewhere(host: _Host, known: list[int], members: Mapping[int | None, list[Cpu]]) -> Iterable[Board]:
    """Yield anything on no known node: offline CPUs, and devices whose node the firmware does not report."""
    lost = [cpu for node, cpus in members.items() if node not in known for cpu in cpus]
    gpus = tuple(_gpu(host, gpu) for gpu in host.topology.get("gpus") or () if gpu.get("node") not in known)
    nics = tuple(_nic(nic) for nic in host.topology.get("nics") or () if nic.get("node") not in known)
    if lost or gpus or nics:
        yield Board("Elsewhere", (Node("Node not known", "", _blocks(host, lost), gpus, nics),))


def _node(host: _Host, number: int, cpus: list[Cpu]) -> Node:
    memory = next(node["memory_mb"] for node in host.topology["nodes"] if node["id"] == number)
    detail = values.size(memory) if memory else "no memory"
    gpus = tuple(_gpu(host, gpu) for gpu in host.topology.get("gpus") or () if gpu.get("node") == number)
    nics = tuple(_nic(nic) for nic in host.topology.get("nics") or () if nic.get("node") == number)
    return Node(f"Node {number}", detail, _blocks(host, cpus), gpus, nics)


def _blocks(host: _Host, cpus: list[Cpu]) -> tuple[tuple[Core, ...], ...]:
    """Return the cores of a node, efficiency cores after the others."""
    cores: dict[tuple[bool, int], list[int]] = {}
    for cpu in sorted(cpus, key=lambda cpu: cpu["id"]):
        cores.setdefault((cpu["kind"] == "efficiency", cpu["core"]), []).append(cpu["id"])
    blocks = (
        tuple(Core(tuple(ids), tuple(host.owner_of[cpu] for cpu in ids)) for at, ids in cores.items() if at[0] is slow)
        for slow in (False, True)
    )
    return tuple(block for block in blocks if block)


def _gpu(host: _Host, gpu: Gpu) -> Device:
    if gpu.get("index") is None:
        return Device(f"GPU {gpu['pci_address']}", gpu.get("why") or "not known to the driver", ())
    return Device(f"GPU {gpu['index']}", _gpu_detail(gpu), host.gpu_owners.get(str(gpu["index"]), ()))


def _gpu_detail(gpu: Gpu) -> str:
    name = (gpu.get("name") or "").removeprefix("NVIDIA ")
    told = [name] if name else []
    told += [values.size(gpu["memory_mb"])] if gpu.get("memory_mb") and "GB" not in name else []
    return " ".join(told)


def _nic(nic: Nic) -> Device:
    speed = nic.get("speed_mbps")
    if not nic.get("up", True):
        return Device(nic["name"], "down", ())
    if not speed:
        return Device(nic["name"], "", ())
    return Device(nic["name"], f"{speed / 1000:g} Gb/s" if speed >= 1000 else f"{speed} Mb/s", ())
