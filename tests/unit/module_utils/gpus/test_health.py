# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Whether GPUs are fit to serve: each variant of the simulated machine, judged from what its programs really print."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.gpus import findings as gpu_findings
from ansible_collections.tfserving.fleet.plugins.module_utils.gpus import health as gpu_health
from ansible_collections.tfserving.fleet.plugins.module_utils.gpus import reading as gpu_reading
from ansible_collections.tfserving.fleet.plugins.module_utils.gpus.findings import Finding
from ansible_collections.tfserving.fleet.plugins.module_utils.host.sysfs import Tree
from ansible_collections.tfserving.fleet.plugins.module_utils.nvidia import smi as nvidia_smi
from ansible_collections.tfserving.fleet.plugins.module_utils.nvidia import xids
from ansible_collections.tfserving.fleet.plugins.modules import nvidia_gpu_status
from repository import REPOSITORY
from running import run_module_alone

SIMULATED = REPOSITORY / "lab" / "simulated_gpu"
# A kernel log in which nothing happened.
BOOT = "[    0.000000] Linux version 6.1.0-28-amd64 (debian-kernel@lists.debian.org) #1 SMP"


@pytest.fixture
def simulated(tmp_path, monkeypatch):
    """Variant in, the tree of that machine out; nvidia-smi in the path is the simulated one."""
    program = tmp_path / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -B {SIMULATED}/nvidia_smi.py "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    monkeypatch.setenv("SIMULATED_GPU", str(tmp_path))
    monkeypatch.syspath_prepend(str(SIMULATED))
    monkeypatch.delitem(sys.modules, "machine", raising=False)
    import machine

    def switch_on(variant):
        host = machine.build(variant)
        machine.write(host)
        if host["library"]:
            library = tmp_path / "usr/lib/x86_64-linux-gnu" / f"libnvidia-ml.so.{host['library']}"
            library.parent.mkdir(parents=True, exist_ok=True)
            library.touch()
        return Tree(str(tmp_path))

    yield switch_on
    monkeypatch.delitem(sys.modules, "machine", raising=False)


def examine(tree, expected=None, log=(BOOT,)):
    quiet_log = lambda arguments: (0, "\n".join(log), "")  # noqa: E731
    reading = gpu_reading.read(tree, partial(nvidia_smi.run, timeout=30), quiet_log)
    return gpu_health.examine(reading, expected)


def worrying(findings):
    return [finding for finding in findings if finding.status not in ("pass", "info")]


def only(findings, check):
    return [finding for finding in findings if finding.check == check]


def test_a_healthy_machine_passes_every_check(simulated):
    findings = examine(simulated("healthy"))
    assert {finding.check for finding in findings} == {
        "modules",
        "versions",
        "count",
        "state",
        "ecc",
        "retired_memory",
        "throttle",
        "xid",
    }
    assert gpu_findings.verdict(findings) == "pass"


def test_eight_gpus_of_two_kinds_are_asked_one_by_one(simulated):
    findings = examine(simulated("two-kinds"), expected=8)
    assert len(only(findings, "ecc")) == 8
    assert only(findings, "count") == [Finding("count", "pass", "8 GPUs, as expected")]
    assert worrying(findings) == []


def test_a_gpu_without_ecc_is_no_worry(simulated):
    findings = examine(simulated("geforce"))
    assert only(findings, "ecc")[0].detail == "no ECC to ask"
    assert worrying(findings) == []


def test_an_old_driver_is_asked_in_its_own_words(simulated):
    findings = examine(simulated("old-driver"))
    assert only(findings, "throttle")[0].status == "pass"


def test_libraries_that_were_upgraded_alone_are_told_with_both_versions(simulated):
    findings = worrying(examine(simulated("versions-differ")))
    assert findings[0].detail == "the kernel runs driver 580.82.07, and the libraries are 580.95.05"
    assert findings[0].action == "restart_host"
    assert "Driver/library version mismatch" in findings[1].detail


def test_a_module_that_is_not_loaded_is_critical(simulated):
    findings = worrying(examine(simulated("unloaded")))
    assert findings[0].detail == "the module nvidia is not loaded"
    assert gpu_findings.verdict(findings) == "critical"


def test_gpus_that_nouveau_holds_are_critical(simulated):
    assert worrying(examine(simulated("bare")))[0].detail == "nouveau holds the GPUs"


