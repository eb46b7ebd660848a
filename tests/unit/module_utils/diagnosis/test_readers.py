# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Logs, GPUs and certificates, by the programs that tell of them."""

from __future__ import annotations

import subprocess
import sys

import pytest
import recorded_host
from ansible_collections.tfserving.fleet.plugins.module_utils.diagnosis import (
    certificates,
    command,
    facts,
    gpus,
    logs,
    tasks,
)
from ansible_collections.tfserving.fleet.plugins.module_utils.host.sysfs import Tree
from ansible_collections.tfserving.fleet.plugins.module_utils.nvidia.smi import NvidiaSmiError

ROW = {
    "index": "0", "uuid": "GPU-0a", "pci.bus_id": "00000000:3B:00.0", "utilization.gpu": "55", "memory.used": "9000",
    "temperature.gpu": "58", "power.draw": "310.5", "clocks.sm": "1980", "pcie.link.width.current": "8",
    "pcie.link.gen.current": "4", "clocks_event_reasons.active": "0x0000000000000020", "memory.total": "81920",
    "power.limit": "700.00", "clocks.max.sm": "1980", "pcie.link.width.max": "16", "pcie.link.gen.max": "5",
    "ecc.errors.uncorrected.volatile.total": "[N/A]", "pstate": "P0", "driver_version": "570.133.20",
    "mig.mode.current": "Disabled", "persistence_mode": "Enabled", "name": "NVIDIA H100, 80GB",
}  # fmt: skip
TABLES = {
    "remapped-rows": {"gpu_uuid": "GPU-0a", "remapped_rows.pending": "Yes", "remapped_rows.failure": "No"},
    "compute-apps": {"gpu_uuid": "GPU-0a", "pid": "4100", "used_memory": "8900"},
}


def nvidia_smi(arguments):
    kind, _equals, fields = arguments[0].removeprefix("--query-").partition("=")
    row = ROW if kind == "gpu" else TABLES[kind]
    return ", ".join(row[field] for field in fields.split(",")) + "\n"


def test_a_gpu_tells_what_it_is_what_it_does_and_for_whom(tmp_path):
    recorded_host.write(tmp_path, "sys/bus/pci/devices/0000:3b:00.0/numa_node", "1\n")
    (found,) = gpus.read(Tree(str(tmp_path)), nvidia_smi)
    assert (found["index"], found["pci"], found["node"], found["name"]) == (0, "0000:3b:00.0", 1, "NVIDIA H100, 80GB")
    assert (found["pcie_width"], found["pcie_width_max"], found["reasons"], found["power_w"]) == (8, 16, 0x20, 310.5)
    assert (found["ecc_uncorrectable"], found["remap_pending"], found["remap_failed"]) == (None, True, False)
    assert (found["persistence"], found["processes"]) == (True, [{"pid": 4100, "memory_mb": 8900}])


def test_without_nvidia_smi_there_are_no_gpus(tmp_path):
    assert gpus.sample(lambda _arguments: None) is None
    assert gpus.read(Tree(str(tmp_path)), lambda _arguments: None) is None


def test_nvidia_smi_that_hangs_is_an_error():
    def hangs(_arguments):
        raise NvidiaSmiError("nvidia-smi --query-gpu did not answer within 4 seconds")

    with pytest.raises(NvidiaSmiError):
        gpus.sample(hangs)


def test_the_lines_of_polling_do_not_bury_the_others():
    polling = [f"(Re-)adding model: ranker {number}" for number in range(300)]
    text = "\n".join(["Failed to load", *polling, "the last one", ""])
    found = logs.of_unit(lambda _arguments: text, "tfserving@ranker.service", "5f")
    assert (found[0], found[-1], len(found)) == ("Failed to load", "the last one", 2 + logs.MOST_POLLING)
    assert found[-2] == "(Re-)adding model: ranker 299"


