# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Lines of the kernel log about GPUs, as NVIDIA's driver prints them and bug reports repeat them."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.nvidia import xid_lines

LOADING = "[    5.120000] NVRM: loading NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build"
# As kernel logs in bug reports have them, in their old and their newer form.
LOG = f"""\
{LOADING}
[ 8123.441000] NVRM: Xid (PCI:0000:3b:00): 31, pid=20817, name=tensorflow_mode, Ch 00000008, intr 00000000. MMU Fault
[ 8124.010000] NVRM: Xid (PCI:0000:3b:00): 31, pid=20817, name=tensorflow_mode, Ch 00000009, intr 00000000. MMU Fault
[ 9001.220000] NVRM: Xid (PCI:0000:D8:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus.
[ 9001.23000] NVRM: Xid (PCI:0000:d8:00): 154, GPU recovery action changed from 0x0 (None) to 0x2 (Node Reboot Required)
[ 9002.000000] nvidia-nvswitch3: SXid (PCI:0000:c1:00.0): 24007, Non-fatal, Link 28 sourcetrack timeout error
[ 9003.000000] NVRM: Xid (PCI:0000:3b:00): 999, something new
[ 9004.000000] NVRM: Xid (PCI:0000:3b:00.0): 43, Ch 00000008
""".splitlines()


def only(*lines):
    (event,) = xid_lines.events(lines)
    return event


def xid(rest, gpu="PCI:0000:3b:00"):
    return f"NVRM: Xid ({gpu}): {rest}"


def recovery(before, after, gpu="PCI:0000:3b:00"):
    return xid(f"154, GPU recovery action changed from {before} to {after}", gpu)


def test_xids_are_read_with_their_devices_numbers_and_recommendations():
    events = [(event.address, event.code, event.count, event.action) for event in xid_lines.events(LOG)]
    assert events == [
        ("0000:3b:00.0", 31, 2, "restart_app"),
        ("0000:d8:00.0", 79, 1, "restart_host"),
        ("0000:d8:00.0", 154, 1, "restart_host"),
        ("0000:c1:00.0", 24007, 1, "ignore"),
        ("0000:3b:00.0", 999, 1, "contact_support"),
        ("0000:3b:00.0", 43, 1, "ignore"),
    ]


@pytest.mark.parametrize(
    ("line", "address", "code"),
    [
        ("[1231741.378609] NVRM: Xid (PCI:0009:01:00): 43, pid=3188489, name=trigger_xid", "0009:01:00.0", 43),
        ("NVRM: NVRM: Xid (PCI:0001:00:00.0): 79, GPU has fallen off the bus", "0001:00:00.0", 79),
        ("Dec  6 17:49:03 desk kernel: [ 8659.726062] NVRM: Xid (PCI:0000:01:00): 79, GPU", "0000:01:00.0", 79),
        ("2026-02-14T05:03:41.7+00:00 gpu-1 kernel: NVRM: Xid (PCI:0000:01:00): 48, DBE", "0000:01:00.0", 48),
        ("[Sun Feb 23 16:30:13 2025] NVRM: Xid (PCI:0000:9b:00): 119, pid=1, name=a", "0000:9b:00.0", 119),
        ("kern  :err   : [  812.4] NVRM: Xid (PCI:0000:9b:00): 119, Timeout", "0000:9b:00.0", 119),
        ("NVRM: Xid (0000:03:00): 14, Channel 00000001", "0000:03:00.0", 14),
        ("NVRM: Xid (PCI:0000:00:08): 94, pid='<unknown>', name=<unknown>, Contained", "0000:00:08.0", 94),
        ("NVRM: Xid (PCI:00000000:C1:00.0): 62, 0a76(1d50) 00000000 00000000", "0000:c1:00.0", 62),
    ],
)
def test_an_xid_is_found_behind_each_kind_of_stamp_and_address(line, address, code):
    event = only(line)
    assert (event.kind, event.address, event.code, event.count) == ("xid", address, code, 1)