def test_memory_that_goes_bad_is_told_by_its_kind(simulated):
    findings = examine(simulated("ecc-errors"))
    ecc = [(finding.status, finding.detail) for finding in only(findings, "ecc")]
    assert ecc == [
        ("critical", "3 memory errors that ECC could not correct since the driver was loaded"),
        ("info", "17 memory errors, all corrected"),
        ("pass", "no memory errors"),
        ("pass", "no memory errors"),
    ]
    retired = [(finding.status, finding.detail, finding.action) for finding in only(findings, "retired_memory")]
    assert retired == [
        ("warning", "bad memory is set aside at the next reset", "reset_gpu"),
        ("info", "2 bad rows or pages of memory are set aside", ""),
        ("warning", "bad memory is set aside at the next reset", "reset_gpu"),
        ("critical", "a bad memory row could not be set aside", "contact_support"),
    ]


def test_clocks_are_held_back_for_reasons_of_different_weight(simulated):
    findings = only(examine(simulated("throttled")), "throttle")
    assert [finding.status for finding in findings] == ["critical", "warning", "info"]
    assert findings[0].detail == (
        "clocks are throttled: hardware slowdown (heat, power brake or excessive current), hardware thermal slowdown"
    )
    assert findings[2].detail == "clocks are throttled: power limit"


def test_a_gpu_that_is_on_the_bus_and_unknown_to_the_driver_is_lost(simulated):
    tree = simulated("healthy")
    lost = Path(tree.path("sys/bus/pci/devices/0000:99:00.0"))
    lost.mkdir()
    for name, value in {"vendor": "0x10de", "class": "0x030200", "device": "0x2335"}.items():
        (lost / name).write_text(value, encoding="utf-8")
    assert only(examine(tree), "count") == [
        Finding("count", "critical", "the driver does not drive 0000:99:00.0", "0000:99:00.0", "restart_host")
    ]


def test_a_host_without_a_gpu_has_nothing_to_boot_for(simulated):
    tree = simulated("absent")
    assert examine(tree) == [Finding("count", "info", "no NVIDIA GPU is on the PCI bus of this host")]
    assert gpu_findings.verdict(examine(tree, expected=2)) == "critical"


def test_a_host_with_a_driver_and_no_gpu_has_lost_them_all(simulated):
    tree = simulated("healthy")
    for folder in Path(tree.path("sys/bus/pci/devices")).iterdir():
        (folder / "vendor").write_text("0x8086", encoding="utf-8")
    reading = gpu_reading.read(tree, lambda arguments: "No devices were found\n", lambda arguments: (0, "x", ""))
    (count,) = only(gpu_health.examine(reading, None), "count")
    assert (count.status, count.action) == ("critical", "restart_host")
    assert only(gpu_health.examine(reading, 0), "count")[0].status == "pass"


def test_a_host_all_of_whose_gpus_are_left_out_says_whose_they_are(simulated):
    tree = simulated("healthy")
    addresses = [gpu["pci_address"] for gpu in gpu_reading.nvidia_devices.devices(tree)["gpus"]]
    reading = gpu_reading.read(tree, lambda arguments: None, lambda arguments: (1, "", ""), ignored=addresses)
    (finding,) = gpu_health.examine(reading, None)
    assert (finding.status, finding.action) == ("info", "")
    assert finding.detail == "all NVIDIA GPUs of this host are left out: 0000:18:00.0 (nvidia_driver_ignore names it)"


def test_fewer_gpus_than_expected_are_critical(simulated):
    (count,) = only(examine(simulated("healthy"), expected=8), "count")
    assert (count.status, count.detail) == ("critical", "the driver knows 1 GPU, and 8 are expected")


def test_without_nvidia_smi_the_answer_is_unknown_not_good(simulated, monkeypatch):
    tree = simulated("healthy")
    monkeypatch.setenv("PATH", "/nonexistent")
    findings = examine(tree)
    assert only(findings, "nvidia_smi")[0].status == "unknown"
    assert gpu_findings.verdict(findings) == "unknown"


def test_a_log_that_cannot_be_read_is_unknown(simulated):
    reading = gpu_reading.read(simulated("healthy"), partial(nvidia_smi.run, timeout=30), lambda arguments: (1, "", ""))
    assert [finding.status for finding in only(gpu_health.examine(reading, None), "xid")] == ["unknown"]


def test_xids_of_the_kernel_log_are_among_the_findings(simulated):
    log = [BOOT, "NVRM: Xid (PCI:0000:18:00): 79, GPU has fallen off the bus."]
    findings = examine(simulated("healthy"), log=log)
    assert only(findings, "xid") == [
        Finding("xid", "critical", "Xid 79: the GPU has fallen off the bus", "0000:18:00.0", "restart_host")
    ]


