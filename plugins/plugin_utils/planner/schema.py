# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Types of the plan; docs/plan-schema.md explains every key."""

from __future__ import annotations

from typing import Any, TypedDict

from ansible_collections.tfserving.fleet.plugins.module_utils.releases.ids import Release


class Server(TypedDict):
    """The release of the host."""

    version: str
    method: str
    release: Release


class InstanceServer(TypedDict):
    """The release that an instance runs."""

    id: str
    version: str
    binary: str
    chroot: bool


class Paths(TypedDict):
    """Paths on the host."""

    models: str
    config: str


class Half(TypedDict):
    """The CPUs of the system, or those of serving, as kernel lists."""

    cpus: str
    nodes: str
    reason: str


class Slice(Half):
    """The CPUs and nodes of one systemd unit."""

    name: str
    section: str


class LocalInterrupts(TypedDict):
    """The CPUs for the interrupts of one node's devices."""

    node: int
    cpus: str


class Interrupts(TypedDict):
    """The CPUs for interrupts."""

    cpus: str
    mask: str
    banned: str
    local: list[LocalInterrupts]
    reason: str


class BootParameter(TypedDict):
    """A parameter of the kernel's command line that a user may ask for."""

    name: str
    parameter: str
    reason: str


class Partition(TypedDict):
    """The partition of the CPUs."""

    mode: str
    reason: str
    cpus: str
    housekeeping: str
    slices: list[Slice]
    irqs: Interrupts | None
    boot: list[BootParameter]
    exclude: list[str]
    warnings: list[str]


class Value(TypedDict):
    """A kernel setting and its reason."""

    value: str
    reason: str
    source: str
    override: bool


class Sysctl(Value):
    """A setting below /proc/sys, by its name."""

    name: str


class Sysfs(Value):
    """A setting below /sys, by its path, which may contain wildcards."""

    path: str


class KernelModule(TypedDict):
    """A kernel module to load."""

    name: str
    reason: str
    source: str


class Least(TypedDict):
    """A lower bound of a sysctl."""

    name: str
    value: str


class LeftAlone(TypedDict):
    """A setting that the plan leaves as it is."""

    name: str
    reason: str


class Live(TypedDict):
    """Whether a value that the kernel refuses is an error, and why."""

    required: bool
    reason: str


class Kernel(TypedDict):
    """The settings of the kernel."""

    sysctl: list[Sysctl]
    sysfs: list[Sysfs]
    modules: list[KernelModule]
    least: list[Least]
    left_alone: list[LeftAlone]
    live: Live
    exclude: list[str]
    warnings: list[str]


class Ports(TypedDict):
    """The ports of an instance."""

    grpc: int
    rest: int


class Threads(TypedDict):
    """The size of each pool."""

    intra_op: int
    inter_op: int
    rest: int
    grpc: int
    load: int
    unload: int


class WishedBatching(TypedDict, total=False):
    """The fields of BatchingParameters that may be missing."""

    allowed_batch_sizes: list[int]
    thread_pool_name: str
    enable_large_batch_splitting: bool
    max_execution_batch_size: int
    pad_variable_length_inputs: bool


class Batching(WishedBatching):
    """BatchingParameters as plain values."""

    max_batch_size: int
    batch_timeout_micros: int
    num_batch_threads: int
    max_enqueued_batches: int


class Numa(TypedDict):
    """The NUMA memory policy of an instance."""

    policy: str
    mask: str


class Memory(Numa):
    """The memory policy and limits of an instance, in MB."""

    expected_mb: int | None
    high_mb: int | None
    max_mb: int | None


class Figures(TypedDict):
    """The figures that follow from an instance's own CPUs and GPUs."""

    ports: Ports
    threads: Threads
    batching: Batching | None
    gpu_memory_fraction: float | None


class InstancePlan(Figures):
    """The plan of one server."""

    name: str
    models: list[str]
    server: InstanceServer
    profile: str
    slo_p99_ms: float | None
    objective_p99_ms: float
    cpus: str
    nodes: str
    gpus: list[int | str]
    memory: Memory
    swap: dict[str, str]
    model_config: dict[str, Any]
    monitoring: dict[str, Any]
    flags: dict[str, Any]
    environment: dict[str, str]
    environment_digests: dict[str, str]
    start_timeout_s: int
    reasons: dict[str, str]
    overrides: list[str]
    digest: str
    unit: dict[str, str | list[str]]


class RolledModel(TypedDict, total=False):
    """The keys that only models with a roll-out, or with a cache, have."""

    cache: dict[str, Any]
    waits: dict[str, Any]
    protected: list[int]
    proofs: dict[str, dict[str, Any]]


class ModelPlan(RolledModel):
    """The plan of one model."""

    name: str
    path: str
    versions: list[int]
    provided: list[int]
    source: dict[str, Any]
    serve: dict[str, Any]
    keep: int
    contract: dict[str, Any] | None
    probe: dict[str, Any] | bool | None
    golden: dict[str, Any] | None
    warmup: str | bool
    memory_mb: int | None


class Gate(TypedDict):
    """The gate of a host's instances."""

    port: int
    drain_timeout_s: int
    longest_call_s: int
    gateways: list[dict[str, str]]
    reason: str


class Monitoring(TypedDict):
    """Who reads the figures of a host, and where its node exporter answers."""

    hosts: list[dict[str, str]]
    networks: list[str]
    node_port: int
    reason: str


class Plan(TypedDict):
    """The plan of one host."""

    schema: int
    server: Server
    paths: Paths
    allocator: dict[str, str]
    housekeeping: Half
    serving: Half
    partition: Partition
    kernel: Kernel
    gate: Gate | None
    monitoring: Monitoring | None
    instances: list[InstancePlan]
    models: list[ModelPlan]
    warnings: list[str]
