# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What the kernel's log says of GPUs: lines as NVIDIA's driver prints them, and what NVIDIA says is to be done."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils import xids


@pytest.mark.parametrize(
    ("words", "action"),
    [
        # nvidia-smi's gpu_recovery_action
        ("None", "ignore"),
        ("Reset", "reset_gpu"),
        ("Reboot", "restart_host"),
        ("Drain P2P", "drain_p2p"),
        ("Drain and Reset", "reset_gpu"),
        ("Recover IMEX Domain", "recover_imex"),
        # Xid 154
        ("GPU Reset Required", "reset_gpu"),
        ("Node Reboot Required", "restart_host"),
        # nvml.h
        ("BUS_RESET", "restart_host"),
        ("NVML_GPU_RECOVERY_ACTION_SYSTEM_REBOOT", "restart_host"),
        ("GPU_RECOVERY_ACTION_NONE", "ignore"),
        ("  drain_P2P ", "drain_p2p"),
        ("Unknown", "contact_support"),
        ("x" * 10_000_000, "contact_support"),
        ("", "contact_support"),
    ],
)
def test_a_recovery_action_is_understood_in_each_of_nvidias_spellings(words, action):
    assert xids.recovery(words) == action
