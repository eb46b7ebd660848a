# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Wishes to plan for: short ways to write them, and hypothesis strategies that draw machines and wishes at random."""

from __future__ import annotations

from typing import Any

import machines
import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils import cpu_list
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.planner import host_plan
from hypothesis import strategies as st

GPU_MB = 81920
# A host's key for digests.
KEY = "5e" * 32
VERSIONS = ("2.17.0", "2.18.0", "2.19.1", "2.20.0")
RELEASES = {
    "images": {version: f"registry.example/tensorflow/serving@sha256:{'a1' * 32}" for version in VERSIONS},
    "archives": {version: {"uri": "/srv/server.tar.gz", "sha256": "b2" * 32} for version in VERSIONS},
}
IMAGE = {"install_method": "image", "releases": RELEASES}
ARCHIVE = {"install_method": "archive", "releases": RELEASES}

# 13 cores: one for the system, twelve for the only instance.
CPU_HOST = machines.topology(sockets=1, cores=13, smt=1, memory_mb=65536)
ONE_CPU = machines.topology(sockets=1, cores=1, smt=1)


def model(name: str = "ranker", **keys: Any) -> dict[str, Any]:
    """Return a model that is read from a directory on the controller."""
    return {"name": name, "source": {"type": "path", "uri": f"/srv/{name}/{{version}}"}, "version": 7, **keys}


def instance(name: str = "ranker", models: Any = ("ranker",), **keys: Any) -> dict[str, Any]:
    """Return an instance that serves ``models``."""
    return {"name": name, "models": models, **keys}


def gpus(count: int, nodes: int = 1, **keys: Any) -> list[dict[str, Any]]:
    """Return ``count`` GPUs, spread over ``nodes`` nodes in blocks."""
    return [
        {"uuid": f"GPU-{index:04d}", "memory_mb": GPU_MB, "node": index * nodes // count, **keys}
        for index in range(count)
    ]


def box(gpu_count: int = 8, **shape: Any) -> dict[str, Any]:
    """Return a usual GPU server: two sockets of 32 cores with two threads each, 512 GiB, NICs on node 0."""
    usual = {"sockets": 2, "cores": 32, "smt": 2, "memory_mb": 262144, "gpus": gpus(gpu_count, 2), "nics": [{}]}
    return machines.topology(**{**usual, **shape})


def plan(topology: Any, instances: Any = None, models: Any = None, **policy: Any) -> dict[str, Any]:
    """Return the plan; one model called "ranker" unless told otherwise."""
    return host_plan(topology, instances, [model()] if models is None else models, policy, KEY)


def only(wish: Any = None, models: Any = None, machine: Any = CPU_HOST, **policy: Any) -> dict[str, Any]:
    """Return the only instance of a plan."""
    (found,) = plan(machine, [instance(**(wish or {}))], models, **policy)["instances"]
    return found


def refusal(wish: Any = None, models: Any = None, machine: Any = CPU_HOST, **policy: Any) -> str:
    """Return the sentence that refuses a plan."""
    with pytest.raises(WishError) as caught:
        only(wish, models, machine, **policy)
    return str(caught.value)


def cpus(part: dict[str, Any]) -> set[int]:
    """Return the CPUs of a part of a plan."""
    return set(cpu_list.parse(part["cpus"]))


def online(topology: dict[str, Any]) -> set[int]:
    """Return the CPUs of a machine that may be used."""
    return {cpu["id"] for cpu in topology["cpus"] if cpu["online"]}


@st.composite
def topologies(draw: st.DrawFn) -> dict[str, Any]:
    """Draw machines of one to eight sockets with anything off, forbidden, hybrid, sparse or without memory."""
    shape = {
        "sockets": draw(st.sampled_from([1, 2, 2, 4, 8])),
        "nodes_per_socket": draw(st.sampled_from([1, 1, 2, 4])),
        "cores": draw(st.integers(1, 6)),
        "smt": draw(st.sampled_from([1, 2, 2, 4])),
        "hybrid": draw(st.integers(0, 3)),
        "sparse": draw(st.booleans()),
        "memory_mb": draw(st.sampled_from([0, 512, 65536])),
    }
    bare = machines.topology(**shape)
    ids = [cpu["id"] for cpu in bare["cpus"]]
    nodes = [node["id"] for node in bare["nodes"]]
    homes = st.sampled_from([None, *nodes])
    shape["gpus"] = [
        {"node": home, "uuid": f"GPU-{index:04d}", "memory_mb": draw(st.sampled_from([None, 16384, GPU_MB]))}
        for index, home in enumerate(draw(st.lists(homes, max_size=8)))
    ]
    shape["nics"] = [{"node": home} for home in draw(st.lists(homes, max_size=3))]
    shape["offline"] = draw(st.lists(st.sampled_from(ids), max_size=min(12, len(ids) - 1), unique=True))
    if draw(st.integers(0, 3)) == 0:
        first, last = sorted(draw(st.tuples(st.sampled_from(ids), st.sampled_from(ids))))
        shape["allowed"] = [cpu for cpu in ids if first <= cpu <= last]
    if not set(shape.get("allowed", ids)) - set(shape["offline"]):
        shape["offline"] = []
    machine = machines.topology(**shape)
    for node in draw(st.lists(st.sampled_from(machine["nodes"]), max_size=3)):
        node["memory_mb"] = 0
    return machine


@st.composite
def wishes(draw: st.DrawFn) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Draw instances and models that are well-formed; whether a machine can grant them is another matter."""
    sizes = st.none() | st.integers(1, 8000)
    models = [model(f"m{number}", memory_mb=draw(sizes)) for number in range(draw(st.integers(1, 3)))]
    names = [each["name"] for each in models]
    instances = []
    for number in range(draw(st.integers(1, 6))):
        keys = {
            "models": draw(st.lists(st.sampled_from(names), min_size=1, unique=True)),
            "profile": draw(st.sampled_from(["latency", "balanced", "throughput"])),
            "slo_p99_ms": draw(st.none() | st.floats(0.5, 5000)),
            "gpus": draw(st.sampled_from([0, 0, 0, 1, 1, 2, [0], [0, 1], [2, 5]])),
            "cpus": draw(st.sampled_from(["auto", "auto", "auto", 1, 2, 5])),
            "weight": draw(st.floats(0.1, 10)),
        }
        instances.append({"name": f"i{number}", **keys})
    return instances, models
