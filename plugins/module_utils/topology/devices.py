# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""GPUs and network cards from sysfs, each with its NUMA node."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import NamedTuple

from ..driver import files as driver_files
from ..driver import state as driver_state
from ..host.sysfs import Tree
from ..nvidia import devices as nvidia_devices
from ..nvidia import owned as driver_gpus
from .schema import Gpu, GpuLeftOut, Nic

PCI = "sys/bus/pci/devices"
NET = "sys/class/net"

# PCI base class 03, display controllers: VGA (0x0300), 3D (0x0302, most data centre GPUs) and other (0x0380).
_DISPLAY_CLASS = "0x03"

_PCI_ADDRESS = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")

# A port of a card's internal switch that represents a virtual (vf) or sub function (sf), not a physical port.
_REPRESENTOR = re.compile(r"(c\d+)?pf\d+[vs]f\d+")

# Values of `speed` when the driver does not know it: -1, or the same in 32 bits.
_UNKNOWN_SPEEDS = (-1, 2**32 - 1)


class Locality(NamedTuple):
    """Possible places of devices: the host's nodes with their usable CPUs, and the problems with devices so far."""

    nodes: dict[int, list[int]]
    usable: list[int]
    problems: list[str]

    def node(self, tree: Tree, address: str | None) -> int | None:
        """Return the node of a PCI device; None if neither the firmware nor the topology determines it."""
        if len(self.nodes) == 1:
            return next(iter(self.nodes))
        node = tree.number(f"{PCI}/{address}/numa_node") if address else None
        if node is None or node < 0:
            return None
        if node not in self.nodes:
            self.problems.append(f"PCI device {address} is said to be on NUMA node {node}, which is not there")
            return None
        return node

    def cpus(self, tree: Tree, address: str, node: int | None) -> list[int]:
        """Return the usable CPUs near a PCI device; all of them if its place is unknown."""
        local = tree.numbers(f"{PCI}/{address}/local_cpulist")
        if local is None:
            local = tree.mask(f"{PCI}/{address}/local_cpus")
        if not local:
            return self.usable if node is None else self.nodes[node]
        return [cpu for cpu in self.usable if cpu in set(local)]


def read_gpus(tree: Tree, locality: Locality, vendors: Collection[str], ignored: Sequence[str] = ()) -> list[Gpu]:
    """Return the display controllers of these vendors that are ours, in the order of their PCI addresses."""
    ours = [address for address, why in _reasons(tree, vendors, ignored).items() if not why]
    return [_gpu(tree, locality, index, address) for index, address in enumerate(ours)]


def gpus_left_out(tree: Tree, vendors: Collection[str], ignored: Sequence[str] = ()) -> list[GpuLeftOut]:
    """Return the display controllers of these vendors that are not ours, each with the reason."""
    reasons = _reasons(tree, vendors, ignored)
    return [{"pci_address": address, "why": why} for address, why in reasons.items() if why]


def _reasons(tree: Tree, vendors: Collection[str], ignored: Sequence[str]) -> dict[str, str]:
    """Return by address why each display controller of these vendors is not ours to use; empty for ours."""
    version = driver_state.loaded(tree)["version"]
    return {
        address: driver_gpus.left_out(driver_gpus.read(tree, address), ignored, version)
        for address in gpu_addresses(tree, vendors)
    }


def gpu_addresses(tree: Tree, vendors: Collection[str]) -> list[str]:
    """Return the sorted PCI addresses of the display controllers of these vendors."""
    wanted = {vendor.lower() for vendor in vendors}
    return [address for address in _pci_devices(tree) if _is_gpu(tree, address, wanted)]


def physical_gpus(tree: Tree, vendors: Collection[str]) -> int:
    """Return the number of GPUs of these vendors, whoever uses them; virtual functions have no memory of their own."""
    return sum(driver_gpus.read(tree, address).physical is None for address in gpu_addresses(tree, vendors))


