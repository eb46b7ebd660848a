# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What the kernel log comes to: statuses, words and bounds."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.gpus import findings as gpu_findings
from ansible_collections.tfserving.fleet.plugins.module_utils.gpus import xid_findings
from ansible_collections.tfserving.fleet.plugins.module_utils.gpus.findings import Finding

BOOT = "Linux version 6.1.0-28-amd64 (debian-kernel@lists.debian.org) (gcc-12 (Debian 12.2.0-14) 12.2.0)"
QUIET = "pcieport 0000:00:1c.0: PME: Signaling with IRQ 122"


def xid(rest, gpu="PCI:0000:3b:00"):
    return f"NVRM: Xid ({gpu}): {rest}"


@pytest.mark.parametrize("log", [None, []])
def test_no_log_is_unknown_and_says_who_was_asked(log):
    (finding,) = xid_findings.findings(log)
    assert (finding.check, finding.status, finding.action) == ("xid", "unknown", "")
    assert "journalctl" in finding.detail
    assert "dmesg" in finding.detail


def test_a_log_without_errors_passes_and_says_how_far_back_it_goes():
    assert xid_findings.findings([BOOT, QUIET]) == [Finding("xid", "pass", "no Xid in the kernel log since the boot")]
    (partly,) = xid_findings.findings([QUIET])
    assert partly.status == "pass"
    assert "does not go back to the boot" in partly.detail


def test_xids_weigh_as_much_as_what_is_to_be_done_about_them():
    log = [
        BOOT,
        xid("31, MMU Fault"),
        xid("31, MMU Fault"),
        xid("79, GPU has fallen off the bus."),
        xid("43, Ch 00000008"),
        xid("78, vGPU start error"),
        xid("154, GPU recovery action changed from 0x0 (None) to 0x3 (Drain P2P)"),
        xid("154, GPU recovery action changed from 0x0 (None) to 0x5 (Recover IMEX Domain)"),
    ]
    findings = xid_findings.findings(log)
    assert [(finding.status, finding.action) for finding in findings] == [
        ("warning", "restart_app"),
        ("critical", "restart_host"),
        ("info", ""),
        ("warning", "update_software"),
        ("warning", "drain_p2p"),
        ("warning", "recover_imex"),
    ]
    assert findings[0].detail == (
        "Xid 31 (2 times): a page fault in GPU memory, mostly an illegal address of the application"
    )
    assert findings[1].detail == "Xid 79: the GPU has fallen off the bus"
    assert {finding.gpu for finding in findings} == {"0000:3b:00.0"}


def test_what_is_wrong_with_a_gpu_that_is_left_out_is_not_told():
    log = [BOOT, xid("79, lost"), xid("31, MMU Fault", "PCI:0000:5e:00")]
    assert [finding.gpu for finding in xid_findings.findings(log, {"0000:3b:00.0"})] == ["0000:5e:00.0"]
    assert xid_findings.findings(log[:2], {"0000:3b:00.0"})[0].status == "pass"


def test_an_instance_of_mig_is_told_in_the_logs_words():
    (finding,) = xid_findings.findings([xid("94, Contained", "PCI:0000:3b:00 GPU-I:05 GPU-CI:01")] * 3)
    assert finding.gpu == "0000:3b:00.0"
    assert finding.detail.startswith("Xid 94 (GPU-I:05 GPU-CI:01, 3 times): ")


def test_a_gpu_that_was_reset_as_advised_is_well_again():
    log = [
        BOOT,
        xid("119, Timeout after 6s of waiting for RPC response from GPU4 GSP!"),
        xid("154, GPU recovery action changed from 0x0 (None) to 0x1 (GPU Reset Required)"),
        xid("154, GPU recovery action changed from 0x1 (GPU Reset Required) to 0x0 (None)"),
    ]
    assert gpu_findings.verdict(xid_findings.findings(log[:3])) == "critical"
    findings = xid_findings.findings(log)
    assert gpu_findings.verdict(findings) == "info"
    assert [finding.action for finding in findings] == ["", "", ""]
    assert findings[0].detail == "Xid 119 (before the GPU's recovery): the GPU's system processor did not answer"


def test_an_error_of_the_driver_without_a_number_claims_none():
    (finding,) = xid_findings.findings(["NVRM: GPU 0000:02:00.0: RmInitAdapter failed! (0x24:0x65:1185)"] * 4)
    assert finding == Finding(
        "xid",
        "critical",
        "the GPU could not be initialised (RmInitAdapter failed) (4 times)",
        "0000:02:00.0",
        "reset_gpu",
    )


def test_an_xid_that_cannot_be_read_is_not_a_clean_log():
    (finding,) = xid_findings.findings([BOOT, "NVRM: Xid (GPU of tomorrow): 79"])
    assert (finding.status, finding.action) == ("unknown", "")
    assert "GPU of tomorrow" in finding.detail


def test_more_kinds_of_errors_than_anybody_reads_are_counted_and_none_of_the_worst_is_left_out():
    flood = [xid(f"{code}, x", f"PCI:0000:{bus:02x}:00") for bus in range(0x10, 0x90) for code in (31, 43)]
    findings = xid_findings.findings([BOOT, *flood, xid("79, lost", "PCI:0000:f0:00")])
    assert len(findings) == xid_findings.MOST + 1
    assert findings[-2].detail == "Xid 79: the GPU has fallen off the bus"
    assert findings[-1].detail == "157 further kinds of errors are in the kernel log, none of them worse"
    assert findings[-1].status == "warning"
    assert gpu_findings.verdict(findings) == "critical"