@pytest.mark.parametrize(
    ("gpu", "instance"),
    [
        ("PCI:0000:4b:00 GPU-I:05", "GPU-I:05"),
        ("PCI:0000:4b:00 GPU-I:03 GPU-CI:00", "GPU-I:03 GPU-CI:00"),
        ("PCI:0000:4b:00.0  GPU-I:03\tGPU-CI:00 ", "GPU-I:03 GPU-CI:00"),
        ("0000:4B:00 GPU-I:12", "GPU-I:12"),
        ("PCI:0000:4b:00 GPU-J:7", "GPU-J:7"),
        ("PCI:0000:4b:00", ""),
    ],
)
def test_an_xid_of_a_mig_instance_is_one_of_its_gpu_and_names_the_instance(gpu, instance):
    """kernel_rc.c prints these forms, and kern_gpu_error_cont_ga100.c shows the first."""
    event = only(xid("95, pid=7062, Uncontained: LTC TAG (0x2,0x0). RST: Yes, D-RST: No", gpu))
    assert (event.address, event.code, event.action, event.instance) == ("0000:4b:00.0", 95, "reset_gpu", instance)


@pytest.mark.parametrize(
    ("line", "action"),
    [
        ("145, RLW_SRC_TRACK Nonfatal XC1 i0 Link 12 (0x040988e2 0x00000008 0x0 0x0 0x0 0x0)", "ignore"),
        ("149, NETIR_BER_EVENT Nonfatal XC0 i0 Link 01 (0x00082226 0x00000001 0x0 0x0 0x0 0x0)", "ignore"),
        ("144, pid=1, name=a, SAW_MVB Non fatal XC0 i0 Link 00 (0x1 0x4 0x0 0x0)", "ignore"),
        ("144, pid=1, name=a, SAW_MVB Non-fatal XC0 i0 Link 00 (0x1 0x4 0x0 0x0)", "ignore"),
        ("149, NETIR_LINK_EVT  Fatal   XC0 i0 Link 00 (0x021405c6 0x00000000 0x0 0x0 0x0 0x0)", "reset_gpu"),
        ("146, TLW_CTRL Fatal XC0 i0 Link 00 (0x9 0x4 0x0 0x0)", "reset_gpu"),
        ("150, MSE_WATCHDOG Fatal XC0 i0 Link 00 (0x0 0x0 0x0 0x0)", "reset_gpu"),
        ("147, what it was is cut", "reset_gpu"),
        # Whoever names a program so does not hide a fatal error.
        ("149, pid=1, name=x Nonfatal y, NETIR_LINK_EVT Fatal XC0 i0 Link 00 (0x0 0x0 0x0 0x0)", "reset_gpu"),
        # 137 is an illegal access; the catalogue says IGNORE whatever the line has.
        ("137, NVLink: Fatal", "ignore"),
        # An NVLink of Hopper's age has no such words.
        ("74, pid=1, name=a, NVLink: nonfatal error detected on link 3(0x0, 0x0, 0x10000, 0x0)", "reset_gpu"),
    ],
)
def test_an_nvlink_5_line_says_itself_how_grave_it_is(line, action):
    assert only(xid(line)).action == action


