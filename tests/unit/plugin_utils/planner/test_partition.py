# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""How a plan keeps a host's CPUs apart: slices, interrupts, the lines of each instance."""

from __future__ import annotations

import json

import machines
import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils import cpu_list
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.tree.change import matcher
from ansible_collections.tfserving.fleet.plugins.plugin_utils.planner.partition import (
    enforces_cpusets,
    lines,
    mask,
    partition,
)
from hypothesis import assume, given
from hypothesis import strategies as st
from planner_cases import box, instance, model, online, plan, topologies, wishes
from repository import REPOSITORY

TEMPLATES = REPOSITORY / "roles/cpu_partition/templates/host"
FILES = {str(path.relative_to(TEMPLATES)).removesuffix(".j2") for path in TEMPLATES.rglob("*.j2")}
INTERRUPTS = {file for file in FILES if "system.conf.d" not in file and "{slice}" not in file}


def parted(topology, instances=None, models=None, **keys):
    return kept(topology, plan(topology, instances or [instance()], models), **keys)


def kept(topology, planned, **keys):
    """What a plan's own halves give, and the lines of its instances beside it."""
    enforced = enforces_cpusets(topology)
    found = partition(topology, planned["housekeeping"], planned["serving"], **keys)
    return {**found, "instances": {each["name"]: lines(each, enforced) for each in planned["instances"]}}


def by_name(entries):
    return {entry["name"]: entry for entry in entries}


@given(topologies(), wishes())
def test_no_unit_of_any_machine_gets_a_cpu_of_serving_and_none_is_lost(topology, wished):
    try:
        planned = plan(topology, *wished)
    except WishError:
        assume(False)
    found = kept(topology, planned)
    assert json.loads(json.dumps(found)) == found
    if found["mode"] != "cpuset":
        assert found["slices"] == []
        return
    slices = {name: set(cpu_list.parse(entry["cpus"])) for name, entry in by_name(found["slices"]).items()}
    serving = slices.pop("tfserving.slice")
    for cpus in slices.values():
        assert serving.isdisjoint(cpus)
        assert serving | cpus == online(topology)
    for held in found["instances"].values():
        assert set(cpu_list.parse(held["AllowedCPUs"])) <= serving
    assert set(cpu_list.parse(found["irqs"]["cpus"])).isdisjoint(serving)
    for each in found["irqs"]["local"]:
        assert set(cpu_list.parse(each["cpus"])) <= set(cpu_list.parse(found["irqs"]["cpus"]))


def test_a_usual_gpu_server_is_split_by_cpusets():
    found = parted(box())
    assert (found["mode"], found["warnings"]) == ("cpuset", [])
    slices = by_name(found["slices"])
    assert set(slices) == {"tfserving.slice", "system.slice", "user.slice", "machine.slice", "init.scope"}
    assert slices["system.slice"]["cpus"] == slices["init.scope"]["cpus"] == "0-1,32-33,64-65,96-97"
    assert slices["tfserving.slice"]["cpus"] == "2-31,34-63,66-95,98-127"
    assert slices["init.scope"]["section"] == "Scope"
    assert slices["user.slice"]["section"] == "Slice"


def test_a_host_too_small_to_split_is_left_whole_and_says_why():
    found = parted(box(0, sockets=1, cores=2))
    assert (found["mode"], found["slices"], found["irqs"], found["boot"]) == ("none", [], None, [])
    assert found["reason"].startswith("the system shares all CPUs with the servers: ")
    assert "fewer than the 4" in found["reason"]


def test_instances_of_an_unsplit_host_are_held_to_their_cpus_all_the_same():
    found = parted(box(0, sockets=1, cores=2))
    assert found["instances"]["ranker"]["AllowedCPUs"] == "0-3"


@pytest.mark.parametrize("mode", ["legacy", "hybrid", None])
def test_without_cpusets_affinity_takes_their_place_and_the_loss_is_told(mode):
    found = parted({**box(), "cgroup_mode": mode})
    assert (found["mode"], found["slices"]) == ("affinity", [])
    assert found["housekeeping"] == "0-1,32-33,64-65,96-97"
    assert "AllowedCPUs" not in found["instances"]["ranker"]
    assert found["instances"]["ranker"]["CPUAffinity"]
    (warning,) = found["warnings"]
    assert "which any process may widen for itself" in warning
    assert warning.endswith("boot with systemd.unified_cgroup_hierarchy=1 to have the kernel enforce it")


def test_a_container_leaves_interrupts_and_the_kernel_to_its_host():
    found = parted({**box(), "virtualization": "docker"})
    assert (found["mode"], found["irqs"], found["boot"]) == ("affinity", None, [])
    assert "cpusets and interrupts are up to the host around it" in found["warnings"][0]


