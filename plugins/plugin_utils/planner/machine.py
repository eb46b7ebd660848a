# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The planner's view of a host: cores, nodes and NICs from the result of host_topology."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.topology.schema import Node, Topology

from . import cpu_mask

# Kinds of virtualization, by systemd-detect-virt's names, that share the kernel of their host.
CONTAINERS = frozenset(("docker", "podman", "lxc", "lxc-libvirt", "systemd-nspawn", "openvz", "rkt", "wsl", "proot"))


class Core(NamedTuple):
    """A core with its online CPUs (hardware threads)."""

    node: int
    efficiency: bool
    first: int
    mask: int


@dataclass
class Machine:
    """The facts about a host that the planner's rules need."""

    cores: dict[int, list[Core]]
    """By node, ascending; performance cores first, then by lowest CPU."""
    online: int
    """All usable CPUs, as a mask."""
    memory: dict[int, int]
    """MB by node, for nodes that have memory."""
    memory_mb: int
    nic_nodes: set[int]
    distances: dict[int, dict[int, int]]
    """Distances from node to node, as far as the firmware reports them."""
    sockets: dict[int, Any]
    """The socket of each node with cores; a node of unknown socket counts as its own."""
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
    """Return the machine of a topology; raise WishError if it is malformed or has no online CPU."""
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
        # If the firmware describes no nodes, the kernel reports -1, and containers report nothing.
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
    # A core that the firmware splits over two nodes stays whole, on the node of its lowest CPU.
    for whole in sorted(map(Core._make, found.values())):
        cores.setdefault(whole.node, []).append(whole)
    memory = {node["id"]: node["memory_mb"] for node in topology.get("nodes") or () if node["memory_mb"]}
    return Machine(
        cores=cores,
        online=online,
        memory=dict(sorted(memory.items())),
        # Memory on none of the host's nodes belongs to a GPU or is unused.
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
    """Return whether a host shares the kernel of another host, so that kernel settings are not its own."""
    return topology.get("virtualization") in CONTAINERS
