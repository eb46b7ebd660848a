# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Which CPUs a host may use, told from what only the reading session may use."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.host.sysfs import Tree
from ansible_collections.tfserving.fleet.plugins.module_utils.topology import read as topology
from machines import build, write

V2 = "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid,nsdelegate 0 0"
V1 = "cgroup /sys/fs/cgroup/cpuset cgroup rw,nosuid,cpuset 0 0"
V1_MEMORY = "cgroup /sys/fs/cgroup/memory cgroup rw,nosuid,memory 0 0"
V2_BESIDE = "cgroup2 /sys/fs/cgroup/unified cgroup2 rw,nosuid 0 0"
GROUPS = "sys/fs/cgroup"


def read(root):
    return topology.read(Tree(str(root)), ["0x10de"])


def usable(root):
    return [cpu["id"] for cpu in read(root)["cpus"] if cpu["online"]]


@pytest.fixture
def host(tmp_path):
    """Four CPUs on two nodes, cgroup v2."""
    build(tmp_path, sockets=2, cores=2, smt=1)
    return tmp_path


@pytest.mark.parametrize(
    ("mounts", "controllers", "version", "mode"),
    [
        ([V2], "cpuset cpu io memory", 2, "unified"),
        ([V2], "", 2, "unified"),
        ([V1, V1_MEMORY], "", 1, "legacy"),
        ([V1_MEMORY], "", 1, "legacy"),
        ([V1, V1_MEMORY, V2_BESIDE], "", 1, "hybrid"),
        ([V1_MEMORY, V2_BESIDE], "cpuset", 2, "hybrid"),
        (["none /dev/cpuset cpuset rw 0 0"], "", 1, "legacy"),
        ([], "", None, None),
    ],
)
def test_the_cgroup_version_is_that_of_the_hierarchy_with_cpu_sets(host, mounts, controllers, version, mode):
    write(host, "proc/mounts", "\n".join(["proc /proc proc rw 0 0", *mounts]))
    write(host, "sys/fs/cgroup/cgroup.controllers", controllers)
    write(host, "sys/fs/cgroup/unified/cgroup.controllers", controllers)
    found = read(host)
    assert (found["cgroup_version"], found["cgroup_mode"]) == (version, mode)


@pytest.mark.parametrize("cgroup_version", [1, 2])
def test_cpus_outside_of_the_hosts_own_cpuset_are_not_online(tmp_path, cgroup_version):
    build(tmp_path, sockets=2, cores=2, smt=1, allowed=[1, 2], cgroup_version=cgroup_version)
    assert usable(tmp_path) == [1, 2]
    assert [node["cpus"] for node in read(tmp_path)["nodes"]] == [[1], [2]]


@pytest.mark.parametrize(
    ("mount", "file"),
    [
        ("none /dev/cpuset cpuset rw 0 0", "dev/cpuset/batch/job/{}"),
        ("none /dev/cpuset cgroup rw,cpuset,noprefix 0 0", "dev/cpuset/batch/job/{}"),
        ("none /dev/cpuset cgroup rw,cpuset 0 0", "dev/cpuset/batch/job/cpuset.{}"),
        ("none /cgroup cgroup2 rw 0 0", "cgroup/batch/job/cpuset.{}.effective"),
    ],
)
def test_every_kind_of_cpuset_file_system_is_understood(host, mount, file):
    write(host, "proc/mounts", mount)
    write(host, "proc/self/cpuset", "/batch/job")
    write(host, file.format("cpus"), "0,3")
    write(host, file.format("mems"), "1")
    found = read(host)
    assert [cpu["id"] for cpu in found["cpus"] if cpu["online"]] == [0, 3]
    assert [node["memory_mb"] for node in found["nodes"]] == [0, 65536]
    assert found["memory_mb"] == 65536


def test_the_nearest_group_with_a_cpuset_counts(host):
    write(host, "proc/1/cgroup", "0::/a/b/c/init.scope")
    write(host, f"{GROUPS}/a/cpuset.cpus.effective", "0-1")
    write(host, f"{GROUPS}/cpuset.cpus.effective", "0-3")
    assert usable(host) == [0, 1]


def test_a_group_outside_of_the_namespace_has_the_limits_of_the_mounts_root(host):
    write(host, "proc/1/cgroup", "0::/../outside")
    write(host, f"{GROUPS}/cpuset.cpus.effective", "2")
    assert usable(host) == [2]


def test_a_group_that_the_mount_does_not_show_has_the_limits_of_the_mounts_root(host):
    write(host, "proc/mounts", V1)
    write(host, "proc/1/cgroup", "4:memory:/docker/box\n3:cpuset:/docker/box\n0::/system.slice/containerd.service")
    write(host, f"{GROUPS}/cpuset/cpuset.cpus", "2-3")
    assert usable(host) == [2, 3]


def test_slices_that_keep_system_processes_off_the_serving_cpus_do_not_hide_these(host):
    write(host, f"{GROUPS}/cpuset.cpus.effective", "0-3")
    for group in ("init.scope", "system.slice", "system.slice/ssh.service"):
        write(host, f"{GROUPS}/{group}/cpuset.cpus.effective", "0")
    write(host, "proc/1/cgroup", "0::/init.scope")
    write(host, "proc/1/cpuset", "/init.scope")
    write(host, "proc/1/status", "Cpus_allowed_list:\t0")
    write(host, "proc/self/cgroup", "0::/system.slice/ssh.service")
    write(host, "proc/self/status", "Cpus_allowed_list:\t0")
    assert usable(host) == [0, 1, 2, 3]


def test_cpus_that_a_partition_took_for_itself_still_belong_to_the_host(host):
    write(host, "proc/1/cgroup", "0::/init.scope")
    write(host, f"{GROUPS}/cpuset.cpus.effective", "0")
    write(host, f"{GROUPS}/tfserving.slice/cpuset.cpus.partition", "root")
    write(host, f"{GROUPS}/tfserving.slice/cpuset.cpus.effective", "2-3")
    write(host, f"{GROUPS}/broken.slice/cpuset.cpus.partition", "root invalid (Parent is not a partition root)")
    write(host, f"{GROUPS}/broken.slice/cpuset.cpus.effective", "0-1")
    assert usable(host) == [0, 2, 3]


def test_without_cpusets_the_affinity_of_the_first_process_counts(host):
    write(host, "proc/mounts", "")
    write(host, "proc/1/cgroup", "")
    write(host, "proc/1/status", "Name:\tsystemd\nCpus_allowed_list:\t1-2\nMems_allowed_list:\t0-1")
    assert usable(host) == [1, 2]


def test_without_any_limit_all_cpus_count(host):
    write(host, "proc/mounts", "")
    assert usable(host) == [0, 1, 2, 3]
