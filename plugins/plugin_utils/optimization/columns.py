# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The values of one float output, by column: what stands at the same place of every row, in both answers."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import prod

from ansible_collections.tfserving.fleet.plugins.module_utils.load.messages import Tensor

# Wider outputs, such as pictures, are taken as one column: single places of them mean nothing.
MOST_COLUMNS = 4096
# What float32 rounds away, of the largest spread of an output: the scale of a column that never varies.
STILL = 1e-3
# Of the spread of a distribution over classes, what still counts for a class that is practically never likely.
UNLIKELY = 0.01
# How exactly the shares of a distribution add up to one, in half precision.
WHOLE = 0.01


@dataclass(frozen=True)
class Couple:
    """One output in the answers of both to one request; ``group`` is the same for equal requests."""

    group: str
    before: Tensor
    after: Tensor


@dataclass
class Column:
    """Finite values at one place of each row: of the original, the candidate's errors, and the group of each."""

    before: list[float] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)

    @property
    def spread(self) -> float:
        """The standard deviation of the original's values."""
        if not self.before:
            return 0.0
        mean = math.fsum(self.before) / len(self.before)
        return math.sqrt(math.fsum((value - mean) ** 2 for value in self.before) / len(self.before))

    def sums(self, powers: Sequence[float]) -> tuple[list[float], list[float]]:
        """Return by group the sum of one figure a value, and the number of values."""
        total: dict[str, float] = defaultdict(float)
        count: dict[str, float] = defaultdict(float)
        for group, power in zip(self.groups, powers):
            total[group] += power
            count[group] += 1.0
        return list(total.values()), list(count.values())


def width(couples: Sequence[Couple]) -> int:
    """Return the number of columns of an output: the values of a row, where all rows have as many and not too many."""
    inner = {each.before.shape[1:] for each in couples}
    last = {shape[-1] if shape else 1 for shape in inner}
    found = prod(next(iter(inner))) if len(inner) == 1 else (last.pop() if len(last) == 1 else 1)
    return found if 0 < found <= MOST_COLUMNS else 1


def columns(couples: Sequence[Couple]) -> list[Column]:
    """Return the columns of an output. Values that are not finite in either answer are left out."""
    wide = width(couples)
    found = [Column() for _ in range(wide)]
    for each in couples:
        for place, (one, other) in enumerate(zip(each.before.values, each.after.values)):
            if math.isfinite(one) and math.isfinite(other):
                column = found[place % wide]
                column.before.append(one)
                column.errors.append(other - one)
                column.groups.append(each.group)
    return found


def scales(couples: Sequence[Couple], found: Sequence[Column]) -> list[float]:
    """Return by column what its errors are measured by: its spread, with a floor where that is next to nothing.

    In a distribution over classes the columns share one scale, so that a class which is never likely need not be exact
    to a part of its own millionths. Columns of other outputs may be anything, and each counts for itself.
    """
    spreads = [column.spread for column in found]
    overall = math.sqrt(math.fsum(spread * spread for spread in spreads) / len(spreads)) if spreads else 0.0
    floor = (UNLIKELY if is_distribution(couples) else 0.0) * overall
    return [max(spread, floor) for spread in spreads]


def is_distribution(couples: Sequence[Couple]) -> bool:
    """Return whether every row of the original is a distribution over classes."""
    for each in couples:
        classes = each.before.shape[-1] if len(each.before.shape) > 1 else 1
        if classes < 2:
            return False
        values = each.before.values
        for begin in range(0, len(values), classes):
            row = values[begin : begin + classes]
            if not (min(row) >= 0 and abs(math.fsum(row) - 1) <= WHOLE):
                return False
    return bool(couples)


def in_rows(couple: Couple) -> Iterator[Couple]:
    """Yield both answers row by row; an output without a first dimension is one row."""
    shape = couple.before.shape
    step = prod(shape[1:]) if shape else 1
    for begin in range(0, len(couple.before.values), step or 1):
        yield Couple(couple.group, *(_part(each, begin, begin + step) for each in (couple.before, couple.after)))


def _part(whole: Tensor, begin: int, end: int) -> Tensor:
    return Tensor(whole.dtype, (1, *whole.shape[1:]), whole.values[begin:end])