class TestRecovery:
    def test_the_drivers_recommendation_is_taken_word_for_word(self):
        """gpu.c, _gpuRecoveryActionName."""
        words = {
            "GPU Reset Required": "reset_gpu",
            "Node Reboot Required": "restart_host",
            # The same in logs of branch 610.
            "OS Reboot": "restart_host",
            "Drain P2P": "drain_p2p",
            "Drain and Reset": "reset_gpu",
            "Recover IMEX Domain": "recover_imex",
        }
        told = {after: only(recovery("0x0 (None)", f"0x9 ({after})")).action for after in words}
        assert told == words

    def test_a_recovery_ends_what_the_gpu_had_before(self):
        log = [
            xid("119, Timeout after 6s of waiting for RPC response from GPU4 GSP!"),
            xid("94, Contained", "PCI:0000:3b:00 GPU-I:05"),
            recovery("0x0 (None)", "0x1 (GPU Reset Required)"),
            recovery("0x1 (GPU Reset Required)", "0x0 (None)"),
        ]
        ended = [(event.code, event.ended) for event in xid_lines.events(log)]
        assert ended == [(code, "before the GPU's recovery") for code in (119, 94, 154)] + [(154, "")]

    def test_what_comes_after_the_recovery_or_from_another_gpu_is_not_ended(self):
        log = [
            xid("119, Timeout", "PCI:0000:5e:00"),
            xid("48, DBE"),
            recovery("0x1 (GPU Reset Required)", "0x0 (None)"),
            xid("48, DBE"),
        ]
        events = [(event.address, event.code, event.count, event.ended) for event in xid_lines.events(log)]
        assert events == [
            ("0000:5e:00.0", 119, 1, ""),
            ("0000:3b:00.0", 48, 1, "before the GPU's recovery"),
            ("0000:3b:00.0", 154, 1, ""),
            ("0000:3b:00.0", 48, 1, ""),
        ]

    @pytest.mark.parametrize(
        ("line", "ended"),
        [
            ("NVRM: RmInitAdapter failed! (0x62:0x65:2028)", "before a GPU's recovery"),
            ("NVRM: Check failed: Reset required [NV_ERR_RESET_REQUIRED] (0x62)", "before a GPU's recovery"),
            ("NVRM: uvm encountered global fatal error 0x60, requiring os reboot to recover.", ""),
        ],
    )
    def test_a_recovery_ends_what_asked_for_a_reset_without_a_name(self, line, ended):
        log = [line, recovery("0x1 (GPU Reset Required)", "0x0 (None)")]
        assert [event.ended for event in xid_lines.events(log)] == [ended, ""]

    @pytest.mark.parametrize(
        "line",
        [
            recovery("0x0 (None)", "0x4 (Drain and Reset)"),
            # A program may have any name of 15 letters.
            xid(
                "154, pid=7, name=to 0x0 (None), GPU recovery action changed from 0x0 (None)"
                " to 0x1 (GPU Reset Required)"
            ),
            xid("119, pid=7, name=to 0x0 (None), Timeout"),
        ],
    )
    def test_nothing_else_is_a_recovery(self, line):
        assert [event.ended for event in xid_lines.events([xid("95, Uncontained"), line])] == ["", ""]


class TestReload:
    @pytest.mark.parametrize("code", [13, 31, 48, 94, 95, 109, 119, 120])
    def test_programs_and_states_of_the_driver_are_over_when_it_is_loaded_anew(self, code):
        assert only(xid(f"{code}, what"), LOADING).ended == "before the driver was loaded again"

    @pytest.mark.parametrize("code", [54, 79, 142, 151, 999])
    def test_what_needs_a_boot_a_hand_or_the_vendor_is_not(self, code):
        assert only(xid(f"{code}, what"), LOADING).ended == ""

    def test_an_error_of_an_nvswitch_is_not(self):
        assert (
            only("nvidia-nvswitch0: SXid (PCI:0000:c1:00.0): 20034, Fatal, Link 30 LTSSM Fault Up", LOADING).ended == ""
        )

    def test_what_comes_after_is_not(self):
        assert only(LOADING, xid("119, Timeout")).ended == ""

    def test_a_gpu_that_the_driver_misses_as_it_is_loaded_is_told_before_the_driver_says_that_it_is(self):
        """NVIDIA/NVSentinel#155."""
        event = only(
            "[ 1843.308145] NVRM: The NVIDIA GPU 0000:b3:00.0",
            "               NVRM: (PCI ID: 10de:26b5) installed in this system has",
            "               NVRM: fallen off the bus and is not responding to commands.",
            "[ 1843.439662] NVRM: The NVIDIA probe routine failed for 1 device(s).",
            "[ 1843.439669] NVRM: loading NVIDIA UNIX Open Kernel Module for x86_64  570.158.01  Release Build",
        )
        assert (event.address, event.action, event.ended) == ("0000:b3:00.0", "restart_host", "")


