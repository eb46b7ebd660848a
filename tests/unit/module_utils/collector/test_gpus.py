# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""GPUs as drivers of several generations tell them, and errors of theirs in the kernel's journal."""

from __future__ import annotations

import os
import stat

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.collector import gpus, xids
from ansible_collections.tfserving.fleet.plugins.module_utils.collector.host import PartError
from ansible_collections.tfserving.fleet.plugins.module_utils.collector.programs import ProgramError
from ansible_collections.tfserving.fleet.plugins.module_utils.nvidia import smi
from collected_host import CollectedHost, instance
from patience import LONG_S
from recorded_gpus import MACHINES, asking, gpu, host

# What the recordings have no column for, as an H100 under load answers.
CELLS = {
    "utilization.gpu": "97", "memory.used": "1024", "clocks.sm": "1980", "clocks.max.sm": "1980",
    "pcie.link.width.current": "16", "pcie.link.width.max": "16",
}  # fmt: skip
UUID = "GPU-00000000-0000-0000-0000-000000000000"


@pytest.fixture
def place(tmp_path):
    place = CollectedHost(tmp_path)
    place.plan(instance(gpus=[UUID]))
    return place


@pytest.fixture
def asked(place, monkeypatch):
    """Let nvidia-smi answer as a machine's does, and return the questions that it was asked."""

    def simulate(*rows, driver="590.48.01", **state):
        place.write("sys/module/nvidia/version", f"{driver}\n")
        ask = asking(host(driver, *rows, **state))
        monkeypatch.setattr(smi, "run", lambda arguments, _timeout: ask(arguments))
        return ask.asked

    return simulate


def test_a_gpu_is_told_in_our_units(place, asked):
    asked(gpu("H100, load", **CELLS))
    found = place.read(gpus)
    labels = f'gpu="0",uuid="{UUID}",name="NVIDIA H100 80GB HBM3",pci="0000:00:09.0",driver="590.48.01"'
    for line in (
        "tfserving_gpus 1",
        "tfserving_gpus_planned 1",
        f"tfserving_gpu_info{{{labels}}} 1",
        'tfserving_gpu_instance_info{gpu="0",serving_instance="ranker"} 1',
        'tfserving_gpu_utilisation_ratio{gpu="0"} 0.97',
        f'tfserving_gpu_memory_used_bytes{{gpu="0"}} {1 << 30}',
        f'tfserving_gpu_memory_total_bytes{{gpu="0"}} {81559 << 20}',
        'tfserving_gpu_temperature_celsius{gpu="0"} 59',
        'tfserving_gpu_power_watts{gpu="0"} 631.95',
        'tfserving_gpu_power_limit_watts{gpu="0"} 700',
        'tfserving_gpu_sm_clock_hertz{gpu="0"} 1980000000',
        'tfserving_gpu_ecc_errors_total{gpu="0",kind="uncorrectable"} 0',
        'tfserving_gpu_remap_pending{gpu="0"} 0',
        'tfserving_gpu_pcie_width_max{gpu="0"} 16',
        'tfserving_gpu_persistence{gpu="0"} 1',
    ):
        assert line in found


@pytest.mark.parametrize("name", MACHINES)
def test_every_recorded_driver_is_understood(place, asked, name):
    asked(gpu(name, **CELLS), driver=MACHINES[name]["driver"])
    found = place.read(gpus)
    assert "tfserving_gpus 1" in found
    reasons = [line for line in found if line.startswith("tfserving_gpu_clock_event")]
    cell = MACHINES[name]["gpu"][-2]
    if not cell.startswith("0x"):
        assert reasons == []  # a vGPU
        return
    assert len(reasons) == len(gpus.CLOCK_EVENTS)
    assert f'tfserving_gpu_clock_event{{gpu="0",reason="idle"}} {int(cell.endswith("1"))}' in reasons


@pytest.mark.parametrize("driver", ["418.43", "470.74", "535.54.03", "610.57.04"])
def test_a_driver_is_asked_once_what_it_does_not_know(place, asked, driver):
    row = gpu("H100, load", **CELLS)
    del row["clocks.max.sm"]  # as if it did not know it
    questions = asked(row, driver=driver)
    first = place.read(gpus)
    del questions[:]
    again = place.read(gpus)
    assert len([each for each in questions if each[0].startswith("--query-gpu=")]) == 1
    assert [line for line in first if "clock_event" in line] == [line for line in again if "clock_event" in line]
    place.write("sys/module/nvidia/version", "999.1\n")
    del questions[:]
    place.read(gpus)
    assert len([each for each in questions if each[0].startswith("--query-gpu=")]) > 1


