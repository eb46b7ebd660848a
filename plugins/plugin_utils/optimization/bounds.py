# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a number of requests proves of a share: Wilson's bounds, on as many requests as speak for themselves.

A loss of 0 to 1 a row, or a request, is averaged. Of all such losses with one mean those that are 0 or 1 scatter most,
so the bound of a share holds for every one of them. Rows of one request, and requests that are equal, are no news of
each other: however alike they are, the mean scatters no more than with so many independent ones as ``effective`` says.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

# One-sided, 99 %: one candidate in a hundred that loses more than is allowed passes a check by luck, at the most.
CONFIDENCE = 0.99
Z = 2.326348
# What a recorded file must have at least. With 500 and no loss at all, up to 1.07 % are still possible.
LEAST_REQUESTS = 500


def upper(share: float, requests: float, z: float = Z) -> float:
    """Return the most that a share may be in truth, of which ``share`` was seen in a number of requests."""
    return _wilson(share, requests, z) if requests > 0 else 1.0


def lower(share: float, requests: float, z: float = Z) -> float:
    """Return the least that a share may be in truth."""
    return 1.0 - _wilson(1.0 - share, requests, z) if requests > 0 else 0.0


def _wilson(share: float, requests: float, z: float) -> float:
    square = z * z / requests
    spread = z * math.sqrt(share * (1.0 - share) / requests + square / (4.0 * requests))
    return min(1.0, (share + square / 2.0 + spread) / (1.0 + square))


def effective(weights: Iterable[float]) -> float:
    """Return how many independent requests are worth those of these weights (Kish's effective size)."""
    held = list(weights)
    squares = math.fsum(weight * weight for weight in held)
    return math.fsum(held) ** 2 / squares if squares else 0.0


def needed(share: float, allowed: float, most: int = 1_000_000) -> int | None:
    """Return the requests that would prove a share to be below what is allowed; None where no number would."""
    if share >= allowed:
        return None
    low, high = 1, most
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if upper(share, middle) <= allowed else (middle + 1, high)
    return low if upper(share, low) <= allowed else None


def mean_upper(sums: Sequence[float], weights: Sequence[float]) -> float:
    """Return the upper bound of a mean of values of any range: of each group of equal requests its sum and its weight.

    By the normal distribution, with the scatter between groups: for means of squares and differences, of which hundreds
    are averaged.
    """
    total = math.fsum(weights)
    if not total:
        return math.inf
    mean, groups = math.fsum(sums) / total, len(weights)
    if groups < 2:
        return math.inf
    apart = math.fsum((held - mean * weight) ** 2 for held, weight in zip(sums, weights))
    return mean + Z * math.sqrt(apart * groups / (groups - 1)) / total