CPUSETS_ALONE = {"etc/systemd/system.conf.d/90-tfserving-fleet.conf"}


@pytest.mark.parametrize(
    ("topology", "left_out"),
    [
        (box(), CPUSETS_ALONE),
        ({**box(), "cgroup_mode": "hybrid"}, set()),
        ({**box(), "virtualization": "docker"}, INTERRUPTS),
        (box(0, sockets=1, cores=2), CPUSETS_ALONE | INTERRUPTS),
    ],
    ids=["cpusets", "affinity", "container", "whole"],
)
def test_files_that_a_host_does_not_need_are_left_out(topology, left_out):
    patterns = [matcher(pattern) for pattern in parted(topology)["exclude"]]
    assert {file for file in FILES if any(matches(file) for matches in patterns)} == left_out


def test_memory_nodes_are_named_only_where_they_are_not_all():
    topology = box()
    planned = plan(topology, [instance()])
    assert {each["nodes"] for each in kept(topology, planned)["slices"]} == {""}
    planned["serving"]["nodes"] = "1"
    assert by_name(kept(topology, planned)["slices"])["tfserving.slice"]["nodes"] == "1"


def lines_of(**memory):
    topology = box()
    planned = plan(topology, [instance()])
    planned["instances"][0]["memory"].update(memory)
    return kept(topology, planned)["instances"]["ranker"]


def test_bound_memory_is_held_by_the_kernel_and_preferred_memory_keeps_its_way_out():
    bound = lines_of(policy="bind", mask="1")
    assert (bound["NUMAPolicy"], bound["NUMAMask"], bound["AllowedMemoryNodes"]) == ("bind", "1", "1")
    preferred = lines_of(policy="preferred", mask="1")
    assert (preferred["NUMAPolicy"], preferred["NUMAMask"]) == ("preferred", "1")
    assert "AllowedMemoryNodes" not in preferred


def test_memory_limits_are_in_systemds_units_and_unknown_ones_left_out():
    lines = lines_of(high_mb=1500, max_mb=2000, policy="default", mask="")
    assert (lines["MemoryHigh"], lines["MemoryMax"]) == ("1500M", "2000M")
    assert not {"NUMAPolicy", "NUMAMask", "AllowedMemoryNodes"} & set(lines)
    assert "MemoryHigh" not in lines_of(high_mb=None)


def test_interrupts_of_a_device_go_to_its_own_nodes_housekeeping():
    irqs = parted(box())["irqs"]
    assert irqs["cpus"] == "0-1,32-33,64-65,96-97"
    assert irqs["local"] == [{"node": 0, "cpus": "0-1,64-65"}, {"node": 1, "cpus": "32-33,96-97"}]
    assert irqs["mask"] == "3,00000003,00000003,00000003"
    assert irqs["banned"] == "2-31,34-63,66-95,98-127"


@given(st.sets(st.integers(0, 300)))
def test_masks_are_the_kernels(cpus):
    text = mask(cpus)
    groups = text.split(",")
    assert all(len(group) == 8 for group in groups[1:])
    assert {bit for bit in range(301) if int(text.replace(",", ""), 16) >> bit & 1} == cpus


def test_no_boot_parameter_takes_serving_cpus_out_of_load_balancing():
    parameters = [each["parameter"] for each in parted(box())["boot"]]
    assert "isolcpus=managed_irq,2-31,34-63,66-95,98-127" in parameters
    assert not any("domain" in parameter for parameter in parameters)


def test_further_slices_keep_to_housekeeping_as_well():
    slices = by_name(parted(box(), extra_slices=["kubepods.slice"])["slices"])
    assert slices["kubepods.slice"]["cpus"] == slices["system.slice"]["cpus"]


@pytest.mark.parametrize("name", ["tfserving.slice", "docker.service", "a-b.slice", "../x.slice"])
def test_what_is_no_slice_beside_serving_is_refused(name):
    with pytest.raises(WishError) as refusal:
        parted(box(), extra_slices=[name])
    assert str(refusal.value) == (
        f"cpu_partition_extra_slices: '{name}' cannot be kept away from serving;"
        " name a slice directly below the root, such as kubepods.slice"
    )


def test_every_model_of_a_partitioned_host_keeps_its_own_lines():
    topology = machines.topology(nics=[{}])
    found = parted(topology, [instance("a"), instance("b")], [model()])
    assert set(found["instances"]) == {"a", "b"}
    a, b = (set(cpu_list.parse(found["instances"][name]["AllowedCPUs"])) for name in "ab")
    assert a.isdisjoint(b)
