# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A calibration sets latencies against delays that the stub measured itself."""

from __future__ import annotations

import gc
import json
import os

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.load import calibrate
from ansible_collections.tfserving.fleet.plugins.module_utils.load.calibrate import capacity, compared


def test_the_error_is_what_neither_delay_nor_overhead_explain():
    assert compared(delay=5000, measured=5450, overhead=400) == {
        "delay_us": 5000,
        "measured_p50_us": 5450,
        "error": 0.01,
        "overhead_us": 400,
    }
    assert compared(delay=5000, measured=5350, overhead=400)["error"] == 0.01


def test_capacity_is_that_of_the_burst_that_was_disturbed_least():
    found = capacity([(4000.0, 90.0), (5000.0, 80.0), (4500.0, 85.0)])
    assert found == {"requests_per_s_a_core": 5000.0, "cpu_us_a_request": 80.0}


def test_a_calibration_has_the_figures_of_both_protocols(tmp_path, brief_calibration):
    cpus = os.sched_getaffinity(0)
    assert calibrate.calibrate(tmp_path / "new") == 0
    found = json.loads((tmp_path / "new" / "calibration.json").read_text())
    assert found["schema"] == 1
    for protocol in ("grpc", "rest"):
        figures = found["protocols"][protocol]
        assert set(figures) == {
            *("requests_per_s_a_core", "cpu_us_a_request", "delay_us", "measured_p50_us", "error", "overhead_us"),
        }
        assert figures["delay_us"] >= 5000 * 0.99
        assert figures["measured_p50_us"] >= figures["delay_us"] * 0.99
    assert os.sched_getaffinity(0) == cpus
    assert gc.isenabled()


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(calibrate, "figures", lambda protocol: pytest.fail("load was sent"))
    (tmp_path / "file").write_text("")
    assert calibrate.calibrate(tmp_path / "file" / "out") == 2
    assert capsys.readouterr().err == f"{tmp_path / 'file' / 'out'} cannot be written: not a directory\n"