class TestModule:
    """The module itself, as Ansible runs it."""

    @pytest.fixture
    def run(self, tmp_path):
        (tmp_path / "kernel.log").write_text(BOOT, encoding="utf-8")

        def module(**options):
            arguments = {
                "sysroot": str(tmp_path),
                "kernel_log": str(tmp_path / "kernel.log"),
                **options,
            }
            return run_module_alone("nvidia_gpu_status", tmp_path, **arguments)

        return module

    def test_it_reports_and_changes_nothing(self, simulated, run):
        simulated("healthy")
        result = run(accept="pass", expected_gpus=1)
        assert (result["changed"], result["verdict"]) == (False, "pass")
        assert result["driver"]["version"] == result["driver"]["library_version"] == "580.95.05"
        assert result["gpus"][0]["temperature"] == "34"

    def test_what_is_not_accepted_fails_with_a_line_for_each_finding(self, simulated, run):
        simulated("throttled")
        result = run(accept="info")
        assert result["failed"]
        assert result["msg"].splitlines() == [
            "GPU 0000:18:00.0: clocks are throttled: hardware slowdown (heat, power brake or excessive current),"
            " hardware thermal slowdown; check the card's power cables and its seat",
            "GPU 0000:30:00.0: clocks are throttled: software thermal slowdown",
        ]

    def test_by_itself_it_accepts_everything_and_tells(self, simulated, run):
        simulated("unloaded")
        result = run()
        assert (result["changed"], result["verdict"], result["gpus"]) == (False, "critical", None)
        assert result["findings"][0]["advice"].startswith("take the host out of rotation and reboot it")

    def test_a_saved_log_is_read_in_place_of_the_kernels(self, simulated, run, tmp_path):
        simulated("healthy")
        (tmp_path / "dmesg").write_text("NVRM: Xid (PCI:0000:18:00): 31, MMU Fault\n", encoding="utf-8")
        result = run(kernel_log=str(tmp_path / "dmesg"))
        assert [each["detail"][:6] for each in result["findings"] if each["check"] == "xid"] == ["Xid 31"]


def test_a_finding_that_repeats_the_machines_words_is_one_line():
    finding = Finding("nvidia_smi", "critical", "boom\x1b[2J\nGPU 1: fine", "0000:01\n:00.0", xids.RESTART_HOST)
    assert nvidia_gpu_status.sentence(finding).isprintable()
    assert nvidia_gpu_status.told(finding)["detail"] == r"boom\x1b[2J\nGPU 1: fine"


def test_what_nvidia_smi_says_as_it_fails_is_one_line():
    assert str(nvidia_smi.NvidiaSmiError("said\x1b[2J\n")) == r"said\x1b[2J\n"


def place(tree, address, device, driver=None):
    folder = Path(tree.path(f"sys/bus/pci/devices/{address}"))
    folder.mkdir()
    for name, value in {"vendor": "0x10de", "class": "0x030000", "device": device}.items():
        (folder / name).write_text(value, encoding="utf-8")
    if driver:
        (folder / "driver").symlink_to(f"../../../bus/pci/drivers/{driver}")


def test_gpus_of_virtual_machines_and_those_left_out_by_hand_are_not_missed(simulated):
    tree = simulated("healthy")
    place(tree, "0000:98:00.0", "0x2335", "vfio-pci")
    place(tree, "0000:99:00.0", "0x2335")
    quiet = lambda arguments: (0, "", "")  # noqa: E731
    reading = gpu_reading.read(tree, partial(nvidia_smi.run, timeout=30), quiet, ignored=["0000:99:00.0"])
    assert only(gpu_health.examine(reading, None), "count") == [Finding("count", "pass", "1 GPU, as expected")]


def test_a_card_for_the_console_that_the_driver_no_longer_drives_is_not_missed(simulated):
    tree = simulated("healthy")
    place(tree, "0000:98:00.0", "0x128b")
    quiet = lambda arguments: (0, "", "")  # noqa: E731
    reading = gpu_reading.read(tree, partial(nvidia_smi.run, timeout=30), quiet)
    assert only(gpu_health.examine(reading, None), "count") == [Finding("count", "pass", "1 GPU, as expected")]


def test_what_is_wrong_with_a_gpu_that_is_left_out_is_not_told(simulated):
    tree = simulated("ecc-errors")
    addresses = [gpu["pci_address"] for gpu in gpu_reading.nvidia_devices.devices(tree)["gpus"]]
    lost = f"NVRM: Xid (PCI:{addresses[0][:-2]}): 79, GPU has fallen off the bus."
    noisy = lambda arguments: (0, f"Linux version 6.1.0\n{lost}", "")  # noqa: E731
    reading = gpu_reading.read(tree, partial(nvidia_smi.run, timeout=30), noisy, ignored=addresses[:1])
    findings = gpu_health.examine(reading, None)
    assert addresses[0] not in {finding.gpu for finding in findings}
    assert only(findings, "count")[0].status == "pass"
