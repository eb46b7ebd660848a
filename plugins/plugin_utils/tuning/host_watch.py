# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The measured host before and after each stage of a trial: its memory, and what disturbed the server in between.

A stage is judged by the host as one of a benchmark is (measure.validity), from two readings of the same counters
instead of a sample a second. Clocks and GPUs are left out, since both readings find them idle.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypedDict

from ansible_collections.tfserving.fleet.plugins.module_utils.evidence import events

from ..benchmark.document import TrialHost
from ..benchmark.load import Judged
from ..benchmark.measured import StageHost
from ..benchmark.shape import misfit
from ..measure import validity
from ..phrases import counted
from ..planner.schema import Memory
from . import memory_guard
from .history import Told
from .measured_host import Host


class Sample(TypedDict):
    """What the host tells at one moment, of all that host_samples does; None where it does not tell."""

    at: float
    cpu_throttled_us: float | None
    psi_cpu_us: float | None
    host_psi_cpu_us: float | None
    busy_us: float | None
    steal_us: float | None
    total_us: float | None
    own_us: float | None
    pid: int | None
    started: int | None
    versions: Any


class HostWatch:
    """Stages on a host that is asked before and after each. The reading after one is that before the next.

    ``limits`` are those of the plan for the instance's memory.
    """

    def __init__(self, host: Host, limits: Memory, tell: Callable[[str], None]) -> None:
        self._host, self._limits, self._tell = host, limits, tell
        self._last: Mapping[str, Any] | None = None
        self._stages: list[TrialHost] = []

    def settings_changed(self) -> None:
        """Read the host anew before the next stage: it has another process or another version now."""
        self._last = None

    def too_much_memory(self) -> str:
        """Return why the trial has to end for its memory, with the plan back, or an empty text.

        The end of the trial is postponed. Raises WishError if it has ended meanwhile.
        """
        too_much = memory_guard.over(self._reading().get("memory") or {}, self._limits)
        if too_much:
            self._tell(f"  {too_much}: bringing the plan's settings back")
            self.settings_changed()
            self._host.restore()
        return too_much

    def stage(self, run: Callable[[], Judged]) -> Judged:
        """Run a stage and return it; it is invalid if the host spoilt it."""
        before = self._reading()
        found = run()
        self._last = self._host.renew()
        found, host = judged(found, before.get("sample"), self._last.get("sample"))
        self._stages.append(host)
        if found.outcome.verdict == "invalid" and host["remarks"]:
            self._tell(f"  {found.entry['name']}: invalid, {found.outcome.why}")
        return found

    def taken(self) -> list[TrialHost]:
        """Return what the host told of each stage since the last call."""
        stages, self._stages = self._stages, []
        return stages

    def _reading(self) -> Mapping[str, Any]:
        if self._last is None:
            self._last = self._host.renew()
        return self._last


def judged(stage: Judged, before: object, after: object) -> tuple[Judged, TrialHost]:
    """Return a stage as the host's samples before and after let it stand, and what they told.

    What does not look like a sample tells nothing. Counters are set against the warm-up and the stage together.
    """
    result = stage.entry["result"]
    samples: list[Any] = [each for each in (before, after) if not misfit(each, Sample)]
    figures = events.figures(samples, -math.inf, math.inf)
    found = validity.of_host(figures, samples, result["warmup_s"] + result["duration_s"])
    invalid = "; ".join(remark.text for remark in found if remark.invalidates)
    told: TrialHost = {
        "rate": stage.entry["rate"],
        "figures": StageHost(**figures),
        "remarks": [remark.text for remark in found],
    }
    if not invalid:
        return stage, told
    outcome = dataclasses.replace(stage.outcome, verdict="invalid", why=invalid, generator=False, overloaded=False)
    return dataclasses.replace(stage, outcome=outcome), told


def remark(history: Iterable[Told]) -> list[str]:
    """Return in how many stages the host disturbed the server, as a sentence with the first of them."""
    stages = [(told.trial.number, stage) for told in history for stage in told.outcome.host]
    disturbed = [(number, stage["remarks"][0]) for number, stage in stages if stage["remarks"]]
    if not disturbed:
        return []
    number, text = disturbed[0]
    share = f"{len(disturbed):,} of {counted(len(stages), 'stage')}"
    return [f"the host disturbed {share}, the first of them in trial {number}: {text}"]
