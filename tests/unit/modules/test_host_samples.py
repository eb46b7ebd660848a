# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The module fails in one sentence where it refuses."""

from __future__ import annotations

from ansible_collections.tfserving.fleet.plugins.modules import host_samples
from running import run_module


def test_a_refusal_is_one_sentence(tmp_path):
    result = run_module(host_samples, instance="ranker", record=str(tmp_path / "none"))
    assert result["failed"] is True
    assert result["msg"] == "instance: ranker is not in the plan of this host; the plan has no instance"


def test_a_damaged_record_is_no_traceback(tmp_path):
    record = tmp_path / "plan.json"
    record.write_text("{")
    result = run_module(host_samples, instance="ranker", record=str(record))
    assert result["msg"].startswith(f"{record}: is not complete JSON (")