@pytest.mark.parametrize(
    ("bits", "reasons"),
    [
        ("0x0000000000000001", {"idle"}),
        ("0x0000000000000002", {"applications_clocks_setting"}),
        ("0x0000000000000004", {"sw_power_cap"}),
        ("0x0000000000000048", {"hw_slowdown", "hw_thermal_slowdown"}),
        ("0x00000000000000a0", {"sw_thermal_slowdown", "hw_power_brake_slowdown"}),
        ("0x0000000000010000", set()),
    ],
)
def test_clock_events_have_nvidias_names(place, asked, bits, reasons):
    asked(gpu("H100, load", **CELLS, **{"clocks_event_reasons.active": bits}))
    active = {f'tfserving_gpu_clock_event{{gpu="0",reason="{reason}"}} 1' for reason in reasons}
    assert {line for line in place.read(gpus) if "clock_event" in line and line.endswith(" 1")} == active


@pytest.mark.parametrize("cell", ["[N/A]", "[Unknown Error]", "[Not Supported]", "", "nonsense"])
def test_what_a_gpu_does_not_tell_is_left_out(place, asked, cell):
    fields = {"power.draw": cell, "utilization.gpu": cell, "clocks_event_reasons.active": cell}
    asked(gpu("H100, load", **{**CELLS, **fields}))
    found = "\n".join(place.read(gpus))
    assert "power_watts" not in found
    assert "utilisation" not in found
    assert "clock_event" not in found
    assert "temperature" in found


def test_a_gpu_that_is_lost_does_not_count(place, asked):
    asked(gpu("H100, load", **CELLS), gpu("H100, load", 1, **CELLS, **{"temperature.gpu": "[GPU is lost]"}))
    assert "tfserving_gpus 1" in place.read(gpus)


def test_slices_of_a_gpu_count_as_one(place, asked):
    place.plan(instance(gpus=["MIG-a", "MIG-b"]), instance(name="other", gpus=[f"MIG-{UUID}/1/0", f"MIG-{UUID}/2/0"]))
    asked(gpu("H100 cut in four, load", **CELLS))
    found = place.read(gpus)
    assert "tfserving_gpus_planned 2" in found
    assert 'tfserving_gpu_instance_info{gpu="0",serving_instance="other"} 1' in found


def test_processes_that_belong_to_no_instance_are_counted(place, monkeypatch):
    rows = {
        "--query-gpu": f"0, {UUID}, 00000000:01:00.0, 1, X\n",
        "--query-compute-apps": f"{UUID}, 7\n{UUID}, 8\n{UUID}, 9\n",
        "--query-remapped-rows": "",
    }
    monkeypatch.setattr(gpus, "FIELDS", ("utilization.gpu",))
    monkeypatch.setitem(gpus._BEGIN, "fields", ["utilization.gpu"])
    monkeypatch.setattr(smi, "run", lambda arguments, _timeout: rows[arguments[0].partition("=")[0]])
    place.write("proc/7/cgroup", "0::/tfserving.slice/tfserving@ranker.service\n")
    place.write("proc/8/cgroup", "0::/user.slice/user-1000.slice\n")
    assert not [line for line in place.read(gpus) if "foreign" in line]
    assert 'tfserving_gpu_foreign_processes{gpu="0"} 1' in place.read(gpus)
    assert 'tfserving_gpu_foreign_processes{gpu="0"} 1' in place.read(gpus)


def program(folder, text):
    """Put a nvidia-smi of a few lines in place."""
    folder.mkdir()
    path = folder / "nvidia-smi"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(folder)


def test_an_nvidia_smi_that_hangs_is_given_up_and_left_alone_for_a_while(place, tmp_path, monkeypatch):
    folder = program(tmp_path / "bin", f"echo x >> {tmp_path}/asked; exec sleep {LONG_S}")
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setattr(gpus, "SECONDS", 0.1)
    with pytest.raises(PartError, match="did not answer within"):
        place.read(gpus)
    count = len((tmp_path / "asked").read_text()) if (tmp_path / "asked").exists() else 0
    place.now += gpus.REST_S - 1
    with pytest.raises(PartError, match="is left alone for ten minutes"):
        place.read(gpus)
    assert count == (len((tmp_path / "asked").read_text()) if (tmp_path / "asked").exists() else 0)


