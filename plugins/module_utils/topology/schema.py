# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The shape of a topology, as returned and documented by the module host_topology."""

from __future__ import annotations

from typing import TypedDict

from ..driver.files import Library


class Cpu(TypedDict):
    """A CPU, which is a hardware thread."""

    id: int
    core: int
    socket: int | None
    node: int | None
    siblings: list[int]
    online: bool
    max_mhz: int | None
    kind: str


class Node(TypedDict):
    """A NUMA node."""

    id: int
    cpus: list[int]
    memory_mb: int
    distances: list[int]


class MigInstance(TypedDict):
    """A slice of a GPU."""

    index: int
    profile: str
    uuid: str


class Mig(TypedDict):
    """The MIG partitioning of a GPU."""

    mode: str | None
    instances: list[MigInstance]


class Gpu(TypedDict):
    """A GPU."""

    index: int | None
    uuid: str | None
    name: str | None
    vendor: str | None
    pci_address: str
    node: int | None
    local_cpus: list[int]
    memory_mb: int | None
    compute_capability: str | None
    mig: Mig
    driver_version: str | None
    why: str | None
    device: str | None


class GpuLeftOut(TypedDict):
    """A GPU that is not ours."""

    pci_address: str
    why: str


class Nic(TypedDict):
    """A network interface."""

    name: str
    pci_address: str | None
    node: int | None
    speed_mbps: int | None
    queues: int
    irqs: list[int]
    driver: str | None
    up: bool


class HugePages(TypedDict):
    """The reserved huge pages of one size."""

    size_kb: int
    total: int


class System(TypedDict):
    """The kernel's facts about the host."""

    kernel: str | None
    libc: str | None
    architecture: str | None
    virtualization: str


class Topology(System):
    """The hardware of one host."""

    cpus: list[Cpu]
    nodes: list[Node]
    gpus: list[Gpu]
    gpus_left_out: list[GpuLeftOut]
    nics: list[Nic]
    memory_mb: int
    hugepages: list[HugePages]
    cgroup_version: int | None
    cgroup_mode: str | None
    driver_version: str | None
    driver_libraries: list[Library]
    cuda_version: str | None
    problems: list[str]
