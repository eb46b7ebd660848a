# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What of the driver is found on a host for a server that runs in a root of its own."""

from __future__ import annotations

from ansible_collections.tfserving.fleet.plugins.module_utils.driver import files as driver_files
from ansible_collections.tfserving.fleet.plugins.module_utils.host.sysfs import Tree

# Lines of `ldconfig -p`, which begin with a tab.
CACHE = """\
1234 libs found in cache `/etc/ld.so.cache'
\tlibnvidia-ml.so.1 (libc6,x86-64) => /lib/x86_64-linux-gnu/libnvidia-ml.so.1
\tlibnvidia-glcore.so.580.95.05 (libc6,x86-64) => /lib/x86_64-linux-gnu/libnvidia-glcore.so.580.95.05
\tlibnvidia-gpucomp.so.580.95.05 (libc6,x86-64) => /lib/x86_64-linux-gnu/libnvidia-gpucomp.so.580.95.05
\tlibcuda.so.1 (libc6,x86-64) => /lib/x86_64-linux-gnu/libcuda.so.1
\tlibcuda.so.1 (libc6,x86-64) => /usr/local/lib/libcuda.so.1
\tlibcuda.so.1 (libc6) => /lib/i386-linux-gnu/libcuda.so.1
\tlibcuda.so (libc6,x86-64) => /lib/x86_64-linux-gnu/libcuda.so
\tlibc.so.6 (libc6,x86-64, OS ABI: Linux 3.2.0) => /lib/x86_64-linux-gnu/libc.so.6
"""


def test_the_libraries_of_cuda_programs_are_found_and_nothing_else():
    lib = "/lib/x86_64-linux-gnu"
    assert driver_files.libraries(CACHE, "x86_64") == [
        {"name": "libcuda.so.1", "path": f"{lib}/libcuda.so.1"},
        {"name": "libnvidia-gpucomp.so.580.95.05", "path": f"{lib}/libnvidia-gpucomp.so.580.95.05"},
        {"name": "libnvidia-ml.so.1", "path": f"{lib}/libnvidia-ml.so.1"},
    ]


def test_a_host_without_the_driver_has_none():
    assert driver_files.libraries("", "x86_64") == []


def test_a_gpus_device_is_told_by_the_driver_and_may_differ_from_its_index(tmp_path):
    folder = tmp_path / "proc/driver/nvidia/gpus/0000:17:00.0"
    folder.mkdir(parents=True)
    (folder / "information").write_text("Model: \t\t NVIDIA H200\nDevice Minor: \t 3\nBlacklisted: no\n")
    tree = Tree(str(tmp_path))
    assert driver_files.device(tree, "0000:17:00.0") == "/dev/nvidia3"
    assert driver_files.device(tree, "0000:18:00.0") is None
