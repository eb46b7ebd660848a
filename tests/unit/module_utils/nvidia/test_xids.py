# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What NVIDIA says is to be done about each Xid, and about each recovery action."""

from __future__ import annotations

import re

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.gpus import xid_findings
from ansible_collections.tfserving.fleet.plugins.module_utils.nvidia import xids

# NVIDIA's catalogue ("Xids", column "Immediate Action", 172 codes): the codes of each bucket.
CATALOGUE = {
    "CONTACT_SUPPORT": "1-7 9-10 12 15-24 26-30 33-36 42 47 49-53 55-59 61 65 73 81 87 90-91 111-118 122-125 138 142",
    "RESTART_APP": "8 11 13 25 31-32 39-41 60 68-72 75-77 80 82-86 88-89 94 96-105 126-135 139",
    "IGNORE": "14 37-38 43-44 63 66-67 92-93 106-108 121 137 141 152-153 157 160-161",
    "RESET_GPU": "46 62 64 95 109-110 119-120 136 140 143 155-156 158",
    "CHECK_MECHANICALS": "54",
    "UPDATE_SWFW": "78",
    "RESTART_BM": "79",
    # The machine with the GPU is the one to boot, be it virtual or not.
    "RESTART_VM": "151",
    # "If UVM/vGPU is being utilized, RESET_GPU; otherwise IGNORE"; CUDA utilizes UVM.
    "CHECK_UVM": "159",
    # Work flows: what they begin with. 45 follows another Xid, 48 and 74 need a reset in any case.
    "WORKFLOW_XID_45": "45",
    "WORKFLOW_XID_48": "48",
    "WORKFLOW_NVLINK_ERR": "74",
    # Where the line does not say itself whether it is fatal.
    "WORKFLOW_NVLINK5_ERR": "144-150",
}
ACTIONS = {
    "UPDATE_SWFW": "update_software",
    "RESTART_BM": "restart_host",
    "RESTART_VM": "restart_host",
    "CHECK_UVM": "reset_gpu",
    "WORKFLOW_XID_45": "ignore",
    "WORKFLOW_XID_48": "reset_gpu",
    "WORKFLOW_NVLINK_ERR": "reset_gpu",
    "WORKFLOW_NVLINK5_ERR": "reset_gpu",
}


def codes(ranges):
    pairs = (part.partition("-")[::2] for part in ranges.split())
    return {code for first, last in pairs for code in range(int(first), int(last or first) + 1)}


@pytest.mark.parametrize("bucket", CATALOGUE)
def test_actions_are_those_of_nvidias_catalogue(bucket):
    action = ACTIONS.get(bucket, bucket.lower())
    assert {code: xids.meaning(code).action for code in codes(CATALOGUE[bucket])} == dict.fromkeys(
        codes(CATALOGUE[bucket]), action
    )


def test_the_catalogue_is_here_with_every_code_that_has_an_action():
    """154 carries its action in its own words, and from 162 on the catalogue names none."""
    known = [code for ranges in CATALOGUE.values() for code in sorted(codes(ranges))]
    assert sorted(known) == [code for code in range(1, 162) if code != 154]


@pytest.mark.parametrize("code", [162, 163, 164])
def test_the_smoothing_of_power_needs_nothing_done_at_once(code):
    """163: "No GPU reset required"; 164: "Monitor power swings and expect to replace GPUs"."""
    assert xids.meaning(code).action == "ignore"


def test_a_code_that_nobody_knows_is_for_the_vendor():
    assert xids.meaning(999).action == "contact_support"


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
        ("OS Reboot", "restart_host"),
        ("Host Reboot Recommended", "restart_host"),
        ("Drain P2P + Reset", "reset_gpu"),
        ("Unknown", "contact_support"),
        ("x" * 10_000_000, "contact_support"),
        ("", "contact_support"),
    ],
)
def test_a_recovery_action_is_understood_in_each_of_nvidias_spellings(words, action):
    assert xids.recovery(words) == action


def test_every_action_has_its_advice_and_its_weight():
    actions = {meaning.action for meaning in xids.XIDS.values()} | set(xids.RECOVERY.values())
    assert actions <= set(xids.ADVICE)
    assert set(xids.ADVICE) == set(xid_findings.SEVERITY_OF_ACTION)


def test_the_advice_to_reset_names_what_stands_in_the_way():
    """NVIDIA/NVSentinel#1692: "In use by another client" while nvidia-persistenced has the GPU open."""
    advice = xids.ADVICE[xids.RESET_GPU]
    order = ["stop the servers", "nvidia-persistenced", "DCGM", "--gpu-reset --id=", "start all of them"]
    places = [advice.index(part) for part in order]
    assert places == sorted(places)


def test_advice_is_one_sentence_of_bearable_length():
    for advice in xids.ADVICE.values():
        assert len(advice) < 280
        assert not re.search(r"[.!]( |$)", advice)
