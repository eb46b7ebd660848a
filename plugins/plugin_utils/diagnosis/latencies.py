# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Histograms of the server's page of metrics between two samples: means and brackets of percentiles.

The server prints a sum with six digits. Of a process that has served for long the last digit is more than what happens
in ten seconds, and a mean of sums is noise; then the buckets tell, each by the middle between its limits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Labels = Mapping[str, str]
Page = Mapping[str, Sequence[Sequence[Any]]]

# Sums that end in this part of what they grew by are exact enough: half of the noise that a mean of buckets has.
COARSEST = 0.02
DIGITS = 6


@dataclass(frozen=True)
class Grown:
    """What a histogram gained between two samples; ``buckets`` are pairs of an upper limit and a count in it."""

    count: int
    sum: float
    step: float
    buckets: tuple[tuple[float, int], ...]

    @property
    def mean(self) -> float | None:
        """Return the mean; None without a value."""
        if self.count <= 0:
            return None
        if self.sum > 0 and self.step <= COARSEST * self.sum:
            return self.sum / self.count
        return self._mean_of_buckets()

    def _mean_of_buckets(self) -> float | None:
        total, lower = 0.0, 0.0
        for upper, count in self.buckets:
            total += count * (lower if math.isinf(upper) else (lower + upper) / 2)
            lower = upper
        counted = sum(count for _upper, count in self.buckets)
        return total / counted if counted > 0 else None

    def bracket(self, quantile: float) -> tuple[float, float] | None:
        """Return the limits of the bucket that a quantile lies in; infinity above the last."""
        wanted, seen, lower = quantile * self.count, 0, 0.0
        for upper, count in self.buckets:
            seen += count
            if count and seen >= wanted:
                return lower, upper
            lower = upper
        return None


def grown(
    before: Page, after: Page, name: str, wanted: Callable[[Labels], bool] = lambda _labels: True
) -> Grown | None:
    """Return what the wanted series of a histogram gained; None without them, or where a counter went back."""
    last = _values(after, f"{name}_count", wanted)
    if not last:
        return None
    counts = _differences(_values(before, f"{name}_count", wanted), last)
    sums = _values(after, f"{name}_sum", wanted)
    difference = sum(_differences(_values(before, f"{name}_sum", wanted), sums).values())
    buckets = _buckets(before, after, f"{name}_bucket", wanted)
    if any(count < 0 for count in counts.values()) or any(count < 0 for _upper, count in buckets):
        return None
    return Grown(round(sum(counts.values())), difference, sum(map(_step, sums.values())), buckets)


def counted(
    before: Page, after: Page, name: str, wanted: Callable[[Labels], bool] = lambda _labels: True
) -> float | None:
    """Return the growth of a counter's wanted series; None without the counter, or where it went back."""
    last = _values(after, name, wanted)
    if name not in after:
        return None
    differences = _differences(_values(before, name, wanted), last)
    return None if any(each < 0 for each in differences.values()) else sum(differences.values())


def _values(page: Page, name: str, wanted: Callable[[Labels], bool]) -> dict[tuple[tuple[str, str], ...], float]:
    return {tuple(sorted(labels.items())): float(value) for labels, value in page.get(name, ()) if wanted(labels)}


def _differences(before: Mapping[Any, float], after: Mapping[Any, float]) -> dict[Any, float]:
    return {key: value - before.get(key, 0.0) for key, value in after.items()}


def _buckets(before: Page, after: Page, name: str, wanted: Callable[[Labels], bool]) -> tuple[tuple[float, int], ...]:
    totals: dict[float, float] = {}
    differences = _differences(_values(before, name, wanted), _values(after, name, wanted))
    for key, value in differences.items():
        limit = _limit(dict(key).get("le", ""))
        if limit is not None:
            totals[limit] = totals.get(limit, 0.0) + value
    found, below = [], 0.0
    for limit in sorted(totals):
        found.append((limit, round(totals[limit] - below)))
        below = totals[limit]
    return tuple(found)


def _limit(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _step(total: float) -> float:
    """Return the value of the last digit that the server prints."""
    return 10.0 ** (math.floor(math.log10(total)) - DIGITS + 1) if total >= 1 else 0.0
