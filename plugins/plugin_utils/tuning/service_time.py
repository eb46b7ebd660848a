# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The time of one call of a model over its batch size: S(b) = a + c * b, fitted to measured points."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError

# Below this gain in capacity, a full batch is not worth the wait of those in it: the noise of a measured throughput is
# a few per cent, and every request of a batch waits for the whole of it.
WORTHWHILE = 1.15
# From here on the fixed cost of a call is what a model's throughput is about: half of a batch of this size is overhead.
HIGH_FIXED_COST = 8
# A point this many times farther from the curve than its peers counts less and less (Huber, 95 % efficient).
HUBER = 1.345
ROUNDS = 30
# Larger batches than this take requests, and time, that no measurement of a curve is worth.
LARGEST_MEASURED = 1024
# Two-sided 95 % quantiles of Student's t for 1, 2, ... degrees of freedom.
T95 = (12.71, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
T95_MANY = 1.96


@dataclass(frozen=True)
class Point:
    """A measured time: the median of the calls of one batch size."""

    items: int
    us: float


@dataclass(frozen=True)
class Curve:
    """The fitted curve; times in microseconds, intervals at 95 % or None where too few points tell."""

    points: tuple[Point, ...]
    a: float
    c: float
    a_interval: tuple[float, float] | None
    c_interval: tuple[float, float] | None
    r2: float

    def us(self, items: float) -> float:
        """Return the time of a call with ``items`` items."""
        return self.a + self.c * items

    def gain(self, items: int) -> float:
        """Return how many times more items calls of ``items`` items carry than calls of one item."""
        return items * self.us(1) / self.us(items)

    def pays(self, items: int) -> bool:
        """Return whether batches of up to ``items`` items are worth the wait."""
        return self.gain(items) >= WORTHWHILE

    @property
    def is_sure(self) -> bool:
        """Whether the points lie on a line well enough to predict with it."""
        return self.r2 >= 0.9 and len({point.items for point in self.points}) > 2

    def sentence(self, largest: int) -> str:
        """Return what the curve says of batches of up to ``largest`` items."""
        what = f"a call takes {shown(self.a)} and {shown(self.c)} for each item"
        carries = f"batches of {largest} carry {self.gain(largest):.3g} times the items of single calls"
        if not self.pays(largest):
            verdict = f"{carries}, so batches do not pay"
        elif self.c <= 0 or self.a >= HIGH_FIXED_COST * self.c:
            verdict = f"the fixed cost rules, and {carries}"
        else:
            verdict = carries
        doubt = "" if self.is_sure else f" (from {len(self.points)} points, r2 {self.r2:.2f}: uncertain)"
        return f"{what}: {verdict}{doubt}"

    def to_json(self, largest: int) -> dict[str, Any]:
        """Return the curve as the tune document has it."""
        return {
            "points": [{"items": point.items, "us": round(point.us, 1)} for point in self.points],
            "a_us": round(self.a, 2),
            "c_us": round(self.c, 3),
            "a_interval": self.a_interval and [round(end, 2) for end in self.a_interval],
            "c_interval": self.c_interval and [round(end, 3) for end in self.c_interval],
            "r2": round(self.r2, 4),
            "sentence": self.sentence(largest),
        }


def shown(us: float) -> str:
    """Return a time as people read it."""
    if us >= 999_500:
        return f"{us / 1e6:.3g} s"
    return f"{us / 1000:.3g} ms" if us >= 1000 else f"{us:.3g} us"


def per_second(rate: float) -> str:
    """Return a rate as people read it."""
    return f"{rate:,.0f} requests a second" if rate >= 100 else f"{rate:.3g} requests a second"


def next_size(points: Sequence[Point], slo_us: float) -> int | None:
    """Return the batch size to measure next, or None when the curve is known as far as it matters.

    Doubling from 1, until a batch takes half of the objective: two of them must fit. A line takes two sizes at least.
    """
    if len(points) < 2:
        return len(points) + 1
    last = max(points, key=lambda point: point.items)
    return None if last.items >= LARGEST_MEASURED or last.us > slo_us / 2 else last.items * 2


def fit(points: Sequence[Point]) -> Curve:
    """Return the curve through measured points.

    The noise of a time is in proportion to it, so the relative distances count, and those of outliers less (iterated
    weights). Neither cost is negative: noise that says so is read as zero. Raise WishError for fewer than two sizes.
    """
    good = tuple(sorted((p for p in points if p.items > 0 and 0 < p.us < math.inf), key=lambda p: (p.items, p.us)))
    if len({point.items for point in good}) < 2:
        raise WishError("service time", "was measured with fewer than two batch sizes", "measure at least two")
    weights = [1.0] * len(good)
    a = c = 0.0
    for _ in range(ROUNDS):
        a, c = _line(good, weights)
        distances = [(point.us - a - c * point.items) / point.us for point in good]
        scale = _median([abs(each) for each in distances]) / 0.6745
        weights = [min(1.0, HUBER * scale / abs(each)) if abs(each) > 1e-12 and scale else 1.0 for each in distances]
    intervals = _intervals(good, weights, a, c)
    return Curve(good, a, c, intervals[0], intervals[1], _r2(good, a, c))


def _sums(points: Sequence[Point], weights: Sequence[float]) -> tuple[float, float, float, float, float]:
    """Return the weighted sums of 1, x, x^2, y and x*y."""
    ways = [weight / point.us**2 for weight, point in zip(weights, points)]
    return (
        sum(ways),
        sum(w * p.items for w, p in zip(ways, points)),
        sum(w * p.items**2 for w, p in zip(ways, points)),
        sum(w * p.us for w, p in zip(ways, points)),
        sum(w * p.us * p.items for w, p in zip(ways, points)),
    )


def _line(points: Sequence[Point], weights: Sequence[float]) -> tuple[float, float]:
    """Return intercept and slope, neither of them below 0."""
    one, x, xx, y, xy = _sums(points, weights)
    slope = (one * xy - x * y) / (one * xx - x * x)
    intercept = (y - slope * x) / one
    if slope < 0:
        return y / one, 0.0
    return (intercept, slope) if intercept >= 0 else (0.0, xy / xx)


def _intervals(
    points: Sequence[Point], weights: Sequence[float], a: float, c: float
) -> tuple[tuple[float, float] | None, tuple[float, float] | None]:
    """Return the 95 % intervals of intercept and slope, None with no point to spare."""
    spare = len(points) - 2
    if spare < 1:
        return None, None
    one, x, xx, _, _ = _sums(points, weights)
    noise = sum(w * ((p.us - a - c * p.items) / p.us) ** 2 for w, p in zip(weights, points)) / spare
    t = T95[spare - 1] if spare <= len(T95) else T95_MANY
    whole = one * xx - x * x
    wide_a, wide_c = t * math.sqrt(noise * xx / whole), t * math.sqrt(noise * one / whole)
    return (max(0.0, a - wide_a), a + wide_a), (max(0.0, c - wide_c), c + wide_c)


def _r2(points: Sequence[Point], a: float, c: float) -> float:
    """Return how much of the spread of the times the curve explains; 1 where there is none to explain."""
    mean = sum(point.us for point in points) / len(points)
    spread = sum((point.us - mean) ** 2 for point in points)
    left = sum((point.us - a - c * point.items) ** 2 for point in points)
    # A flat curve has a spread of noise alone, of which no line explains anything: judge the noise itself.
    if c * (points[-1].items - points[0].items) < 0.1 * a:
        return max(0.0, 1 - left / (len(points) * (0.1 * mean) ** 2))
    return max(0.0, 1 - left / spread) if spread else 1.0


def _median(values: Sequence[float]) -> float:
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
