# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Where the warm-up of a stage ends, whether what follows is steady, and whether requests pile up.

All three look at batches of consecutive seconds instead of seconds, since seconds resemble their neighbours, and a test
that takes them as independent finds trends in any queue. Ranks and medians decide, so that one stall is no trend.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, islice
from statistics import fmean, median

from .series import Second, whole

# Seconds in a batch when the end of the warm-up is looked for. MSER-5 (White, Simulation 69:6, 1997) uses five.
BATCH = 5
# A warm-up is one that differs by this much from the rest: less does not change a percentile beyond its interval.
NOTABLE = 0.05
# ... and lies this many times as far from the middle of the rest as any batch there: else noise would be a warm-up.
# With 2.0 a host whose seconds resemble each other raised 6 false alarms in 100 simulated minutes, with 2.25 two.
BEYOND = 2.25
# Fewer batches do not tell a warm-up from noise: 40 s.
FEWEST_FOR_WARM_UP = 8
# Batches in which a trend is looked for. The longer the stage, the longer they are: what is forgotten within a twelfth
# of the stage makes no trend. With fewer than eight, ranks cannot tell one at all.
TREND_BATCHES, FEWEST_BATCHES = 12, 8
# A normal quantile (99.7 %, two-sided) that is beyond what independent batches would need: they still resemble their
# neighbours a little.
Z_TREND = 3.0
# Requests that pile up by this share of the offered rate make each second's callers wait 2 ms longer than those of the
# second before: 120 ms in a minute. Less than that is not told apart from the ups and downs of a busy queue.
PILE_UP = 0.002


@dataclass(frozen=True)
class Trend:
    """A slope a second with its interval, and the seconds that it was found in."""

    slope: float
    low: float
    high: float
    seconds: int

    @property
    def sure(self) -> bool:
        """Whether there is a slope at all."""
        return self.low > 0 or self.high < 0


def trend(values: Sequence[float]) -> Trend | None:
    """Return the trend of a series with one value a second, or None where it is too short to show one.

    The slope is that of Theil and Sen, the median of the slopes between any two batches; its interval comes from the
    distribution of Kendall's rank correlation (Sen, JASA 63, 1968).
    """
    number = min(TREND_BATCHES, len(values) // 2)
    if number < FEWEST_BATCHES:
        return None
    length = len(values) // number
    begin = len(values) - number * length
    batches = _batches(values[begin:], length)
    slopes = sorted((b - a) / ((j - i) * length) for (i, a), (j, b) in combinations(enumerate(batches), 2))
    aside = Z_TREND * math.sqrt(number * (number - 1) * (2 * number + 5) / 18)
    outer = max(math.floor((len(slopes) - aside) / 2), 0)
    return Trend(median(slopes), slopes[outer], slopes[-1 - outer], number * length)


def warm_up(stage: Sequence[Second]) -> int | None:
    """Return the second at which the warm-up of a stage ends, 0 where there is none, None where it never does.

    MSER: the cut after which the mean of what remains is known best. A cut counts only if what is cut away differs
    from the rest notably, in latency or in the share of requests answered.
    """
    ends = [_warm_up(series) for series in (_latencies(stage), _answered(stage))]
    return None if None in ends else max((end for end in ends if end is not None), default=0)


def _warm_up(series: Sequence[float]) -> int | None:
    batches = _batches(series, BATCH)
    if len(batches) < FEWEST_FOR_WARM_UP:
        return 0
    cut = min(range(len(batches) // 2 + 1), key=lambda begin: _uncertainty(batches[begin:]))
    if not cut or not _differs(batches[:cut], batches[cut:]):
        return 0
    return None if cut == len(batches) // 2 else cut * BATCH


def _uncertainty(batches: Sequence[float]) -> float:
    mean = fmean(batches)
    return sum((each - mean) ** 2 for each in batches) / len(batches) ** 2


def _differs(cut: Sequence[float], rest: Sequence[float]) -> bool:
    middle = median(rest)
    farthest = max(abs(each - middle) for each in rest)
    return abs(median(cut) - middle) > max(BEYOND * farthest, NOTABLE)


def unsteady(stage: Sequence[Second]) -> str:
    """Return how the latency of a stage goes on changing, as a sentence; empty where it is steady or too short to tell.

    The stage is given without its warm-up.
    """
    found = trend(_latencies(stage))
    if not found or not found.sure:
        return ""
    change = math.expm1(found.slope * found.seconds)
    if abs(change) < NOTABLE:
        return ""
    course = "rises" if change > 0 else "falls"
    return f"the median latency {course} by {abs(change):.0%} within {found.seconds} s: the stage is not steady"


def backlog(stage: Sequence[Second]) -> str:
    """Return how requests pile up in a stage without its warm-up, as a sentence; empty where they do not."""
    found = trend([float(second.open) for second in stage])
    rate = fmean(second.offered for second in stage) if stage else 0
    if not found or found.low <= 0 or found.slope <= PILE_UP * rate:
        return ""
    return (
        f"requests pile up: {found.slope:.2g} more are open with each second, {found.slope * found.seconds:,.0f} within"
        f" {found.seconds} s"
    )


def _batches(series: Sequence[float], length: int) -> list[float]:
    return [fmean(islice(series, begin, begin + length)) for begin in range(0, len(series) - length + 1, length)]


def _latencies(stage: Sequence[Second]) -> list[float]:
    """Return the logarithm of each second's median latency; a second without answers repeats the one before."""
    typical = whole(stage)
    if not typical.total:
        return []
    found, last = [], math.log(typical.quantile(0.5))
    for second in stage:
        last = math.log(second.histogram.quantile(0.5)) if second.histogram.total else last
        found.append(last)
    return found


def _answered(stage: Sequence[Second]) -> list[float]:
    return [second.ok / second.offered if second.offered else 1.0 for second in stage]