def test_the_journal_is_asked_for_the_last_start():
    asked = []
    logs.of_unit(lambda arguments: asked.append(arguments), "tfserving@a.service", "5f5f")
    logs.of_unit(lambda arguments: asked.append(arguments), "tfserving@a.service", "")
    assert [each[1] for each in asked] == ["_SYSTEMD_INVOCATION_ID=5f5f", "_SYSTEMD_UNIT=tfserving@a.service"]


def test_lines_are_cut():
    (line,) = logs.of_kernel(lambda _arguments: "NVRM: Xid " + "x" * 9999)
    assert len(line) == logs.LONGEST


def test_certificates_that_are_there_tell_their_end(tmp_path):
    recorded_host.write(tmp_path, "etc/haproxy/tls.pem", "")
    said = "notAfter=2026-12-24 08:00:00Z\n"
    found = certificates.read(Tree(str(tmp_path)), lambda _arguments: said, ["/etc/haproxy/tls.pem", "/etc/none.pem"])
    assert found == [{"path": "/etc/haproxy/tls.pem", "not_after": 1798099200.0}]


def test_a_certificate_without_an_end_has_none(tmp_path):
    recorded_host.write(tmp_path, "etc/haproxy/tls.pem", "")
    found = certificates.read(Tree(str(tmp_path)), lambda _arguments: "notAfter=never\n", ["/etc/haproxy/tls.pem"])
    assert found == [{"path": "/etc/haproxy/tls.pem", "not_after": None}]


def test_a_program_that_fails_is_told_in_its_words():
    with pytest.raises(RuntimeError, match="sh ended with code 3: no such thing"):
        command.ask(["sh", "-c", "echo no such thing >&2; exit 3"])


def test_a_program_that_is_not_there_says_nothing():
    assert command.ask(["/nowhere/program"]) is None


@pytest.mark.parametrize("program", [["sleep", "60"], ["yes"]])
def test_a_program_that_hangs_or_never_stops_talking_is_ended(monkeypatch, program):
    monkeypatch.setattr(command, "SECONDS", 0.1)
    with pytest.raises(subprocess.TimeoutExpired):
        command.ask(program)


def test_of_too_long_a_log_the_newest_lines_are_kept():
    # As a firewall fills the kernel's log: 20 000 lines of 250 characters.
    code = "for number in range(20000): print('x' * 242, number)"
    lines = command.ask([sys.executable, "-c", code]).splitlines()
    assert lines[-1] == f"{'x' * 242} 19999"
    assert sum(len(line) + 1 for line in lines) <= command.MOST_BYTES


def test_a_process_of_many_threads_is_read_in_part(tmp_path):
    recorded_host.standing(tmp_path)
    recorded_host.server(tmp_path, 1)
    found = tasks.read(Tree(str(tmp_path)), recorded_host.PID, most=2)
    assert (len(found.tasks), found.left_out, found.process["threads"]) == (2, 1, 3)


def test_a_process_that_is_gone_is_none(tmp_path):
    assert tasks.read(Tree(str(tmp_path)), 9) is None


def test_a_processor_tells_the_clock_that_its_maker_promises(tmp_path):
    recorded_host.standing(tmp_path)
    recorded_host.write(tmp_path, "sys/devices/system/cpu/cpu0/cpufreq/base_frequency", "2200000\n")
    assert facts.read(Tree(str(tmp_path)), [])["cpufreq"]["base_mhz"] == {"0": 2200.0}


def test_the_clock_tells_whether_it_is_synchronised():
    clock = facts._clock()
    assert clock["synchronised"] in (True, False)
    assert abs(clock["offset_ms"]) < 1000


@pytest.mark.parametrize(
    ("word", "flags", "guest"),
    [("kvm\n", "", "kvm"), ("none\n", "hypervisor", None), (None, "fpu hypervisor", "unknown"), (None, "fpu", None)],
)
def test_a_guest_is_known_by_systemd_or_by_its_cpu(tmp_path, word, flags, guest):
    recorded_host.write(tmp_path, "proc/cpuinfo", f"processor : 0\nflags\t\t: {flags}\n")
    assert facts.virtual(Tree(str(tmp_path)), word) == guest
