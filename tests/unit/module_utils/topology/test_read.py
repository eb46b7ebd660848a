# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Reading machines that are made of files."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.host.sysfs import Tree
from ansible_collections.tfserving.fleet.plugins.module_utils.topology import read as topology
from hypothesis import given, settings
from hypothesis import strategies as st
from machines import build, link, write
from machines import topology as described

CPU = "sys/devices/system/cpu"
NODE = "sys/devices/system/node"
NVIDIA = ["0x10de"]


def read(root, vendors=NVIDIA):
    return topology.read(Tree(str(root)), vendors)


def cpu(found, number):
    return next(entry for entry in found["cpus"] if entry["id"] == number)


def usable(found):
    return [entry["id"] for entry in found["cpus"] if entry["online"]]


@st.composite
def shapes(draw):
    """Machines of all shapes, with CPUs switched off and held back, and devices on any node or none."""
    shape = draw(
        st.fixed_dictionaries(
            {
                "sockets": st.integers(1, 3),
                "nodes_per_socket": st.integers(1, 3),
                "cores": st.integers(1, 4),
                "smt": st.sampled_from([1, 2, 4]),
                "hybrid": st.integers(0, 2),
                "sparse": st.booleans(),
                "cgroup_version": st.sampled_from([1, 2]),
            }
        )
    )
    machine = described(**shape)
    ids = [entry["id"] for entry in machine["cpus"]]
    shape["offline"] = draw(st.sets(st.sampled_from(ids[1:]))) if ids[1:] else set()
    # The described machine knows its fastest core; one of them must be on for the files to tell it as well.
    shape["offline"].discard(ids[0])
    shape["allowed"] = draw(st.none() | st.sets(st.sampled_from(ids), min_size=1))
    device = st.fixed_dictionaries({"node": st.none() | st.sampled_from([node["id"] for node in machine["nodes"]])})
    shape["gpus"] = draw(st.lists(device, max_size=3))
    shape["nics"] = draw(st.lists(device, max_size=2))
    return shape


@settings(max_examples=40)
@given(shapes())
def test_a_machine_is_read_back_from_its_files(shape):
    with TemporaryDirectory() as root:
        assert read(build(Path(root), **shape)) == described(**shape)


@settings(max_examples=40)
@given(shapes(), st.data())
def test_whatever_the_files_lack_every_usable_cpu_has_one_core_and_one_node(shape, data):
    with TemporaryDirectory() as root:
        build(Path(root), **shape)
        files = sorted(path for path in Path(root, "sys/devices/system").rglob("*") if path.is_file())
        for path in data.draw(st.lists(st.sampled_from(files), max_size=20, unique=True)):
            path.unlink()
        found = read(root)
    homes = [number for node in found["nodes"] for number in node["cpus"]]
    assert sorted(homes) == usable(found)
    for entry in found["cpus"]:
        assert entry["core"] == min(entry["siblings"])
        assert entry["id"] in entry["siblings"]
        assert all(cpu(found, sibling)["siblings"] == entry["siblings"] for sibling in entry["siblings"])
        assert not entry["online"] or entry["id"] in next(n["cpus"] for n in found["nodes"] if n["id"] == entry["node"])


def test_a_cpu_that_is_switched_off_is_listed_as_not_online(tmp_path):
    found = read(build(tmp_path, sockets=1, cores=2, smt=2, offline=[2]))
    assert [entry["id"] for entry in found["cpus"]] == [0, 1, 2, 3]
    assert usable(found) == [0, 1, 3]
    assert cpu(found, 0)["siblings"] == [0]


def test_places_for_cpus_that_are_not_there_are_not_cpus(tmp_path):
    build(tmp_path, sockets=1, cores=2, smt=1)
    write(tmp_path, f"{CPU}/possible", "0-63")
    write(tmp_path, f"{CPU}/cpu5/online", 0)
    assert [entry["id"] for entry in read(tmp_path)["cpus"]] == [0, 1]


