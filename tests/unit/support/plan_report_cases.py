# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Hosts for the tests of the plan's report: the hardware, the plan and the plan in force of each."""

from __future__ import annotations

import copy
from typing import Any

import machines
from planner_cases import IMAGE, instance, model, plan

H100 = {"name": "NVIDIA H100 80GB HBM3", "memory_mb": 81559}


def gpu_box(host: int = 0) -> dict[str, Any]:
    """Return two sockets of 32 cores with two threads each, 8 GPUs and 4 NICs; UUIDs differ from host to host."""
    return machines.topology(
        sockets=2,
        cores=32,
        smt=2,
        memory_mb=515_000,
        gpus=[{**H100, "uuid": f"GPU-{host:04d}{index:04d}", "node": index // 4} for index in range(8)],
        nics=[
            {"name": "ens1f0", "node": 0, "speed_mbps": 100_000},
            {"name": "ens1f1", "node": 0, "speed_mbps": 100_000},
            {"name": "ens2f0", "node": 1, "speed_mbps": 100_000},
            {"name": "ens2f1", "node": 1, "speed_mbps": None, "up": False},
        ],
    )


MODELS = [
    model("ranker", version=7, memory_mb=6_000),
    model("embeddings", version=12, memory_mb=24_000),
    model("vision", version=3, memory_mb=2_400),
    model("spelling", version=41, memory_mb=900),
]
INSTANCES = [
    instance("ranker", ["ranker"], profile="latency", slo_p99_ms=20, gpus=2),
    instance("embeddings", ["embeddings"], profile="throughput", gpus=4, batching={"max_batch_size": 128}),
    instance("vision", ["vision"], gpus=1, cpus=6),
    instance("spelling", ["spelling"], profile="latency", cpus=4),
]


def hybrid_laptop() -> dict[str, Any]:
    """Return six fast cores with two threads each and eight slow ones."""
    return machines.topology(sockets=1, cores=6, smt=2, hybrid=8, memory_mb=31_900, nics=[{"name": "wlp2s0"}])


def small_vm() -> dict[str, Any]:
    """Return four virtual CPUs, each a socket of its own, as hypervisors like to show them."""
    machine = machines.topology(sockets=1, cores=4, smt=1, memory_mb=7_950, nics=[{"name": "eth0", "speed_mbps": None}])
    for cpu in machine["cpus"]:
        cpu["socket"] = cpu["id"]
    return machine


def eight_sockets(cores: int = 16, **shape: Any) -> dict[str, Any]:
    """Return the largest of common machines."""
    return machines.topology(sockets=8, cores=cores, smt=2, memory_mb=257_000, nics=[{"node": 0}, {"node": 4}], **shape)


def planned(topology: dict[str, Any], instances: Any = None, models: Any = None, **policy: Any) -> dict[str, Any]:
    """Return what the report reads of a host that has no plan in force."""
    return {"topology": topology, "plan": plan(topology, instances, models, **IMAGE, **policy), "previous": {}}


def gpu_host(host: int = 0, instances: Any = INSTANCES, models: Any = MODELS, **policy: Any) -> dict[str, Any]:
    """Return a GPU box with four instances."""
    return planned(gpu_box(host), instances, models, **policy)


def in_force(host: dict[str, Any], previous: dict[str, Any]) -> dict[str, Any]:
    """Return a host with a copy of the plan of another run in force."""
    return {**host, "previous": copy.deepcopy(previous["plan"])}
