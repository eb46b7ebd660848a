# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a process's memory consists of, by the kernel, and what its GPUs hold, by nvidia-smi."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.evidence import memory
from ansible_collections.tfserving.fleet.plugins.module_utils.host.sysfs import Tree
from ansible_collections.tfserving.fleet.plugins.module_utils.nvidia.smi import NvidiaSmiError

ROLLUP = """563cf1b60000-7fff44284000 ---p 00000000 00:00 0                          [rollup]
Rss:             2097152 kB
Pss:             2090000 kB
Anonymous:       1572864 kB
LazyFree:         262144 kB
AnonHugePages:    524288 kB
"""
ROWS = (
    "0, GPU-aaaa, 00000000:01:00.0, 40960, NVIDIA H100\n"
    "1, GPU-bbbb, 00000000:02:00.0, [N/A], NVIDIA H100\n"
    "2, GPU-cccc, 00000000:03:00.0, 12, NVIDIA H100\n"
)


@pytest.fixture
def tree(tmp_path):
    """tree(text) is a root in which the process 42 has that smaps_rollup."""

    def made(text):
        (tmp_path / "proc/42").mkdir(parents=True)
        (tmp_path / "proc/42/smaps_rollup").write_text(text)
        return Tree(tmp_path)

    return made


def test_the_kernels_figures_are_told_in_mib(tree):
    assert memory.read(tree(ROLLUP), 42) == {
        "resident_mb": 2048.0,
        "anonymous_mb": 1536.0,
        "huge_mb": 512.0,
        "lazy_mb": 256.0,
    }


@pytest.mark.parametrize("text", ["", ROLLUP.replace("LazyFree", "Lazy"), ROLLUP.replace("2097152", "many")])
def test_a_kernel_that_does_not_tell_all_tells_nothing(tree, text):
    assert memory.read(tree(text), 42) is None


def test_a_process_that_is_gone_has_no_memory(tree):
    assert memory.read(tree(ROLLUP), 43) is None


def test_the_used_memory_of_the_instances_gpus_is_told_by_index():
    assert memory.gpus([0, "GPU-cccc"], lambda _arguments: ROWS) == {"0": 40960.0, "2": 12.0}


def test_without_an_answer_about_its_gpus_nothing_is_told():
    def fail(_arguments):
        raise NvidiaSmiError("nvidia-smi --query-gpu did not answer within 4 seconds")

    assert memory.gpus([1], lambda _arguments: ROWS) is None
    assert memory.gpus([0], fail) is None
    assert memory.gpus([0], lambda _arguments: None) is None
    assert memory.gpus([], fail) is None