def test_a_boot_in_the_middle_of_a_saved_log_ends_what_was_before():
    boot = "kernel: [    0.000000] Linux version 6.8.0-51-generic (buildd@lcy02) (gcc 13.3.0) #52-Ubuntu SMP"
    switch = "nvidia-nvswitch0: SXid (PCI:0000:c1:00.0): 20034, Fatal, Link 30 LTSSM Fault Up"
    ended = [event.ended for event in xid_lines.events([boot, xid("79, lost"), switch, boot, xid("79, lost")])]
    assert ended == ["before the last boot", "before the last boot", ""]


@pytest.mark.parametrize(
    ("lines", "address"),
    [
        (["NVRM: GPU 0000:06:00.0: GPU has fallen off the bus."], "0000:06:00.0"),
        (["[  9.1] NVRM: GPU 18:00.0: GPU has fallen off the bus."], "0000:18:00.0"),
        (["[   49.261458] NVRM: GPU at 0000:01:00.0 has fallen off the bus."], "0000:01:00.0"),
        (
            [
                "NVRM: The NVIDIA GPU 0000:01:00.0 (PCI ID: 10de:1e07) installed in this",
                "NVRM: system has fallen off the bus and is not responding to commands.",
            ],
            "0000:01:00.0",
        ),
        (
            ["NVRM: The NVIDIA GPU 0000:05:00.0 installed in this system has fallen off the bus and is not responding"],
            "0000:05:00.0",
        ),
        (
            [
                "NVRM: The NVIDIA GPU 0000:b3:00.0",
                "usb 1-2: new high-speed USB device",
                "NVRM: (PCI ID: 10de:26b5) installed in this system has",
                "NVRM: fallen off the bus and is not responding to commands.",
            ],
            "0000:b3:00.0",
        ),
        # A ring that has lost the first line.
        (["NVRM: fallen off the bus and is not responding to commands."], ""),
    ],
)
def test_a_gpu_that_fell_off_the_bus_without_an_xid_is_told(lines, address):
    event = only(*lines)
    assert (event.code, event.address, event.action, event.count) == (79, address, "restart_host", 1)


def test_the_same_fall_is_not_counted_twice():
    """osinit.c prints both, one after the other."""
    event = only(xid("79, GPU has fallen off the bus."), "NVRM: GPU 0000:3b:00.0: GPU has fallen off the bus.")
    assert (event.code, event.count) == (79, 1)


@pytest.mark.parametrize(
    ("line", "address", "action"),
    [
        ("NVRM: GPU 0000:02:00.0: RmInitAdapter failed! (0x24:0x65:1185)", "0000:02:00.0", "reset_gpu"),
        ("[    8.6] NVRM: RmInitAdapter failed! (0x62:0x65:2028)", "", "reset_gpu"),
        # NVIDIA/open-gpu-kernel-modules#1342
        (
            "NVRM: nvGpuOpsReportFatalError: uvm encountered global fatal error 0x60, requiring os reboot to recover.",
            "",
            "restart_host",
        ),
        # scitix/sichek#51 and, with driver 570's "GPU1", kubernetes-sigs/dra-driver-nvidia-gpu#982
        (
            "NVRM: nvAssertOkFailedNoLog: Assertion failed: Reset required [NV_ERR_RESET_REQUIRED] (0x00000062)"
            " returned from status @ kernel_channel.c:2874",
            "",
            "reset_gpu",
        ),
        ("NVRM: API mismatch: the client 'nvidia-smi' (pid 812)", "", "update_software"),
        ("NVRM: API mismatch: the client has the version 367.57, but", "", "update_software"),
    ],
)
def test_errors_of_the_driver_that_have_no_code_are_told(line, address, action):
    event = only(line)
    assert (event.kind, event.code, event.address, event.action) == ("xid", 0, address, action)


