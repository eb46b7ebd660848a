# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Scales of charts: from values to places, and the ticks that people expect on them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

# From this ratio on, a linear scale would press the lower half of the points onto its axis.
LOG_FROM = 8
# A logarithmic scale starts at a tenth of a microsecond's share of a request at the lowest.
LEAST = 1e-6
# The steps between ticks that are read without thinking.
STEPS = (1, 2, 2.5, 5, 10)

Kind = Literal["linear", "log"]


@dataclass(frozen=True)
class Scale:
    """Values ``low`` .. ``high``, drawn from ``start`` to ``end`` in pixels."""

    low: float
    high: float
    start: float
    end: float
    kind: Kind = "linear"

    def at(self, value: float) -> float:
        """Return the place of a value in pixels; values beyond the scale stand at its ends."""
        bounded = min(max(value, self.low), self.high)
        low, high, here = (self._even(each) for each in (self.low, self.high, bounded))
        share = (here - low) / (high - low) if high > low else 0.5
        return round(self.start + share * (self.end - self.start), 1)

    def ticks(self, most: int) -> list[float]:
        """Return at most about ``most`` values to mark."""
        return _decades(self.low, self.high, most) if self.kind == "log" else _even_ticks(self.low, self.high, most)

    def _even(self, value: float) -> float:
        return math.log10(max(value, LEAST)) if self.kind == "log" else value


def fitting(values: list[float], start: float, end: float, zero: bool = False) -> Scale:
    """Return a scale on which all ``values`` have room: logarithmic where they span much and none is zero."""
    low, high = min(values), max(values)
    if low > 0 and high / low > LOG_FROM and not zero:
        return Scale(low / 1.25, high * 1.25, start, end, "log")
    room = (high - (0 if zero else low)) * 0.08 or abs(high) * 0.08 or 1
    return Scale(0 if zero or low - room < 0 else low - room, high + room, start, end)


def _even_ticks(low: float, high: float, most: int) -> list[float]:
    rough = (high - low) / max(most, 1)
    if rough <= 0:
        return [low]
    size = 10 ** math.floor(math.log10(rough))
    step = next(each * size for each in STEPS if each * size >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(number * step, 10) for number in range(first, math.floor(high / step + 1e-9) + 1)]


def _decades(low: float, high: float, most: int) -> list[float]:
    candidates = (list(_multiples(low, high, each)) for each in ((1, 2, 5), (1, 3), (1,)))
    found: list[float] = []
    for found in candidates:
        if len(found) <= most:
            break
    while len(found) > most:
        found = found[::2]
    return found


def _multiples(low: float, high: float, factors: tuple[int, ...]) -> Iterator[float]:
    for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1):
        for factor in factors:
            value = factor * 10.0**power
            if low <= value <= high:
                yield round(value, 10)
