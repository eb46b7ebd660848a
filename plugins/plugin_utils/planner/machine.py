# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The host as the planner sees it: cores, nodes and NICs out of what host_topology returned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.topology.schema import Node, Topology

from . import cpu_mask

# Kinds of virtualization (as systemd-detect-virt calls them) that share the kernel of the host around them.
CONTAINERS = frozenset(("docker", "podman", "lxc", "lxc-libvirt", "systemd-nspawn", "openvz", "rkt", "wsl", "proot"))


class Core(NamedTuple):
    """A core with the CPUs (hardware threads) of it that are online."""

    node: int
    efficiency: bool
    first: int
    mask: int


@dataclass
class Machine:
    """What the rules need to know of a host."""

    cores: dict[int, list[Core]]
    """By node; the nodes ascending, the cores of each performance first, then by their lowest CPU."""
    online: int
    """All CPUs that may be used, as a mask."""
    memory: dict[int, int]
    """MB by node, only of nodes that have memory."""
    memory_mb: int
    nic_nodes: set[int]
    distances: dict[int, dict[int, int]]
    """From node to node, as far as the firmware reports them."""
    sockets: dict[int, Any]
    """The socket of each node with cores; a node of unknown socket is one of its own."""
    hybrid: bool
    architecture: str

    def home_of_memory(self, node: int) -> int:
        """Return the node whose memory serves the CPUs of ``node``: itself, or the nearest one that has any."""
        if node in self.memory or not self.memory:
            return node
        far = self.distances.get(node, {})
        return min(self.memory, key=lambda other: (far.get(other, 0), abs(other - node), other))

    def memory_nodes(self, nodes: int) -> int:
        """Return the mask of the nodes whose memory serves the CPUs of ``nodes``, a mask as well."""
        return cpu_mask.of(self.home_of_memory(node) for node in self.cores if nodes >> node & 1)


def read(topology: Any) -> Machine:
    """Return the machine of a topology; raises WishError where it is not one that can be planned for."""
    try:
        machine = _read(topology)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise WishError(
            "topology",
            f"is not what tfserving.fleet.host_topology returns ({error!r})",
            "pass the value that the module returns as 'topology'",
        ) from None
    if not machine.online:
        raise WishError("topology.cpus", "holds no CPU that is online", "run the module on the host itself")
    return machine


def _read(topology: Topology) -> Machine:
    found: dict[Any, list[Any]] = {}
    online = 0
    kinds = set()
    socket_of = {}
    for cpu in topology["cpus"]:
        if not cpu["online"]:
            continue
        number, node, core = cpu["id"], cpu["node"], cpu["core"]
        # The kernel says -1, and containers nothing, where the firmware describes no nodes.
        node = 0 if node is None or node < 0 else node
        bit = 1 << number
        online |= bit
        entry = found.get(core)
        if entry is None:
            found[core] = [node, cpu["kind"] == "efficiency", number, bit]
            kinds.add(cpu["kind"])
            socket_of[number] = cpu.get("socket")
        else:
            entry[3] |= bit
            if number < entry[2]:
                entry[2], entry[0], socket_of[number] = number, node, cpu.get("socket")
    cores: dict[int, list[Core]] = {}
    # Where firmware tears a core over two nodes, it stays whole and goes with its lowest CPU.
    for whole in sorted(map(Core._make, found.values())):
        cores.setdefault(whole.node, []).append(whole)
    memory = {node["id"]: node["memory_mb"] for node in topology.get("nodes") or () if node["memory_mb"]}
    return Machine(
        cores=cores,
        online=online,
        memory=dict(sorted(memory.items())),
        # Memory that is on none of the host's nodes belongs to a GPU, or is unused.
        memory_mb=min(filter(None, (topology.get("memory_mb"), sum(memory.values()))), default=0),
        nic_nodes={nic["node"] for nic in topology.get("nics") or () if nic["node"] is not None and nic["node"] >= 0},
        distances=_distances(topology.get("nodes") or ()),
        sockets={node: _socket(node, socket_of[inside[0].first]) for node, inside in cores.items()},
        hybrid={"efficiency", "performance"} <= kinds,
        architecture=topology.get("architecture") or "x86_64",
    )


def _socket(node: int, socket: int | None) -> Any:
    return ("node", node) if socket is None else socket


def _distances(nodes: Sequence[Node]) -> dict[int, dict[int, int]]:
    numbers = [node["id"] for node in nodes]
    return {node["id"]: dict(zip(numbers, node.get("distances") or ())) for node in nodes}


def shares_kernel(topology: Topology) -> bool:
    """Tell whether a host has the kernel of another host around it, whose settings are not its own."""
    return topology.get("virtualization") in CONTAINERS