def read_nics(tree: Tree, locality: Locality) -> list[Nic]:
    """Return the network interfaces that are hardware, by name."""
    return [_nic(tree, locality, name) for name in tree.names(NET) if _is_physical(tree, name)]


def _pci_devices(tree: Tree) -> list[str]:
    return sorted(tree.names(PCI), key=lambda address: [int(part, 16) for part in re.findall(r"[0-9a-f]+", address)])


def _is_gpu(tree: Tree, address: str, vendors: Collection[str]) -> bool:
    folder = f"{PCI}/{address}"
    return (tree.text(f"{folder}/class") or "").startswith(_DISPLAY_CLASS) and tree.text(f"{folder}/vendor") in vendors


def _gpu(tree: Tree, locality: Locality, index: int, address: str) -> Gpu:
    node = locality.node(tree, address)
    return {
        "index": index,
        "uuid": None,
        "name": None,
        "vendor": tree.text(f"{PCI}/{address}/vendor"),
        "pci_address": address,
        "node": node,
        "local_cpus": locality.cpus(tree, address, node),
        "memory_mb": None,
        "compute_capability": None,
        "mig": {"mode": None, "instances": []},
        "driver_version": None,
        "why": nvidia_devices.shared_out(tree, address),
        "device": driver_files.device(tree, address),
    }


def _is_physical(tree: Tree, name: str) -> bool:
    """Return whether an interface is a card itself: no bridge or bond, nor a virtual function or representor."""
    folder = f"{NET}/{name}"
    if not tree.exists(f"{folder}/device") or tree.exists(f"{folder}/device/physfn"):
        return False
    return not _REPRESENTOR.fullmatch(tree.text(f"{folder}/phys_port_name") or "")


def _nic(tree: Tree, locality: Locality, name: str) -> Nic:
    folder = f"{NET}/{name}"
    # Virtio, USB and the like put their own devices below the PCI device: the last PCI address in the path counts.
    parts = (tree.target(f"{folder}/device") or "").split("/")
    address = next((part for part in reversed(parts) if _PCI_ADDRESS.fullmatch(part)), None)
    speed = tree.number(f"{folder}/speed")
    return {
        "name": name,
        "pci_address": address,
        "node": locality.node(tree, address),
        "speed_mbps": speed if speed and speed not in _UNKNOWN_SPEEDS else None,
        "queues": len([queue for queue in tree.names(f"{folder}/queues") if queue.startswith("rx-")]),
        "irqs": _irqs(tree, name, address),
        "driver": tree.link_name(f"{folder}/device/driver"),
        "up": _is_up(tree, folder),
    }


def _is_up(tree: Tree, folder: str) -> bool:
    """Return whether a link is up: `carrier` cannot be read while the interface is down, and is 0 without a cable."""
    carrier = tree.number(f"{folder}/carrier")
    return carrier == 1 if carrier is not None else tree.text(f"{folder}/operstate") == "up"


def _irqs(tree: Tree, name: str, address: str | None) -> list[int]:
    """Return the interrupts of a card: its own list, those with its name, or its one shared line."""
    vectors = sorted(int(irq) for irq in tree.names(f"{PCI}/{address}/msi_irqs") if irq.isdecimal()) if address else []
    if vectors:
        return vectors
    names = "|".join(re.escape(text) for text in (name, address) if text)
    bearing = [irq for irq, label in _interrupts(tree) if re.search(rf"(?<!\w)(?:{names})(?!\w)", label)]
    line = tree.number(f"{PCI}/{address}/irq") if address else None
    return bearing or ([line] if line else [])


def _interrupts(tree: Tree) -> list[tuple[int, str]]:
    """Return the numbered lines of /proc/interrupts with the text after the counters."""
    lines = (re.match(r"\s*(\d+):[\s\d]*(.*)", line) for line in tree.lines("proc/interrupts"))
    return [(int(line.group(1)), line.group(2)) for line in lines if line]