@pytest.mark.parametrize(
    ("line", "action"),
    [
        ("SXid (PCI:0000:00:00.0): 20034, Fatal, Link 30 LTSSM Fault Up", "reset_gpu"),
        ("SXid (PCI:0000:05:00.0): 12028, Non-fatal, Link 32 egress non-posted PRIV error (First)", "ignore"),
        # Fabric Manager's guide, "Always Fatal NVSwitch SXid Errors"
        ("SXid (PCI:0000:c3:00.0): 12020, Fatal, Link 12 egress sequence ID error", "restart_host"),
        ("SXid (PCI:0000:c3:00.0): 22003, Fatal, Minion Halt", "restart_host"),
        ("SXid (PCI:0000:c3:00.0): 23017, Fatal, ingress credit parity error", "restart_host"),
    ],
)
def test_an_error_of_an_nvswitch_weighs_what_its_line_says(line, action):
    event = only(f"[131453.740743] nvidia-nvswitch3: {line}")
    assert (event.kind, event.action) == ("sxid", action)


@pytest.mark.parametrize(
    "line",
    [
        LOADING,
        "NVRM: GPU at PCI:0000:3b:00: GPU-5b6b1f9e-0000-0000-0000-000000000000",
        "NVRM: GPU Board Serial Number: 1320000000000",
        "NVRM: A GPU crash dump has been created.",
        # An H200 with driver 580.159.04, all well
        "[    0.533753] nvidia-nvlink: Nvlink Core is being initialized, major device number 240",
        "[    1.057423] NVRM: gpuClearFbhubPoisonIntrForBug2924523_GA100: FBHUB Interrupt detected. Clearing it.",
        "[    3.477022] NVRM: Persistence mode is deprecated and will be removed in a future release.",
        "NVRM: The NVIDIA GPU 0000:03:00.0 (PCI ID: 10de:104a)",
        "NVRM: installed in this system is not supported by the NVIDIA 580.95.05 driver release.",
        "nvidia-nvswitch0: SXid (PCI:0000:a9:00.0): 20034, Severity 1 Engine instance 30 Sub-engine instance 00",
        "nvidia-nvswitch0: SXid (PCI:0000:a9:00.0): 20034, Data {0x50610002, 0x10100030, 0x00000000}",
        "audit: type=1400 apparmor=ALLOWED",
        "",
    ],
)
def test_what_is_no_error_is_passed_over(line):
    assert xid_lines.events([line]) == []


@pytest.mark.parametrize(
    "line",
    [
        xid("9" * 30),
        xid("9" * 5000),
        xid("79, lost", "::::"),
        xid("79, lost", ""),
        xid("79, lost", "PCI:" + "0" * 5_000_000),
        xid("79, lost", "PCI:0000:3b:00 " + "GPU-I:" * 1000),
        xid("seventy-nine"),
        "NVRM: Xid (PCI:0000:3b:00",
        xid("\x1b[2J31"),
    ],
)
def test_an_xid_in_an_unknown_form_is_kept_in_few_harmless_letters(line):
    event = only(line)
    assert (event.kind, event.action) == ("unread", "")
    assert event.text.isprintable()
    assert len(event.text) < 200


def test_what_a_switch_or_an_instance_is_called_is_kept_in_few_harmless_letters():
    switch = only("SXid (PCI:0000:c1:00.0): 24007, Fatal, \x1b[2J" + "x" * 5_000_000)
    instance = only(xid("31, x", "PCI:0000:3b:00 \x07" + "y" * 70))
    advised = only(recovery("0x0 (None)", "0x7 (\x1b]0;" + "z" * 500 + ")"))
    for text in (switch.text, instance.instance, advised.text):
        assert text.isprintable()
        assert len(text) < 300


def test_a_flood_of_errors_is_counted():
    assert only(*[xid("31, MMU Fault")] * 200_000).count == 200_000
