# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Recorded machines, compared with two independent readers.

FLEET_TOPOLOGIES names a folder of archives (*.tar.bz2, such as tests/hwloc/linux of the hwloc project), each with one
recorded machine in it. Without the folder, or without a reader on this machine, there is nothing to compare.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.host.sysfs import Tree
from ansible_collections.tfserving.fleet.plugins.module_utils.topology import read as topology
from planner_cases import IMAGE, cpus, plan

FOLDER = os.environ.get("FLEET_TOPOLOGIES")
ARCHIVES = sorted(Path(FOLDER).glob("*.tar.bz2")) if FOLDER else []


class Machine(NamedTuple):
    root: str
    found: dict

    @property
    def usable(self):
        return [cpu for cpu in self.found["cpus"] if cpu["online"]]


def recorded(*readers):
    """Runs a test for each archive, if the programs that it compares with are here."""
    archives = ARCHIVES if all(map(shutil.which, readers)) else []
    return pytest.mark.parametrize("machine", archives, ids=lambda archive: archive.name, indirect=True)


@pytest.fixture(scope="module")
def machine(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("machine")
    with tarfile.open(request.param) as archive:
        archive.extractall(folder, filter="tar")
    root = next(path.parent for path in sorted(folder.rglob("sys"), key=lambda path: len(path.parts)))
    return Machine(str(root), topology.read(Tree(str(root)), ["0x10de"]))


def hwloc(root):
    """What hwloc sees: numbers of CPUs, the CPUs of each core, memory of each node in MiB, network interfaces."""
    answer = subprocess.run(
        ["hwloc-ls", "--of", "xml", "--filter", "all:all"],
        env={**os.environ, "HWLOC_FSROOT": root, "HWLOC_THISSYSTEM": "0", "HWLOC_COMPONENTS": "linux,stop"},
        stdout=subprocess.PIPE,
        check=True,
    )
    objects = ElementTree.fromstring(answer.stdout).findall(".//object")
    return {
        "cpus": sorted(_number(thing) for thing in objects if thing.get("type") == "PU"),
        "cores": [
            sorted(_number(thread) for thread in thing.iterfind(".//object[@type='PU']"))
            for thing in objects
            if thing.get("type") == "Core"
        ],
        "nodes": {
            _number(thing): int(thing.get("local_memory", 0)) >> 20
            for thing in objects
            if thing.get("type") == "NUMANode"
        },
        "nics": sorted(thing.get("name") for thing in objects if thing.get("osdev_type") == "2"),
    }


def lscpu(root):
    """What lscpu sees: the node of each CPU that is online. It gives up on machines with very old kernels."""
    answer = subprocess.run(
        ["lscpu", "--sysroot", root, "--parse=CPU,NODE"], stdout=subprocess.PIPE, encoding="utf-8", check=False
    )
    lines = (line.split(",") for line in answer.stdout.splitlines() if not line.startswith("#"))
    return {int(cpu): int(node) for cpu, node in lines if node}


def _number(thing):
    return int(thing.get("os_index"))


@recorded("hwloc-ls")
def test_the_usable_cpus_are_those_that_hwloc_sees(machine):
    assert [cpu["id"] for cpu in machine.usable] == hwloc(machine.root)["cpus"]


@recorded("hwloc-ls")
def test_no_core_of_hwloc_is_split(machine):
    # The other way round it may be: modules of two cores that share one floating point unit are one core for us, as
    # they are for the scheduler of the kernel.
    core_of = {cpu["id"]: cpu["core"] for cpu in machine.usable}
    for threads in hwloc(machine.root)["cores"]:
        assert len({core_of[thread] for thread in threads}) == 1


@recorded("hwloc-ls")
def test_the_nodes_with_memory_are_those_that_hwloc_sees(machine):
    if machine.found["problems"]:
        return  # hwloc drops nodes that contradict each other; they are kept and reported here
    seen = hwloc(machine.root)["nodes"]
    with_memory = {node["id"] for node in machine.found["nodes"] if node["memory_mb"]}
    assert with_memory == {node for node, memory in seen.items() if memory}


@recorded("hwloc-ls")
def test_the_network_cards_are_those_that_hwloc_sees(machine):
    assert [nic["name"] for nic in machine.found["nics"]] == hwloc(machine.root)["nics"]


@recorded("lscpu")
def test_every_usable_cpu_is_on_the_node_that_lscpu_tells(machine):
    node_of = {cpu["id"]: cpu["node"] for cpu in machine.usable}
    seen = {cpu: node for cpu, node in lscpu(machine.root).items() if cpu in node_of}
    if not machine.found["problems"]:
        assert {cpu: node_of[cpu] for cpu in seen} == seen


@recorded()
def test_every_recorded_machine_is_planned_within_its_memory(machine):
    found = plan(machine.found, **{**IMAGE, "architecture": "x86_64"})
    (only,) = found["instances"]
    core_of = {cpu["id"]: cpu["core"] for cpu in machine.usable}
    kept = {core_of[cpu] for cpu in cpus(found["housekeeping"])}
    assert len(kept) <= -(-len(set(core_of.values())) // 8)
    assert len({cpu["kind"] == "efficiency" for cpu in machine.usable if cpu["id"] in cpus(only)}) == 1
    if machine.found["memory_mb"]:
        assert only["memory"]["max_mb"] < sum(node["memory_mb"] for node in machine.found["nodes"])