def test_cpus_are_found_without_the_summary_files_of_newer_kernels(tmp_path):
    build(tmp_path, sockets=1, cores=2, smt=1, offline=[1])
    for name in ("present", "online", "possible"):
        (tmp_path / CPU / name).unlink()
    assert usable(read(tmp_path)) == [0]


def test_masks_serve_where_an_old_kernel_has_no_lists(tmp_path):
    build(tmp_path, sockets=2, cores=2, smt=2, gpus=[{"node": 1}])
    for number in range(8):
        shutil.rmtree(tmp_path / CPU / f"cpu{number}" / "topology")
        write(tmp_path, f"{CPU}/cpu{number}/topology/thread_siblings", f"00000000,{0x11 << number % 4:08x}")
    for node, mask in enumerate(("33", "cc")):
        (tmp_path / NODE / f"node{node}" / "cpulist").unlink()
        write(tmp_path, f"{NODE}/node{node}/cpumap", f"00000000,000000{mask}")
    gpu = next((tmp_path / "sys/devices/pci0000:00").iterdir())
    (gpu / "local_cpulist").unlink()
    write(tmp_path, f"{gpu.relative_to(tmp_path)}/local_cpus", "00000000,000000cc")
    found = read(tmp_path)
    assert cpu(found, 6)["siblings"] == [2, 6]
    assert [node["cpus"] for node in found["nodes"]] == [[0, 1, 4, 5], [2, 3, 6, 7]]
    assert found["gpus"][0]["local_cpus"] == [2, 3, 6, 7]


def test_a_list_that_a_kernel_ended_with_a_nul_is_read(tmp_path):
    build(tmp_path, sockets=2, cores=1, smt=1)
    write(tmp_path, f"{NODE}/node1/cpulist", "1\n\0")
    assert [node["cpus"] for node in read(tmp_path)["nodes"]] == [[0], [1]]


def test_a_host_without_numa_is_one_node(tmp_path):
    build(tmp_path, sockets=1, cores=2, smt=1, memory_mb=2048, gpus=[{}])
    shutil.rmtree(tmp_path / NODE)
    found = read(tmp_path)
    assert found["nodes"] == [{"id": 0, "cpus": [0, 1], "memory_mb": 2048, "distances": [10]}]
    assert [entry["node"] for entry in found["cpus"]] == [0, 0]
    assert found["gpus"][0]["node"] == 0


def test_nodes_without_memory_and_nodes_without_cpus_are_nodes(tmp_path):
    build(tmp_path, sockets=3, cores=1, smt=1, memory_mb=1024)
    (tmp_path / NODE / "node0" / "meminfo").unlink()
    write(tmp_path, f"{NODE}/node2/cpulist", "")
    write(tmp_path, f"{CPU}/present", "0-1")
    nodes = [(node["cpus"], node["memory_mb"]) for node in read(tmp_path)["nodes"]]
    assert nodes == [([0], 0), ([1], 1024), ([], 1024)]


def coherent(root, arch="aarch64", gpus=1):
    """Writes a host of two nodes with CPUs and one node of memory alone, node 2; each has 8192 MB."""
    build(root, sockets=3, cores=1, smt=1, memory_mb=8192, gpus=[{"node": 0}] * gpus)
    shutil.rmtree(root / CPU / "cpu2")
    write(root, f"{CPU}/present", "0-1")
    write(root, f"{CPU}/online", "0-1")
    write(root, f"{NODE}/node2/cpulist", "")
    write(root, "proc/sys/kernel/arch", arch)
    return root


def blocks(root, node, *numbers):
    write(root, "sys/devices/system/memory/block_size_bytes", "8000000")
    for number in numbers:
        write(root, f"{NODE}/node{node}/memory{number}/state", "online")


def host_nodes(found):
    return {node["id"]: node["memory_mb"] for node in found["nodes"]}


def test_memory_that_the_driver_calls_a_gpus_is_not_the_hosts(tmp_path):
    coherent(tmp_path)
    write(tmp_path, "proc/driver/nvidia/gpus/0009:01:00.0/numa_status", "Node:      2\nStatus:    online")
    write(tmp_path, f"{NODE}/node0/distance", "10 40 80")
    found = read(tmp_path)
    assert host_nodes(found) == {0: 8192, 1: 8192}
    # The kernel's own sum is 24576 MB.
    assert (found["memory_mb"], found["problems"]) == (16384, [])
    assert found["nodes"][0]["distances"] == [10, 40]


