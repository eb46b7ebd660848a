# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The rows of a candidate's speed, and the settings that both sides are measured with."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.tfserving.fleet.plugins.plugin_utils.benchmark import options
from ansible_collections.tfserving.fleet.plugins.plugin_utils.optimization import speed, turns
from planner_cases import CPU_HOST, instance
from planner_cases import plan as planned


def comparison(low: float, high: float, verdict: str = "better") -> dict[str, Any]:
    return {"p50_ratio": {"value": (low + high) / 2, "low": low, "high": high}, "verdict": verdict, "reason": "r"}


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.7, 0.9, "passed"),
        (0.9, 0.95, "not proven"),
        (0.9, 0.96, "not proven"),
        (0.97, 1.1, "failed"),
        (1.2, 1.3, "failed"),
    ],
)
def test_the_lower_end_of_the_gain_has_to_be_above_five_per_cent(low: float, high: float, verdict: str) -> None:
    assert speed.gain(comparison(low, high)).verdict == verdict


def test_a_speed_that_could_not_be_compared_has_not_passed() -> None:
    found = speed.gain({"verdict": "not comparable", "reason": "2 of the 4 pairs"})
    assert (found.passed, found.sentence) == (False, "the speed was not measured: 2 of the 4 pairs")
    assert speed.tail({"verdict": "not comparable", "reason": "2 of the 4 pairs"}).verdict == "not proven"


def test_slow_calls_may_not_be_slower_nor_fail_more_often() -> None:
    assert speed.tail(comparison(0.7, 0.9)).passed
    assert speed.tail(comparison(0.7, 0.9, "no difference")).passed
    assert not speed.tail(comparison(0.7, 0.9, "worse")).passed
    assert not speed.tail(
        {**comparison(0.7, 0.9), "errors_difference": {"value": 0.1, "low": 0.05, "high": 0.2}}
    ).passed


def test_memory_and_the_time_to_load_have_their_bounds() -> None:
    before = {"memory_mb": [1000.0, 1010.0, 990.0], "load_s": [4.0, 5.0]}
    fine = {"memory_mb": [1050.0, 1090.0, 1060.0], "load_s": [6.0, 7.0]}
    assert [row.passed for row in speed.rows(comparison(0.7, 0.9), before, fine)] == [True] * 4
    large = {"memory_mb": [1200.0], "load_s": [9.0]}
    found = {row.check: row for row in speed.rows(comparison(0.7, 0.9), before, large)}
    assert found["memory"].sentence == "1200 MB resident against 1000; 1100 allowed"
    assert not found["time to load"].passed
    assert not speed.rows(comparison(0.7, 0.9), {"memory_mb": [], "load_s": []}, fine)[2].passed


def test_both_sides_are_trials_and_only_the_candidate_has_its_base_path_and_flags() -> None:
    plan = planned(CPU_HOST, [instance("main")])["instances"][0]
    call = turns.Call(
        options.read({"instance": "main"}, "optimize"), {"name": "gpu-a"}, plan, plan["models"][0], "/m/.optimised",
        {"prefer_tflite_model": True}, "optimize-1", ["load"], print,
    )  # fmt: skip
    before, after = (turns.arguments(call, side, 900) for side in ("a", "b"))
    assert before["files"] == {}
    assert not any("tflite" in each for each in before["arguments"])
    assert "--prefer_tflite_model=true" in after["arguments"]
    assert "--model_config_file=/run/tfserving-trial/main/models.config" in after["arguments"]
    assert 'base_path: "/m/.optimised"' in after["files"]["models.config"]
    assert (before["owner"], after["expires_s"]) == ("optimize-1", 900)
