# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Numbers out of foreign data: what is missing or of the wrong kind is None, and None stays None."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

# Makes the median absolute deviation of normal data its standard deviation.
# https://en.wikipedia.org/wiki/Median_absolute_deviation
_NORMAL = 1.4826


def number(value: Any) -> float | None:
    """Return a finite number, or None for anything else, truth values included."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if math.isfinite(value) else None


def at(tree: Any, *path: str) -> Any:
    """Return what is at a path of nested mappings, or None where a step is missing."""
    for step in path:
        if not isinstance(tree, Mapping) or step not in tree:
            return None
        tree = tree[step]
    return tree


def text(value: Any) -> str:
    """Return a text, empty for anything else."""
    return value if isinstance(value, str) else ""


def mapping(value: Any) -> Mapping[str, Any]:
    """Return a mapping, empty for anything else."""
    return value if isinstance(value, Mapping) else {}


def listed(value: Any) -> Sequence[Any]:
    """Return a list, empty for anything else."""
    return value if isinstance(value, (list, tuple)) else ()


def growth(first: Any, last: Any) -> float | None:
    """Return by how much a counter grew; one that fell has begun anew, so what it shows is its growth."""
    before, after = number(first), number(last)
    if before is None or after is None:
        return None
    return after - before if after >= before else after


def ratio(part: float | None, whole: float | None) -> float | None:
    """Return a quotient, or None where a figure is missing or nothing was counted."""
    return None if part is None or not whole else part / whole


def total(values: Iterable[float | None]) -> float | None:
    """Return the sum of the known values, or None where none is known."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def robust_z(value: float | None, others: Iterable[float | None], floor: float) -> float | None:
    """Return by how many deviations a value lies above the median of others; None for fewer than three of them.

    ``floor`` is the smallest deviation that is assumed, so that peers who agree to the digit make no outlier.
    """
    known = [each for each in others if each is not None]
    if value is None or len(known) < 3:
        return None
    middle = median(known)
    spread = median(abs(each - middle) for each in known) * _NORMAL
    return (value - middle) / max(spread, floor)