def test_a_gpus_virtual_functions_have_no_memory_that_could_be_a_node(tmp_path):
    coherent(tmp_path, gpus=2)
    link(tmp_path, "sys/devices/pci0000:00/0000:11:00.0/physfn", "../0000:10:00.0")
    write(tmp_path, "proc/driver/nvidia/gpus/0000:10:00.0/numa_status", "Node:      7\nStatus:    online")
    found = read(tmp_path)
    assert (host_nodes(found)[2], found["problems"]) == (8192, [])


def test_memory_that_the_firmware_calls_a_gpus_is_not_the_hosts(tmp_path):
    coherent(tmp_path, "ppc64le")
    folder = tmp_path / "proc/device-tree/memory@4000000000"
    folder.mkdir(parents=True)
    (folder / "compatible").write_bytes(b"ibm,coherent-device-memory\0")
    (folder / "ibm,chip-id").write_bytes(b"\0\0\0\x02")
    write(tmp_path, "proc/device-tree/memory@0/compatible", "memory")
    found = read(tmp_path)
    assert (host_nodes(found), found["memory_mb"], found["problems"]) == ({0: 8192, 1: 8192}, 16384, [])


def test_memory_that_the_driver_has_added_is_not_the_hosts(tmp_path):
    coherent(tmp_path)
    blocks(tmp_path, 2, 16, 17)
    write(tmp_path, "proc/iomem", "00000000-7fffffff : System RAM\n  80000000-8fffffff : System RAM (NVIDIA)\n")
    found = read(tmp_path)
    assert (host_nodes(found), found["memory_mb"], found["problems"]) == ({0: 8192, 1: 8192}, 16384, [])


def test_memory_beside_that_of_all_gpus_is_the_hosts(tmp_path):
    coherent(tmp_path)
    blocks(tmp_path, 2, 15, 16)
    write(tmp_path, "proc/iomem", "00000000-7fffffff : System RAM\n  80000000-8fffffff : System RAM (NVIDIA)\n")
    assert host_nodes(read(tmp_path)) == {0: 8192, 1: 8192, 2: 8192}


def test_memory_that_came_as_a_device_is_the_hosts(tmp_path):
    coherent(tmp_path)
    write(tmp_path, "sys/bus/dax/devices/dax0.0/target_node", 2)
    found = read(tmp_path)
    assert (host_nodes(found)[2], found["memory_mb"], found["problems"]) == (8192, 24576, [])


@pytest.mark.parametrize(("arch", "gpus"), [("x86_64", 1), ("aarch64", 0)])
def test_memory_without_cpus_is_the_hosts_where_no_gpu_can_own_it(tmp_path, arch, gpus):
    found = read(coherent(tmp_path, arch, gpus))
    assert (host_nodes(found)[2], found["memory_mb"], found["problems"]) == (8192, 24576, [])


def test_an_old_kernel_on_x86_is_known_by_its_cpus(tmp_path):
    coherent(tmp_path)
    (tmp_path / "proc/sys/kernel/arch").unlink()
    write(tmp_path, "proc/cpuinfo", "processor\t: 0\nvendor_id\t: GenuineIntel\n")
    assert host_nodes(read(tmp_path))[2] == 8192


def test_memory_that_may_be_a_gpus_is_not_counted_and_reported(tmp_path):
    found = read(coherent(tmp_path, gpus=2))
    assert (host_nodes(found), found["memory_mb"]) == ({0: 8192, 1: 8192}, 16384)
    assert found["problems"] == [
        "node 2 has memory and no CPUs, and it is unknown whether it is a GPU's: its 8192 MB are not counted as memory"
        " of the host"
    ]


