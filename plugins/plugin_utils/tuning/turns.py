# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The last comparison: the setting that the trials speak for and the plan take turns at one rate.

Knees of two settings were measured minutes apart, on a host that changes meanwhile. Blocks in turns (A B B A) meet the
same host, and their difference comes with an interval. What they differ in is the rate that they carry, and that shows
at rates which one of them does not carry: so the plan is looked at first, and the rate is raised while it keeps the
objective. One look that fails decides nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ansible_collections.tfserving.fleet.plugins.module_utils.load.histogram import Histogram

from ..measure import comparison, interleave, statistics
from ..measure.knee import LEAST_REQUESTS, Verdict
from ..measure.series import Second, whole
from .space import Setting
from .trial import Compared, Failed, Outcome, Trial

PAIRS = interleave.LEAST_PAIRS
# A block is this many stages of a trial: the 30 s of a comparison, where a stage takes the usual 10 s.
STAGES = 3
# Rates that the turns may be held at; the last needs no look. A plan on two CPUs carried 18 % more in the turns than in
# its trial, and at the first of these rates both sides had the same p99.
RATES = 3
# Looks that must fail before the turns are held at a rate: one says little on a busy host. A plan that failed its only
# look, at 58 ms, kept 50 ms in three of its four blocks: a setting that carries more was turned down at that rate.
FAILURES = 2
# At the most: at each rate but the last, one that fails and one that decides.
LOOKS = FAILURES * (RATES - 1)
# Of the candidate's knee, which is known to some per cent. Nearer to it, its p99 is a matter of luck: one simulated
# comparison of eight, held at 0.97 of it, found the better side worse, at 95 ms against 53 ms.
ROOM = 0.95
# Starts of the server: one for the looks, three for four blocks in A B B A, and two or three for the next four.
MOST_STARTS = 1 + PAIRS + PAIRS // 2
# What the sides are called in sentences.
NAMES = ("the plan", "the best of the trials")
# Blocks that the host or the generator disturbed are repeated at once, so often in all.
REPEATS = 2


@dataclass(frozen=True)
class Block:
    """What a block gave: pass, fail or invalid, why, and its seconds without the warm-up."""

    verdict: Verdict
    why: str
    seconds: Sequence[Second] = field(default=())


def block_s(rate: float, stage_s: float) -> float:
    """Return how long a block takes, in s: long enough for the requests that p99 of a side takes."""
    return max(stage_s, LEAST_REQUESTS / PAIRS / rate)


def look_s(rate: float, stage_s: float) -> float:
    """Return how long a look at the plan takes, in s: a stage of a trial, or what p99 takes, but a block at most."""
    return min(max(stage_s / STAGES, LEAST_REQUESTS / rate), block_s(rate, stage_s))


class Turns:
    """The looks and the blocks of one comparison.

    ``next`` says whose settings to measure, ``rate`` and ``seconds`` how, and ``tell`` takes what came of it.
    """

    def __init__(self, trial: Trial, planned: Setting, slo_us: float, seed: int) -> None:
        self._stage_s = trial.stage_s
        self._rates = _rates(trial.start_rate, trial.below)
        self._settings = {"a": planned, "b": trial.setting}
        self._order = interleave.order(PAIRS, seed)
        self._slo_us = slo_us
        self._blocks: list[Block] = []
        self._failures = 0
        self._invalid = 0
        self._stopped = ""

    @property
    def rate(self) -> float:
        """The rate to send at next, in requests a second."""
        return self._rates[0]

    @property
    def is_looking(self) -> bool:
        """Whether the rate of the turns is still looked for."""
        return len(self._rates) > 1

    @property
    def seconds(self) -> list[float]:
        """The lengths of what is left to measure, at most, in s."""
        failed = self._failures
        looks = [look_s(rate, self._stage_s) for rate in self._rates[:-1] for _ in range(FAILURES)]
        return looks[failed:] + [self._block_s] * (len(self._order) - len(self._blocks))

    @property
    def _block_s(self) -> float:
        return block_s(self.rate, self._stage_s)

    def next(self) -> Setting | None:
        """Return the setting to measure next, or None when the comparison is over."""
        if self._stopped or not self.seconds:
            return None
        return self._settings["a" if self.is_looking else self._order[len(self._blocks)]]

    def tell(self, block: Block) -> None:
        """Take a look or a block. What is invalid is repeated, a few times at most."""
        if block.verdict == "invalid":
            self._invalid += 1
            if self._invalid > REPEATS:
                self._stopped = block.why
        elif not self.is_looking:
            self._blocks.append(block)
        elif block.verdict == "pass":
            del self._rates[0]
            self._failures = 0
        else:
            self._failures += 1
            if self._failures == FAILURES:
                del self._rates[1:]

    def end(self, why: str) -> None:
        """End the comparison before all its blocks are measured."""
        self._stopped = why

    def outcome(self, seconds: float) -> Outcome:
        """Return what the comparison found, in so many seconds."""
        if self._stopped:
            return Failed("failed", self._stopped, seconds)
        planned, chosen = interleave.sides(self._order, [each.seconds for each in self._blocks])
        found = comparison.compare(planned, chosen, interleaved=True, names=NAMES)
        theirs, ours = _p99(planned), _p99(chosen)
        return Compared(
            rate=self.rate,
            blocks=PAIRS,
            block_s=self._block_s,
            planned_p99_us=theirs.us if theirs else None,
            p99_us=ours.us if ours else None,
            keeps=ours is not None and ours.high is not None and ours.high <= self._slo_us,
            found=found.to_json(),
            seconds=seconds,
        )


def _rates(lowest: float, knee: float | None) -> list[float]:
    """Return the rates to try: from the lowest in even steps of their logarithms to the knee, with room below it."""
    if knee is None or knee <= lowest:
        return [lowest]
    higher = [lowest * (knee / lowest) ** (step / RATES) for step in range(1, RATES)]
    return [lowest, *(rate for rate in higher if rate <= ROOM * knee)]


def _p99(blocks: Sequence[Sequence[Second]]) -> statistics.Percentile | None:
    """Return p99 of one side over all its blocks; None where too few requests tell."""
    total = Histogram()
    for block in blocks:
        total.add(whole(block))
    missing = sum(second.missing for block in blocks for second in block)
    return statistics.percentiles(total, missing).found.get("p99")
