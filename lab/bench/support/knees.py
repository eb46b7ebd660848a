# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The knee of a running server, bracketed by the stages of a tuner's trial: for ratios of servers that take turns.

A knee of benchmark.yml is confirmed by three stages of a minute, which a ratio does not need: its error is what the
turns differ by.
"""

from __future__ import annotations

from collections.abc import Callable
from statistics import mean
from typing import Any

from support.local_load import part


def find(
    load: Any,
    name: str,
    start: float,
    stage_s: float,
    rung: str = "confirm",
    carries: Any = None,
    told: list[str] | None = None,
) -> Any:
    """The knee in requests a second (tuning.trial.Measured), or why there is none (Failed).

    `start` is the rate to begin with; `rung` says how finely to look (tuning.search.PRECISION); `carries` is a stage
    that has passed already (tuning.bracket.Stage); `told` is a list to which the reasons of invalid stages are added.
    """
    bracket = part("plugin_utils.tuning.bracket")
    trial = _trial(start, stage_s, rung)
    search = bracket.Bracket(trial, load.slo_ms * 1000)
    if carries:
        search.tell(carries)
    while (rate := search.next()) is not None:
        seconds = part("plugin_utils.tuning.conduct").stage_s(trial, rate)
        judged = load.stage(name, rate, seconds, lambda: 0.0)
        stage = bracket.judged(rate, judged.outcome, judged.percentiles)
        if told is not None and stage.verdict == "invalid":
            told.append(stage.why)
        search.tell(stage)
    return search.outcome(0.0)


def _trial(start: float, stage_s: float, rung: str) -> Any:
    return part("plugin_utils.tuning.trial").Trial(
        number=0,
        setting=None,
        origin="search",
        rung=rung,
        repeat=1,
        stage_s=stage_s,
        precision=part("plugin_utils.tuning.search").PRECISION[rung],
        start_rate=start,
        must_carry=None,
        predicted=start,
        why="",
    )


def ratio(
    upper: list[Any], lower: list[Any], middle: Callable[[list[float]], float] = mean
) -> tuple[float, float, float] | None:
    """(value, low, high) of the knees of two sides, of each their mean or another middle: each end has one side at its
    best in any turn, the other one at its worst. None where a turn found no knee."""
    if not upper or not lower or not all(getattr(each, "rate", 0.0) for each in (*upper, *lower)):
        return None
    value = middle([each.rate for each in upper]) / middle([each.rate for each in lower])
    low = min(each.low for each in upper) / max(each.high for each in lower)
    return value, low, max(each.high for each in upper) / min(each.low for each in lower)


def shown(knees: list[Any], middle: Callable[[list[float]], float] = mean) -> str:
    """The knees of all turns as in a table: their middle, the lowest rate that passed and the highest that failed.

    What has none says why.
    """
    known = [each for each in knees if getattr(each, "rate", 0.0)]
    if len(known) < len(knees) or not knees:
        missing = next((each for each in knees if each not in known), None)
        return f"none ({getattr(missing, 'why', 'the objective is kept at no rate')})"
    low, high = min(each.low for each in known), max(each.high for each in known)
    return f"{middle([each.rate for each in known]):.0f} ({low:.0f} - {high:.0f})"