def test_the_planned_gpus_are_told_without_any_driver(place, monkeypatch):
    monkeypatch.setattr(smi, "run", lambda _arguments, _timeout: None)
    assert gpus.applies(place.host())
    samples = gpus.read(place.host())
    assert next(samples).value == 1
    with pytest.raises(PartError, match="nvidia-smi is not installed"):
        next(samples)


def test_a_host_without_gpus_is_asked_for_none(place):
    place.plan()
    assert not gpus.applies(place.host())
    assert not xids.applies(place.host())


BOOT = "Linux version 6.1.0-40-amd64 (x)\nNVRM: loading NVIDIA UNIX x86_64 Kernel Module\n"
FELL = "NVRM: Xid (PCI:0000:3b:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus.\n"
FAULT = "NVRM: Xid (PCI:0000:3b:00): 31, pid=1, name=python3, Ch 00000008, intr 00000000. MMU Fault\n"
CURSOR = "-- cursor: s=1f;i=2a;b=3c;m=4d;t=5e;x=6f\n"


def xid(code, action, count):
    return f'tfserving_xid_total{{pci="0000:3b:00.0",code="{code}",action="{action}"}} {count}'


def test_xids_are_counted_on_from_where_the_run_before_ended(place):
    place.answers["journalctl"] = BOOT + FAULT + FAULT + CURSOR
    assert place.read(xids) == [xid(31, "restart_app", 2)]
    assert place.asked[-1][0][-1] == "--boot"
    place.answers["journalctl"] = FELL + FAULT + CURSOR
    assert set(place.read(xids)) == {xid(31, "restart_app", 3), xid(79, "restart_host", 1)}
    assert place.asked[-1][0][-1] == "--after-cursor=s=1f;i=2a;b=3c;m=4d;t=5e;x=6f"
    # No new line: the journal tells no cursor either.
    place.answers["journalctl"] = ""
    assert set(place.read(xids)) == {xid(31, "restart_app", 3), xid(79, "restart_host", 1)}
    assert place.asked[-1][0][-1].startswith("--after-cursor=")


def test_a_journal_that_lost_the_place_is_read_anew(place):
    place.answers["journalctl"] = FAULT + CURSOR
    place.read(xids)
    place.answers["journalctl"] = (1, "")
    with pytest.raises(PartError, match="journalctl does not tell the lines of the kernel"):
        place.read(xids)
    place.answers["journalctl"] = BOOT + FAULT + CURSOR
    assert place.read(xids) == [xid(31, "restart_app", 1)]
    assert place.asked[-1][0][-1] == "--boot"


@pytest.mark.parametrize("problem", [ProgramError("journalctl did not answer within 3 s"), (1, "")])
def test_a_journal_that_could_not_be_read_is_read_from_another_place_and_nothing_is_counted_twice(place, problem):
    place.answers["journalctl"] = BOOT + FAULT + FAULT + CURSOR
    place.read(xids)
    place.answers["journalctl"] = problem
    with pytest.raises(RuntimeError):
        place.read(xids)
    # The last lines of the boot, of which one of those counted is no longer among them.
    place.answers["journalctl"] = FAULT + FELL + CURSOR
    assert set(place.read(xids)) == {xid(31, "restart_app", 2), xid(79, "restart_host", 1)}
    assert place.asked[-1][0][-1] == "--boot"


def test_however_long_the_log_is_a_run_asks_for_no_more_than_it_takes(place):
    place.answers["journalctl"] = BOOT + CURSOR
    place.read(xids)
    asked = place.asked[-1][0]
    assert f"--lines={xids.MOST_LINES}" in asked
    assert xids.MOST_BYTES >= xids.MOST_LINES * 1024


def test_errors_of_switches_and_in_unknown_forms_have_labels_of_their_own(place):
    place.answers["journalctl"] = (
        "nvidia-nvswitch0: SXid (PCI:0000:c1:00.0): 24007, Fatal, Link 05\nNVRM: Xid (something else): 1\n"
    )
    assert place.read(xids) == [
        'tfserving_xid_total{pci="0000:c1:00.0",code="sxid-24007",action="reset_gpu"} 1',
        'tfserving_xid_total{pci="",code="0",action="unknown"} 1',
    ]


def test_a_flood_of_kinds_stays_bounded(place):
    lines = "".join(f"NVRM: Xid (PCI:0000:{bus:02x}:00): {code}, x\n" for bus in range(8) for code in range(100))
    place.answers["journalctl"] = lines
    assert len(place.read(xids)) == xids.MOST_KINDS
