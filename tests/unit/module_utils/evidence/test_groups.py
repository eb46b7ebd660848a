# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Throttling and pressure of a server's cgroups, on each version and where there is nothing to read."""

from __future__ import annotations

from ansible_collections.tfserving.fleet.plugins.module_utils.evidence import groups
from ansible_collections.tfserving.fleet.plugins.module_utils.host.sysfs import Tree

UNIT = "tfserving.slice/tfserving@ranker.service"
V2_MOUNT = "cgroup2 /sys/fs/cgroup cgroup2 rw,nosuid 0 0\n"
V1_MOUNTS = (
    "cgroup /sys/fs/cgroup/systemd cgroup rw,xattr,name=systemd 0 0\n"
    "cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,cpu,cpuacct 0 0\n"
)


def lay(root, **files):
    """Write files of a host; ``__`` stands for a slash."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Tree(str(root))


def unified(root, **more):
    return lay(root, **{"proc/mounts": V2_MOUNT, "proc/7/cgroup": f"0::/{UNIT}\n", **more})


def test_the_groups_of_v2(tmp_path):
    found = groups.of_process(unified(tmp_path), 7)
    assert found == (f"/sys/fs/cgroup/{UNIT}",) * 3


def test_the_groups_of_v1(tmp_path):
    lines = f"4:cpu,cpuacct:/{UNIT}\n2:memory:/{UNIT}\n1:name=systemd:/docker/1/{UNIT}\n"
    found = groups.of_process(lay(tmp_path, **{"proc/mounts": V1_MOUNTS, "proc/7/cgroup": lines}), 7)
    assert found == (f"/sys/fs/cgroup/cpu,cpuacct/{UNIT}", None, f"/sys/fs/cgroup/systemd/docker/1/{UNIT}")


def test_a_group_outside_of_the_namespace_cannot_be_read(tmp_path):
    tree = lay(tmp_path, **{"proc/mounts": V2_MOUNT, "proc/7/cgroup": "0::/../x\n"})
    assert groups.of_process(tree, 7) == (None, None, None)


def test_a_process_that_is_gone_has_none(tmp_path):
    assert groups.of_process(Tree(str(tmp_path)), 7) == (None, None, None)


def test_throttling_counts_the_quotas_of_the_slice_too(tmp_path):
    stats = {
        f"sys/fs/cgroup/{UNIT}/cpu.stat": "usage_usec 9\nnr_periods 4\nnr_throttled 2\nthrottled_usec 1500\n",
        "sys/fs/cgroup/tfserving.slice/cpu.stat": "usage_usec 9\nnr_periods 4\nnr_throttled 3\nthrottled_usec 200\n",
        "sys/fs/cgroup/cpu.stat": "usage_usec 9\n",
    }
    assert groups.throttled(unified(tmp_path, **stats), f"/sys/fs/cgroup/{UNIT}") == (5, 1700)


def test_v1_counts_nanoseconds(tmp_path):
    group = f"sys/fs/cgroup/cpu/{UNIT}"
    tree = lay(tmp_path, **{f"{group}/cpu.stat": "nr_periods 0\nnr_throttled 1\nthrottled_time 2500000\n"})
    assert groups.throttled(tree, f"/{group}") == (1, 2500)


def test_nothing_to_read_is_nothing_known(tmp_path):
    tree = Tree(str(tmp_path))
    assert groups.throttled(tree, None) == (None, None)
    assert groups.throttled(tree, "/sys/fs/cgroup/x") == (None, None)
    assert groups.pressures(tree, None) == {"cpu": None, "memory": None, "io": None}
    assert groups.host_pressures(tree) == {"cpu": None, "memory": None, "io": None}
    assert groups.slice_of(None) is None


def test_pressure_is_that_of_the_slice_and_of_the_host(tmp_path):
    line = "some avg10=0.00 avg60=0.00 avg300=0.00 total={}\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=1\n"
    pressures = {
        "sys/fs/cgroup/tfserving.slice/cpu.pressure": line.format(123),
        "sys/fs/cgroup/tfserving.slice/io.pressure": "garbage\n",
        "proc/pressure/memory": line.format(77),
    }
    tree = unified(tmp_path, **pressures)
    assert groups.slice_of(f"/sys/fs/cgroup/{UNIT}") == "/sys/fs/cgroup/tfserving.slice"
    assert groups.pressures(tree, "/sys/fs/cgroup/tfserving.slice") == {"cpu": 123, "memory": None, "io": None}
    assert groups.host_pressures(tree) == {"cpu": None, "memory": 77, "io": None}