def test_nodes_that_list_no_cpu_at_all_are_the_hosts(tmp_path):
    build(tmp_path, sockets=1, cores=2, smt=1, memory_mb=8192, gpus=[{}])
    write(tmp_path, f"{NODE}/node0/cpulist", "")
    write(tmp_path, "proc/sys/kernel/arch", "aarch64")
    found = read(tmp_path)
    assert (host_nodes(found), found["memory_mb"]) == ({0: 8192}, 8192)


def test_memory_plugged_in_later_counts_on_the_only_node(tmp_path):
    build(tmp_path, sockets=1, memory_mb=8192)
    write(tmp_path, f"{NODE}/node0/meminfo", "Node 0 MemTotal: 1048576 kB")
    assert read(tmp_path)["nodes"][0]["memory_mb"] == 8192


def test_a_cpu_on_two_nodes_is_counted_to_the_first_and_reported(tmp_path):
    build(tmp_path, sockets=2, cores=2, smt=1)
    write(tmp_path, f"{NODE}/node1/cpulist", "0-3")
    found = read(tmp_path)
    assert [node["cpus"] for node in found["nodes"]] == [[0, 1], [2, 3]]
    assert found["problems"] == [
        "CPUs 0-1 are listed on more than one NUMA node; each is counted to the first of them",
    ]


def test_a_cpu_on_no_node_goes_to_the_node_of_its_socket_and_is_reported(tmp_path):
    build(tmp_path, sockets=2, cores=2, smt=1)
    write(tmp_path, f"{NODE}/node1/cpulist", "2")
    found = read(tmp_path)
    assert [node["cpus"] for node in found["nodes"]] == [[0, 1], [2, 3]]
    assert found["problems"] == ["CPUs 3 are listed on no NUMA node; each is counted to a node of its socket"]


def test_a_cpu_that_the_only_node_does_not_list_is_reported(tmp_path):
    build(tmp_path, sockets=1, cores=2, smt=1)
    write(tmp_path, f"{NODE}/node0/cpulist", "1")
    found = read(tmp_path)
    assert found["nodes"][0]["cpus"] == [0, 1]
    assert found["problems"] == ["CPUs 0 are listed on no NUMA node; each is counted to a node of its socket"]


def test_a_table_of_distances_that_is_incomplete_is_left_out(tmp_path):
    build(tmp_path, sockets=2)
    write(tmp_path, f"{NODE}/node1/distance", "20")
    assert [node["distances"] for node in read(tmp_path)["nodes"]] == [[10, 20], []]


@pytest.mark.parametrize("package", ["-1", None])
def test_a_socket_that_firmware_does_not_tell_is_null(tmp_path, package):
    build(tmp_path, sockets=1, cores=1, smt=1)
    if package:
        write(tmp_path, f"{CPU}/cpu0/topology/physical_package_id", package)
    else:
        (tmp_path / CPU / "cpu0/topology/physical_package_id").unlink()
    assert cpu(read(tmp_path), 0)["socket"] is None


def test_siblings_that_contradict_each_other_still_make_whole_cores(tmp_path):
    build(tmp_path, sockets=1, cores=2, smt=1)
    write(tmp_path, f"{CPU}/cpu0/topology/core_cpus_list", "0-1")
    found = read(tmp_path)
    assert [entry["siblings"] for entry in found["cpus"]] == [[0, 1], [0, 1]]


