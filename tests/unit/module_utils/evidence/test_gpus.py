# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The GPUs of an instance as nvidia-smi reports them, well or not at all."""

from __future__ import annotations

from ansible_collections.tfserving.fleet.plugins.module_utils.evidence import gpus
from ansible_collections.tfserving.fleet.plugins.module_utils.nvidia.smi import NvidiaSmiError

ROWS = (
    "0, GPU-aaaa, 00000000:01:00.0, 1980, 2619, 61, 301.50, 0x0000000000000004, NVIDIA H100\n"
    "1, GPU-bbbb, 00000000:02:00.0, 345, [N/A], 30, 70.00, 0x0000000000000001, NVIDIA H100\n"
)


def test_only_the_instances_gpus_are_told():
    expected = {"index": 0, "sm_mhz": 1980.0, "memory_mhz": 2619.0, "temperature": 61.0, "power_w": 301.5, "reasons": 4}
    assert gpus.read([0], lambda _arguments: ROWS) == [expected]
    assert gpus.read(["GPU-aaaa"], lambda _arguments: ROWS) == [expected]


def test_figures_that_a_gpu_lacks_are_none():
    (found,) = gpus.read([1], lambda _arguments: ROWS)
    assert (found["memory_mhz"], found["reasons"]) == (None, 1)


def test_of_a_slice_all_gpus_are_told():
    assert len(gpus.read(["MIG-x"], lambda _arguments: ROWS)) == 2


def test_no_answer_is_none():
    def fail(_arguments):
        raise NvidiaSmiError("nvidia-smi --query-gpu did not answer within 4 seconds")

    assert gpus.read([0], fail) is None
    assert gpus.read([0], lambda _arguments: None) is None
