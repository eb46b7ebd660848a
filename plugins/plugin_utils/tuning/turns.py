# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The last comparison: the setting that the trials speak for and the plan take turns at one rate.

Knees of two settings were measured minutes apart, on a host that changes meanwhile. Blocks in turns (A B B A) meet the
same host, and their difference comes with an interval.
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
# Starts of the server: four blocks in A B B A take three, and the next four two or three.
MOST_STARTS = PAIRS + PAIRS // 2
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


class Turns:
    """The blocks of one comparison. ``next`` says whose settings to measure, ``tell`` takes what came of it."""

    def __init__(self, trial: Trial, planned: Setting, slo_us: float, seed: int) -> None:
        self.rate, self.block_s = trial.start_rate, block_s(trial.start_rate, trial.stage_s)
        self._settings = {"a": planned, "b": trial.setting}
        self._order = interleave.order(PAIRS, seed)
        self._slo_us = slo_us
        self._blocks: list[Block] = []
        self._invalid = 0
        self._stopped = ""

    @property
    def left(self) -> int:
        """How many blocks are left."""
        return len(self._order) - len(self._blocks)

    def next(self) -> Setting | None:
        """Return the setting of the next block, or None when the comparison is over."""
        return self._settings[self._order[len(self._blocks)]] if self.left and not self._stopped else None

    def tell(self, block: Block) -> None:
        """Take a block. One that is invalid is repeated, a few times at most."""
        if block.verdict != "invalid":
            self._blocks.append(block)
            return
        self._invalid += 1
        if self._invalid > REPEATS:
            self._stopped = block.why

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
            block_s=self.block_s,
            planned_p99_us=theirs.us if theirs else None,
            p99_us=ours.us if ours else None,
            keeps=ours is not None and ours.high is not None and ours.high <= self._slo_us,
            found=found.to_json(),
            seconds=seconds,
        )


def _p99(blocks: Sequence[Sequence[Second]]) -> statistics.Percentile | None:
    """Return p99 of one side over all its blocks; None where too few requests tell."""
    total = Histogram()
    for block in blocks:
        total.add(whole(block))
    missing = sum(second.missing for block in blocks for second in block)
    return statistics.percentiles(total, missing).found.get("p99")
