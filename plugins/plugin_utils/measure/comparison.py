# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Better, worse, or no difference: two sides compared by resampling stretches of their time.

Latencies that follow each other are alike: they wait in one queue, and a host has slow seconds and slow minutes. A
bootstrap that draws single requests, or single seconds, takes each for news and finds differences between a setting
and itself. So two things are drawn here, with replacement. Runs of several seconds within each block show what a queue
does; whole blocks of the schedule (``interleave``), a pair of neighbours at a time, show what slow minutes do, of which
no single block knows. The wider of the two intervals counts. The spread of few blocks is itself uncertain, which
Student's t makes up for.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .interleave import LEAST_PAIRS, SHORTEST
from .packed import Figures, Packing
from .series import Second
from .statistics import needed

Block = Sequence[Second]
Pair = tuple[Figures, Figures]

# Resamples: the ends of a 95 % interval rest on the 25 outermost on either side. More change the third digit.
RESAMPLES = 1_000
# Consecutive seconds that are drawn together. Queues of a server that keeps its objective forget within a second or
# two; what lasts longer than this is met by drawing whole blocks.
RUN = 5
# Histograms tell latencies apart by 0.8 % at best, so a smaller difference is none.
RESOLUTION = 1.01
# Bounds of a figure before logarithms: a resample may fall among failed requests, or in seconds without an answer.
LEAST, MOST = 1e-6, 1e12
# Normal quantiles: 95 % two-sided, and the 90 % of comparisons that are to find the smallest detectable effect.
Z_INTERVAL, Z_POWER = 1.959964, 1.281552


@dataclass(frozen=True)
class Ratio:
    """After divided by before, with its 95 % interval."""

    value: float
    low: float
    high: float

    def to_json(self) -> dict[str, float]:
        """Return the ratio as it stands in a document."""
        return {"value": round(self.value, 4), "low": round(self.low, 4), "high": round(self.high, 4)}

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


@dataclass(frozen=True)
class Difference:
    """The share of requests without a good answer after, less that before, with its 95 % interval."""

    value: float
    low: float
    high: float

    def to_json(self) -> dict[str, float]:
        """Return the difference as it stands in a document."""
        return {"value": round(self.value, 6), "low": round(self.low, 6), "high": round(self.high, 6)}


@dataclass(frozen=True)
class Comparison:
    """Ratios after / before, and what may be said of them.

    ``smallest_detectable`` is the least relative change of p99 that nine of ten such comparisons would find: 0.04 for
    4 %.
    """

    verdict: str
    reason: str
    p99: Ratio | None = None
    p50: Ratio | None = None
    throughput: Ratio | None = None
    smallest_detectable: float | None = None
    errors: Difference | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the part of a document's ``comparison`` that comes from the figures."""
        found = {
            "p99_ratio": self.p99,
            "p50_ratio": self.p50,
            "throughput_ratio": self.throughput,
            "errors_difference": self.errors,
        }
        return {
            **{name: each.to_json() if each else None for name, each in found.items()},
            "smallest_detectable": self.smallest_detectable,
            "verdict": self.verdict,
            "reason": self.reason,
        }


def compare(
    before: Sequence[Block],
    after: Sequence[Block],
    *,
    interleaved: bool,
    seed: int = 1,
    names: tuple[str, str] | None = None,
) -> Comparison:
    """Return the comparison of two sides, each a list of blocks without their warm-up.

    ``names`` are those of the sides in sentences, where they are not one setting before and after a change.

    Interleaved blocks are paired: the n-th of one side ran next to the n-th of the other. Others are cut into pieces of
    the shortest block's length, which are drawn from each side on its own.
    """
    if not interleaved:
        before, after = _cut(before), _cut(after)
    refusal = _refusal(before, after, interleaved)
    if refusal:
        return Comparison("not comparable", refusal)
    packing = Packing(second for side in (before, after) for block in side for second in block)
    sides = [_Side(packing, side) for side in (before, after)]
    measured = (sides[0].whole(), sides[1].whole())
    if math.inf in (measured[0].p99, measured[1].p99):
        return _without_p99(measured, names or ("before", "after"))
    draw = random.Random(seed)
    freedom = len(before) - 1 if interleaved else len(before) + len(after) - 2
    draws = (
        _Draws([_runs_drawn(sides, draw) for _ in range(RESAMPLES)], 1.0),
        _Draws([_blocks_drawn(sides, interleaved, draw) for _ in range(RESAMPLES)], _widening(len(before), freedom)),
    )
    return _judged(measured, draws, f"times that of {names[0]}" if names else "of what it was")


