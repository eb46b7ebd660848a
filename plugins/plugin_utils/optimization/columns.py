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
# Shares below this are as good as none, and their logarithms are noise.
FAINT = 1e-6
# What stands for a share of nothing.
NONE = 1e-30
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

    @property
    def root_mean_square(self) -> float:
        """The root mean square of the errors."""
        squares = math.fsum(error * error for error in self.errors)
        return math.sqrt(squares / len(self.errors)) if self.errors else 0.0

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


def scaled(couples: Sequence[Couple], found: Sequence[Column]) -> list[tuple[list[float], list[float]]]:
    """Return what a scale of the answers shows in: sums of error times value, and of squared values, by group.

    A scale is the mean of the errors in proportion to their values, each column around its middle. In a distribution it
    hides: sharper shares are nearly the same ones. So its logarithms are taken, which a model computes before them.
    """
    parts = [_products(column) for column in found]
    if not is_distribution(couples):
        return parts
    sums: dict[str, float] = defaultdict(float)
    weights: dict[str, float] = defaultdict(float)
    for couple in couples:
        for one, other in _below_the_top(couple):
            sums[couple.group] += (other - one) * one
            weights[couple.group] += one * one
    return [(list(sums.values()), list(weights.values()))]


def _products(column: Column) -> tuple[list[float], list[float]]:
    middle = math.fsum(column.before) / (len(column.before) or 1)
    away = [value - middle for value in column.before]
    sums, _counts = column.sums([error * value for error, value in zip(column.errors, away)])
    weights, _counts = column.sums([value * value for value in away])
    return sums, weights


def _below_the_top(couple: Couple) -> Iterator[tuple[float, float]]:
    """Yield of each share the logarithm of what it is of the likeliest one's, in both answers."""
    size = couple.before.shape[-1]
    before, after = couple.before.values, couple.after.values
    for begin in range(0, len(before), size):
        places = range(begin, begin + size)
        top = max(places, key=before.__getitem__)
        for place in places:
            if place != top and before[place] >= FAINT and all(map(math.isfinite, (after[place], after[top]))):
                yield (
                    math.log(before[place] / before[top]),
                    math.log(max(after[place], NONE) / max(after[top], NONE)),
                )


def is_distribution(couples: Sequence[Couple]) -> bool:
    """Return whether every row of the original is a distribution over classes."""
    for each in couples:
        classes = each.before.shape[-1] if len(each.before.shape) > 1 else 1
        if classes < 2:
            return False
        values = each.before.values
        for begin in range(0, len(values), classes):
            end = begin + classes
            row = values[begin:end]
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