class TestKindsOfCores:
    def test_the_kernels_own_word_counts_first(self, tmp_path):
        build(tmp_path, sockets=1, cores=3, smt=1)
        write(tmp_path, "sys/devices/cpu_core/cpus", "0")
        write(tmp_path, "sys/devices/cpu_atom/cpus", "1")
        kinds = [entry["kind"] for entry in read(tmp_path)["cpus"]]
        assert kinds == ["performance", "efficiency", "unknown"]

    def test_capacity_counts_before_the_clock(self, tmp_path):
        build(tmp_path, sockets=1, cores=2, smt=1)
        write(tmp_path, f"{CPU}/cpu0/cpu_capacity", 718)
        write(tmp_path, f"{CPU}/cpu1/cpu_capacity", 1024)
        assert [entry["kind"] for entry in read(tmp_path)["cpus"]] == ["efficiency", "performance"]

    @pytest.mark.parametrize(
        ("mhz", "kind"), [(5200, "performance"), (5000, "performance"), (4600, "efficiency"), (3900, "efficiency")]
    )
    def test_a_favoured_core_does_not_make_the_others_slow(self, tmp_path, mhz, kind):
        build(tmp_path, sockets=1, cores=2, smt=1)
        write(tmp_path, f"{CPU}/cpu0/cpufreq/cpuinfo_max_freq", 5700 * 1000 if mhz == 4600 else 5200 * 1000)
        write(tmp_path, f"{CPU}/cpu1/cpufreq/cpuinfo_max_freq", mhz * 1000)
        assert cpu(read(tmp_path), 1)["kind"] == kind

    def test_without_any_hint_the_kind_is_unknown(self, tmp_path):
        build(tmp_path, sockets=1, cores=1, smt=1)
        shutil.rmtree(tmp_path / CPU / "cpu0/cpufreq")
        assert cpu(read(tmp_path), 0)["kind"] == "unknown"
        assert cpu(read(tmp_path), 0)["max_mhz"] is None


def test_cpuinfo_serves_where_sysfs_shows_no_cpu(tmp_path):
    write(tmp_path, "proc/cpuinfo", "processor\t: 0\nmodel name\t: x\n\nprocessor\t: 1\n")
    found = read(tmp_path)
    assert usable(found) == [0, 1]
    assert [entry["core"] for entry in found["cpus"]] == [0, 1]


def test_a_folder_that_holds_no_machine_is_refused_by_name(tmp_path):
    with pytest.raises(LookupError, match=f"no CPU is listed in {tmp_path}/sys/devices/system/cpu"):
        read(tmp_path)


def test_huge_pages_are_listed_by_size(tmp_path):
    build(tmp_path)
    write(tmp_path, "sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", 512)
    write(tmp_path, "sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages", 4)
    assert read(tmp_path)["hugepages"] == [{"size_kb": 2048, "total": 512}, {"size_kb": 1048576, "total": 4}]


@pytest.mark.parametrize(
    ("files", "virtualization"),
    [
        ({}, "none"),
        ({"sys/class/dmi/id/sys_vendor": "Dell Inc."}, "none"),
        ({"sys/class/dmi/id/sys_vendor": "QEMU"}, "qemu"),
        ({"sys/class/dmi/id/product_name": "KVM", "sys/class/dmi/id/sys_vendor": "Red Hat"}, "kvm"),
        ({"sys/class/dmi/id/sys_vendor": "Amazon EC2", "proc/cpuinfo": "flags\t: fpu sse"}, "none"),
        ({"sys/class/dmi/id/sys_vendor": "Amazon EC2", "proc/cpuinfo": "flags\t: fpu hypervisor sse"}, "amazon"),
        ({"proc/cpuinfo": "flags\t: fpu hypervisor"}, "vm-other"),
        ({".dockerenv": ""}, "docker"),
        ({"run/.containerenv": ""}, "podman"),
        ({"proc/1/environ": "HOME=/\0container=lxc\0TERM=linux\0"}, "lxc"),
    ],
)
def test_containers_and_virtual_machines_are_told_from_hosts(tmp_path, files, virtualization):
    build(tmp_path)
    for path, text in files.items():
        write(tmp_path, path, text)
    assert read(tmp_path)["virtualization"] == virtualization


def test_the_kernel_of_a_recording_is_read_from_its_version(tmp_path):
    build(tmp_path)
    (tmp_path / "proc/sys/kernel/osrelease").unlink()
    write(tmp_path, "proc/version", "Linux version 6.17.0-1014-nvidia (buildd@bos03) #14-Ubuntu SMP")
    assert read(tmp_path)["kernel"] == "6.17.0-1014-nvidia"


def test_links_that_lead_nowhere_are_nothing(tmp_path):
    build(tmp_path)
    link(tmp_path, "sys/class/net/eth9", "../../devices/gone/net/eth9")
    assert read(tmp_path)["nics"] == []
