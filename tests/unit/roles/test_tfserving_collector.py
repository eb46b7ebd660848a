# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The collector as the role monitoring lays it down: its unit, its timer and the program."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys

import pytest
import unit_cases
from ansible_collections.tfserving.fleet.plugins.module_utils.collector.metrics import METRICS
from patience import LONG_S
from shipped_program import COLLECTOR

UNITS = COLLECTOR.role / "templates/exporters/etc/systemd/system"


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """The program as it stands on a host."""
    return COLLECTOR.lay_down(tmp_path_factory.mktemp("collector"))


# The place of the file and of the plan, moved below a folder; all else is this machine's.
MOVED = """
import sys
sys.path.insert(0, {lib!r})
from fleet.collector import __main__, host
__main__.FILE, host.PLAN = {file!r}, {plan!r}
status = __main__.main()
print(*sorted(sys.modules))
sys.exit(status)
"""


def collect(program, root):
    script = MOVED.format(lib=str(program.parent / "lib"), file=str(root / "a.prom"), plan=str(root / "plan.json"))
    return subprocess.run(
        [sys.executable, "-I", "-B", "-c", script], env={"STATE_DIRECTORY": str(root), "PATH": os.defpath},
        capture_output=True, text=True, timeout=LONG_S, check=False,
    )  # fmt: skip


def test_the_program_writes_a_file_of_known_metrics(program, tmp_path):
    done = collect(program, tmp_path)
    assert done.returncode == 0, done.stderr
    lines = (tmp_path / "a.prom").read_text().splitlines()
    names = {re.split(r"[ {]", line)[0] for line in lines if not line.startswith("#")}
    assert "tfserving_collector_duration_seconds" in names
    assert names <= set(METRICS)


def test_a_run_without_changes_loads_no_libraries_of_tls(program, tmp_path):
    collect(program, tmp_path)
    loaded = set(collect(program, tmp_path).stdout.split())
    assert "fleet.collector.gpus" in loaded
    assert not loaded & {"ssl", "_ssl", "_hashlib", "http.client", "email", "dataclasses"}


@pytest.mark.skipif(not shutil.which("promtool"), reason="this machine has no promtool")
def test_promtool_can_read_the_file(program, tmp_path):
    collect(program, tmp_path)
    text = (tmp_path / "a.prom").read_bytes()
    judged = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, timeout=LONG_S, check=False
    )
    assert b"error while linting" not in judged.stderr


def unit(name="tfserving-collector.service"):
    return unit_cases.rendered(UNITS / f"{name}.j2").splitlines()


def test_it_stays_off_the_serving_cpus_and_behind_all_else():
    wanted = {"Slice=system.slice", "Nice=10", "Type=oneshot", "MemoryMax=160M", "TimeoutStartSec=20"}
    assert wanted <= set(unit())
    started = next(line for line in unit() if line.startswith("ExecStart="))
    place = f"/usr/local/lib/tfserving-fleet/{COLLECTOR.place.name}/tfserving-collector"
    assert started == f"ExecStart=/usr/bin/python3 -I -B {place}"


def test_it_writes_to_one_folder_and_has_two_capabilities():
    assert [line for line in unit() if line.startswith(("ReadWritePaths=", "CapabilityBoundingSet="))] == [
        "CapabilityBoundingSet=CAP_SYS_PTRACE CAP_DAC_READ_SEARCH",
        "ReadWritePaths=/var/lib/prometheus/node-exporter",
    ]


def test_hosts_of_a_fleet_start_at_different_seconds_and_each_once_a_minute():
    lines = set(unit("tfserving-collector.timer"))
    assert {"OnCalendar=minutely", "RandomizedDelaySec=58", "FixedRandomDelay=yes", "AccuracySec=1s"} <= lines


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="this machine has no systemd-analyze")
def test_systemd_understands_the_timer(tmp_path):
    for name in ("tfserving-collector.service", "tfserving-collector.timer"):
        (tmp_path / name).write_text("\n".join([*unit(name), ""]))
    judged = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / "tfserving-collector.timer")],
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
        capture_output=True, text=True, timeout=LONG_S, check=False,
    )  # fmt: skip
    assert not [line for line in judged.stderr.splitlines() if "tfserving-collector.timer" in line]