class _Side:
    """The packed seconds of one side, block by block, with the sum of each run of seconds in a block."""

    def __init__(self, packing: Packing, blocks: Sequence[Block]) -> None:
        self._packing = packing
        packed = [[packing.packed(second) for second in block] for block in blocks]
        self._sums, self._lengths = [sum(block) for block in packed], [len(block) for block in packed]
        self._runs = [_runs(block, min(RUN, len(block))) for block in packed]

    @property
    def size(self) -> int:
        return len(self._sums)

    def whole(self) -> Figures:
        return self.of_blocks(range(self.size))

    def of_runs(self, draw: Callable[[], float]) -> Figures:
        """Return the figures of runs drawn within each block, until its length is reached."""
        total, seconds = 0, 0
        for runs in self._runs:
            length = min(RUN, len(runs))
            for _ in range(-(-len(runs) // length)):
                total += runs[int(draw() * len(runs))]
                seconds += length
        return self._packing.figures(total, seconds)

    def of_blocks(self, numbers: Sequence[int]) -> Figures:
        """Return the figures of some blocks."""
        return self._packing.figures(
            sum(self._sums[number] for number in numbers), sum(self._lengths[number] for number in numbers)
        )


def _runs(block: Sequence[int], length: int) -> list[int]:
    """Return the sum of each run of seconds of a block, whose end goes on with its begin."""
    found, current = [], sum(block[:length])
    for place, second in enumerate(block):
        found.append(current)
        current += block[(place + length) % len(block)] - second
    return found


def _runs_drawn(sides: Sequence[_Side], draw: random.Random) -> Pair:
    return sides[0].of_runs(draw.random), sides[1].of_runs(draw.random)


def _blocks_drawn(sides: Sequence[_Side], paired: bool, draw: random.Random) -> Pair:
    first, second = ([int(draw.random() * side.size) for _ in range(side.size)] for side in sides)
    return sides[0].of_blocks(first), sides[1].of_blocks(first if paired else second)


def _cut(blocks: Sequence[Block]) -> list[Block]:
    """Return the blocks in pieces of the shortest length; what is left of a block goes to its last piece."""
    pieces: list[Block] = []
    for block in blocks:
        number = len(block) // SHORTEST
        ends = [len(block) if piece == number else piece * SHORTEST for piece in range(number + 1)]
        pieces += [block[begin:end] for begin, end in zip(ends, ends[1:])]
    return pieces


def _refusal(before: Sequence[Block], after: Sequence[Block], interleaved: bool) -> str:
    fewest = min(len(before), len(after))
    if fewest < LEAST_PAIRS:
        return (
            f"a comparison takes at least {LEAST_PAIRS} blocks of {SHORTEST} s a side, and there are {fewest}: measure"
            f" for {LEAST_PAIRS * SHORTEST} s or longer"
        )
    if interleaved and len(before) != len(after):
        return f"interleaved blocks come in pairs, and there are {len(before)} before and {len(after)} after"
    requests = min(sum(second.offered for block in side for second in block) for side in (before, after))
    if requests < needed(0.99):
        return f"a comparison of p99 takes at least {needed(0.99)} requests a side, and there are {requests}"
    return ""


@dataclass(frozen=True)
class _Draws:
    """Resamples, and the factor by which their spread falls short."""

    found: list[Pair]
    widening: float


def _widening(blocks: int, freedom: int) -> float:
    """Return by how much the spread of few resampled blocks is to be widened.

    A sample of n varies by (n - 1) / n of what its source does, and Student's t stands for the uncertainty of that.
    """
    return student(freedom) / Z_INTERVAL * math.sqrt(blocks / (blocks - 1))


def _judged(measured: Pair, draws: Sequence[_Draws], of_what: str) -> Comparison:
    p99 = _ratio(lambda each: each.p99, measured, draws)
    smallest = _smallest_detectable(p99)
    verdict, why = "no difference", f"the interval reaches what counts as equal; {smallest:.1%} would have been found"
    if p99.low > RESOLUTION:
        verdict, why = "worse", "the whole interval lies above what counts as equal"
    elif p99.high < 1 / RESOLUTION:
        verdict, why = "better", "the whole interval lies below what counts as equal"
    return Comparison(
        verdict,
        f"p99 is {p99} {of_what}: {why}",
        p99,
        _ratio(lambda each: each.p50, measured, draws),
        _ratio(lambda each: each.throughput, measured, draws),
        smallest,
        _difference(lambda each: each.errors, measured, draws),
    )


def _ratio(figure: Callable[[Figures], float], measured: Pair, draws: Sequence[_Draws]) -> Ratio:
    return Ratio(*map(math.exp, _interval(lambda pair: _logarithm(figure, pair), measured, draws)))


def _difference(figure: Callable[[Figures], float], measured: Pair, draws: Sequence[_Draws]) -> Difference:
    return Difference(*_interval(lambda pair: figure(pair[1]) - figure(pair[0]), measured, draws))


def _interval(effect: Callable[[Pair], float], measured: Pair, draws: Sequence[_Draws]) -> tuple[float, float, float]:
    """Return an effect with the ends of the wider of its intervals."""
    value = effect(measured)
    ends = [_ends(effect, value, each) for each in draws]
    return value, min(low for low, _ in ends), max(high for _, high in ends)


def _ends(effect: Callable[[Pair], float], value: float, draws: _Draws) -> tuple[float, float]:
    """Return the interval of an effect, which its value lies in."""
    found = sorted(effect(pair) for pair in draws.found)
    aside = round(len(found) * 0.025)
    low, high = (value + (end - value) * draws.widening for end in (found[aside], found[-1 - aside]))
    return min(low, value), max(high, value)


def _logarithm(figure: Callable[[Figures], float], pair: Pair) -> float:
    before, after = (min(max(figure(each), LEAST), MOST) for each in pair)
    return math.log(after / before)


def _smallest_detectable(ratio: Ratio) -> float:
    """Return the change whose interval would stay clear of what counts as equal in nine of ten comparisons."""
    half = (math.log(ratio.high) - math.log(ratio.low)) / 2
    return math.exp(math.log(RESOLUTION) + half * (1 + Z_POWER / Z_INTERVAL)) - 1


def student(freedom: int) -> float:
    """Return the 97.5 % quantile of Student's t, right to 1 % from 3 degrees of freedom on.

    The expansion of Cornish and Fisher, e.g. Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.5.
    """
    z = Z_INTERVAL
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return sum((term / freedom**power for power, term in enumerate(terms)), 0.0)


def _without_p99(measured: Pair, names: tuple[str, str]) -> Comparison:
    failing = [place for place, each in enumerate(measured) if each.p99 == math.inf]
    if len(failing) == 2:
        return Comparison(
            "not comparable", "on both sides more than 1 % of the requests failed, so that p99 has no value"
        )
    verdict = "worse" if failing == [1] else "better"
    why = f"{names[failing[0]]}: more than 1 % of the requests failed, so that p99 has no value there"
    return Comparison(verdict, why)
