# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""One trial: which rates to measure, from the knee to expect, until it is known as finely as the trial asks.

The search for a knee of a benchmark (measure/knee.py) confirms it with 15 to 20 stages. A trial only sorts settings, so
it brackets the knee with some five; what is close is measured again by the search.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

from ..measure import knee
from ..measure.statistics import Percentiles
from .service_time import per_second
from .trial import Failed, Measured, Outcome, Trial

# The first step from the expected knee, in precisions; predictions are good for 15 %, three of the coarse ones. Each
# further step in the same direction is twice as long.
FIRST_STEP = {"explore": 3.0, "again": 2.0, "confirm": 2.0, "final": 2.0}
# No step is longer than a factor of two.
LONGEST_STEP = 1.0
# A knee this many times below the expected one is as good as none.
LEAST_SHARE = 1 / 64
# The stages that a trial may take.
MOST_STAGES = 14
# Stages at a rate whose failure would end a trial, although p99 itself kept the objective. The few hundred requests of
# a slow instance have an interval that goes up to their slowest, and one unlucky stage would put its knee a quarter too
# low.
LOOKS = 2
# Invalid stages (a busy generator, a disturbed host) at one rate until a lower one is tried: a prediction may be beyond
# what the generator sends. And in all, until a trial is given up.
MOST_INVALID_AT_ONCE = 2
MOST_INVALID = 6
# By how much the rate is lowered then, and how much room below that rate is worth another stage.
LOWERED = 4.0
LEAST_ROOM = 0.25


@dataclass(frozen=True)
class Stage:
    """What a stage at one rate found; times in microseconds, None where too few requests tell."""

    rate: float
    verdict: str
    """pass, fail or invalid."""
    why: str
    p99_us: float | None = None
    p99_low_us: float | None = None
    p99_high_us: float | None = None
    close: bool = False
    """Whether it failed by the interval of p99 alone."""


def judged(rate: float, outcome: knee.Outcome, found: Percentiles) -> Stage:
    """Return a stage as the measurement judges the server in it (measure.knee.passed)."""
    verdict, p99 = outcome.of_server, found.found.get("p99")
    if p99 is None:
        return Stage(rate, verdict, outcome.why, outcome.p99_us)
    return Stage(rate, verdict, outcome.why, p99.us, p99.low, p99.high, outcome.close)


class Bracket:
    """The stages of one trial. ``next`` says at which rate to measure, ``tell`` takes what came of it."""

    def __init__(self, trial: Trial, slo_us: float) -> None:
        self.trial = trial
        self.slo_us = slo_us
        self.passed: Stage | None = None
        self.stopped = ""
        self._failures: list[Stage] = []
        self._looks: Counter[float] = Counter()
        self._is_over = False
        self._stages = 0
        self._invalid = 0
        self._ceiling = math.inf
        self._step = FIRST_STEP[trial.rung] * trial.precision

    @property
    def failed(self) -> Stage | None:
        """The lowest rate that failed, of those above what passed."""
        return min(self._failures, key=lambda each: each.rate, default=None)

    def next(self) -> float | None:
        """Return the rate of the next stage in requests a second, or None when the trial is over."""
        if self._is_over or self._stages >= MOST_STAGES:
            return None
        if self._is_known():
            return self._doubted()
        if self.trial.must_carry and self._stages == self._invalid < MOST_INVALID_AT_ONCE:
            return self.trial.must_carry
        wanted = self._wanted(*self._bounds())
        return wanted if wanted < self._ceiling else self._below_ceiling(self._bounds()[0])

    def _wanted(self, low: float, high: float) -> float:
        if low and high < math.inf:
            return math.sqrt(low * high)
        # What the trial must carry says nothing yet about the knee to expect.
        start = max(self.trial.start_rate, 1.0)
        if not low:
            return min(start, high / (1 + self._step))
        return max(start, low * (1 + self._step))

    def _below_ceiling(self, low: float) -> float | None:
        """Return a rate that the generator may be able to send, or None where too little is left of that."""
        if not low:
            return self._ceiling / LOWERED
        return math.sqrt(low * self._ceiling) if self._ceiling > low * (1 + LEAST_ROOM) else None

    def tell(self, stage: Stage) -> None:
        """Take the outcome of a stage."""
        self._stages += 1
        self._looks[stage.rate] += 1
        first, bound = self._is_first(stage), self._bounds()
        if stage.verdict == "invalid":
            self._invalid += 1
            if self._invalid % MOST_INVALID_AT_ONCE == 0:
                self._ceiling = min(self._ceiling, stage.rate)
            if self._invalid >= MOST_INVALID:
                self.end(stage.why)
            return
        if stage.verdict == "pass":
            self.passed = stage
            self._failures = [each for each in self._failures if each.rate > stage.rate]
        else:
            self._failures.append(stage)
        if not first and (bound[0] > 0) != (bound[1] < math.inf):
            self._step = min(LONGEST_STEP, 2 * self._step)
        over = stage.p99_low_us is not None and stage.p99_low_us > self.slo_us
        if first and stage.verdict == "fail" and over:
            self._is_over, self.stopped = True, "early"

    def _is_first(self, stage: Stage) -> bool:
        """Return whether a stage is the one that shows whether the setting is of interest."""
        return stage.rate == self.trial.must_carry and not self.passed and not self.failed

    def end(self, why: str) -> None:
        """End the trial before its knee is known; without a rate that passed it has failed, for this reason."""
        self._is_over = True
        if self.passed is None:
            self.stopped = why

    def outcome(self, seconds: float) -> Outcome:
        """Return what the trial found, in so many seconds."""
        if self.stopped == "early" and self.failed:
            return Failed(
                "stopped early", f"it does not carry {per_second(self.failed.rate)}: {self.failed.why}", seconds
            )
        if self.stopped:
            return Failed("failed", self.stopped, seconds)
        low, high = self._bounds()
        if self.passed is None or self.passed.p99_us is None or self.passed.p99_high_us is None:
            return Measured(0.0, 0.0, high if high < math.inf else 0.0, 0.0, 0.0, seconds)
        top = high if high < math.inf else low * (1 + self.trial.precision)
        return Measured(low, low, top, self.passed.p99_us, self.passed.p99_high_us, seconds)

    def _bounds(self) -> tuple[float, float]:
        """Return the highest rate that passed and the lowest that failed."""
        return (self.passed.rate if self.passed else 0.0), (self.failed.rate if self.failed else math.inf)

    def _doubted(self) -> float | None:
        """Return the rate that ends the trial by its failure, if that is to be seen again."""
        failed = self.failed
        if not self.passed or not failed or not failed.close or self._looks[failed.rate] >= LOOKS:
            return None
        return failed.rate

    def _is_known(self) -> bool:
        low, high = self._bounds()
        least = LEAST_SHARE * max(self.trial.start_rate, 1.0)
        return high <= low * (1 + self.trial.precision) or (not low and high < least)
