# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Types of a monitoring host's plan, all of it plain JSON data."""

from __future__ import annotations

from typing import Any, TypedDict


class Served(TypedDict):
    """An instance of a serving host, as far as it is watched."""

    name: str
    models: list[str]
    rest_port: int
    metrics_path: str
    objective_p99_ms: float
    max_batch_size: int | None
    batch_timeout_us: int | None
    batch_threads: int | None


class WatchedHost(TypedDict):
    """A serving host: its address, its CPUs and GPUs, and its instances."""

    address: str
    cpus: int
    gpus: int
    instances: list[Served]


class Exporters(TypedDict):
    """Where a host's own exporters answer: the port and whether by TLS."""

    address: str
    node_port: int
    tls: bool
    dcgm_port: int


class Watcher(TypedDict):
    """A monitoring host, as the others know it."""

    address: str
    prometheus_port: int
    alertmanager_port: int
    cluster_port: int
    tls: bool


class Sizes(TypedDict):
    """What the fleet takes, and the formula of each figure in ``reasons``."""

    series: int
    samples_per_second: int
    disk_mb_a_day: int
    disk_mb: int
    retention_mb: int
    memory_mb: int
    reasons: dict[str, str]


class MonitoringPlan(TypedDict):
    """The plan of one monitoring host. No secret is in it."""

    schema: int
    host: str
    version: str
    prometheus: dict[str, Any]
    alertmanager: dict[str, Any]
    targets: dict[str, list[dict[str, Any]]]
    sizes: Sizes
    flags: dict[str, list[str]]
    reasons: dict[str, str]
    warnings: list[str]
