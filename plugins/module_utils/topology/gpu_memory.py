# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""NUMA nodes that are a GPU's memory rather than the host's.

Coherently attached GPUs (Grace Hopper and its successors, POWER9) expose their memory as NUMA nodes without CPUs. So do
CXL expanders, persistent memory and on-package memory, which belong to the host. No single place in the kernel tells
them apart.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import NamedTuple

from ..host.sysfs import Tree

NODE = "sys/devices/system/node"
NVIDIA_GPUS = "proc/driver/nvidia/gpus"
DAX = "sys/bus/dax/devices"
# The same tree under its new and its old path.
DEVICE_TREES = ("sys/firmware/devicetree/base", "proc/device-tree")
X86 = ("x86_64", "amd64", "i386", "i486", "i586", "i686")


class Owned(NamedTuple):
    """Nodes without CPUs that are not the host's memory."""

    told: set[int]  # a GPU's, according to its driver or the firmware
    doubtful: set[int]  # possibly a GPU's, undetermined


def read(tree: Tree, bare: Collection[int], gpus: int) -> Owned:
    """Return which of the nodes `bare`, which have no CPUs, belong to one of the host's `gpus` GPUs."""
    if not bare:
        return Owned(set(), set())
    statuses = _statuses(tree)
    ranges = _driver_memory(tree)
    named = set(statuses.values()) | _firmware_nodes(tree)
    named |= {node for node in bare if _lies_in(ranges, _blocks(tree, node))}
    left = set(bare) - named - _dax_nodes(tree)
    # If the driver has named the memory of every GPU, or names all memory that it adds, the rest is the host's.
    complete = bool(ranges) or len(statuses) >= gpus
    return Owned(named & set(bare), set() if complete or _is_x86(tree) else left)


def _statuses(tree: Tree) -> Mapping[str, int]:
    """Return the node of each GPU's memory, as far as the driver reports it."""
    texts = {gpu: tree.text(f"{NVIDIA_GPUS}/{gpu}/numa_status") or "" for gpu in tree.names(NVIDIA_GPUS)}
    found = {gpu: re.search(r"^Node:\s*(\d+)", text, re.M) for gpu, text in texts.items()}
    return {gpu: int(match.group(1)) for gpu, match in found.items() if match}


def _driver_memory(tree: Tree) -> list[tuple[int, int]]:
    """Return the addresses of memory added by NVIDIA's driver. Unprivileged readers see zeros instead."""
    lines = (re.match(r"\s*([0-9a-f]+)-([0-9a-f]+) : .*\(NVIDIA\)", line) for line in tree.lines("proc/iomem"))
    ranges = ((int(line.group(1), 16), int(line.group(2), 16)) for line in lines if line)
    return [(first, last) for first, last in ranges if last]


def _blocks(tree: Tree, node: int) -> list[tuple[int, int]]:
    """Return the addresses of a node's memory, block by block."""
    try:
        size = int(tree.text("sys/devices/system/memory/block_size_bytes") or "", 16)
    except ValueError:
        return []
    return [(block * size, block * size + size - 1) for block in tree.numbered(f"{NODE}/node{node}", "memory")]


def _lies_in(ranges: list[tuple[int, int]], blocks: list[tuple[int, int]]) -> bool:
    return bool(blocks) and all(any(first <= start and end <= last for first, last in ranges) for start, end in blocks)


def _firmware_nodes(tree: Tree) -> set[int]:
    """Return the nodes that POWER9's firmware describes as GPU memory; the kernel numbers each by the chip."""
    found = set()
    for base in DEVICE_TREES:
        for name in tree.names(base):
            if name.startswith("memory@") and "coherent-device-memory" in (
                tree.text(f"{base}/{name}/compatible") or ""
            ):
                found |= set(tree.cells(f"{base}/{name}/ibm,chip-id")[:1])
    return found


def _dax_nodes(tree: Tree) -> set[int]:
    """Return the nodes of memory added as a device: CXL expanders, persistent and on-package memory."""
    numbers = (tree.number(f"{DAX}/{device}/target_node") for device in tree.names(DAX))
    return {number for number in numbers if number is not None}


def _is_x86(tree: Tree) -> bool:
    """Return whether this is x86, where GPU memory is never a NUMA node."""
    machine = tree.text("proc/sys/kernel/arch")
    if machine:
        return machine in X86
    return re.search(r"^vendor_id\s*:", tree.text("proc/cpuinfo") or "", re.M) is not None
