# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The check of values: what is no fraction must be equal, and fractions within what a treatment is allowed."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence

from ansible_collections.tfserving.fleet.plugins.module_utils.load.messages import Tensor
from ansible_collections.tfserving.fleet.plugins.module_utils.saved_model.signatures import shown

from ..phrases import counted
from . import bounds, columns, verdicts
from .columns import Column, Couple
from .strictness import Strictness
from .verdicts import Row

# The rounding of a type, of a value: two to the power of minus its bits (half, bfloat16, float).
_ROUNDING = {"DT_HALF": 2.0**-11, "DT_BFLOAT16": 2.0**-8, "DT_FLOAT": 2.0**-24}
# So many last digits may differ whatever is asked: outputs are rounded once more than the values in between.
LAST_DIGITS = 4.0


def equal(name: str, couples: Sequence[Couple]) -> Row:
    """Return the row of an output that is no fraction: every value must be the same."""
    differing = sum(1 for each in couples for one, other in zip(each.before.values, each.after.values) if one != other)
    total = sum(len(each.before.values) for each in couples)
    words = f"{shown(name)}: {differing} of {counted(total, 'value')} differ, and none may"
    return verdicts.judged(f"equality of {shown(name)}", not differing, words, float(differing), 0.0)


def alike(name: str, couples: Sequence[Couple], allowed: float) -> Row:
    """Return the row of an output that names a class, by a number or a text: rows that differ are losses."""
    lost: dict[str, float] = defaultdict(float)
    rows: dict[str, float] = defaultdict(float)
    for each in couples:
        for row in columns.in_rows(each):
            rows[each.group] += 1.0
            lost[each.group] += row.before.values != row.after.values
    share = sum(lost.values()) / (sum(rows.values()) or 1.0)
    what = f"{shown(name)} differs"
    return verdicts.share(f"equality of {shown(name)}", what, share, bounds.effective(rows.values()), allowed)


def finite(name: str, couples: Sequence[Couple]) -> Row:
    """Return the row of NaN and infinities: there may be none but where the original has the same."""
    new = sum(
        1 for each in couples for one, other in zip(each.before.values, each.after.values) if not _alike(one, other)
    )
    words = f"{shown(name)}: {new} values are NaN or infinite in one of both answers alone"
    return verdicts.judged(f"finite values of {shown(name)}", not new, words, float(new), 0.0)


def _alike(one: float, other: float) -> bool:
    if math.isfinite(one) and math.isfinite(other):
        return True
    return one == other or (math.isnan(one) and math.isnan(other))


def within(
    name: str, couples: Sequence[Couple], strict: Strictness, wanted: Mapping[str, float], allowed: float
) -> Iterator[Row]:
    """Yield the rows of a float output's tolerance.

    :param wanted: ``atol`` and ``rtol`` where a person has given them: then they hold for every value.
    :param allowed: the share of rows that may be lost to outliers.
    """
    found = columns.columns(couples)
    scale = columns.scales(couples, found)
    if wanted or strict.each is not None:
        yield _each(name, couples, scale, strict, wanted)
        return
    yield _average(f"root mean square error of {shown(name)}", found, scale, strict.root_mean_square, _square)
    yield _average(f"bias of {shown(name)}", found, scale, strict.bias, _bias)
    yield _slope(name, couples, found, strict.slope)
    yield _outliers(name, couples, scale, strict, allowed)


def limits(
    couples: Sequence[Couple], scale: Sequence[float], strict: Strictness, wanted: Mapping[str, float]
) -> tuple[list[float], float]:
    """Return by column how far each value may be away, and in proportion to itself."""
    rounding = LAST_DIGITS * _ROUNDING.get(couples[0].before.dtype if couples else "", 0.0)
    if wanted:
        return [wanted.get("atol", 0.0)] * len(scale), wanted.get("rtol", rounding)
    still = columns.STILL * max(scale, default=0.0)
    share = strict.each if strict.each is not None else strict.outlier
    return [share * max(each, still) for each in scale], max(strict.relative, rounding)


def _each(
    name: str, couples: Sequence[Couple], scale: Sequence[float], strict: Strictness, wanted: Mapping[str, float]
) -> Row:
    allowed, relative = limits(couples, scale, strict, wanted)
    worst = max((_times(each, allowed, relative) for each in couples), default=0.0)
    words = f"{shown(name)}: the value that departs most is {worst:.3g} times as far away as it may be"
    return verdicts.judged(f"tolerance of {shown(name)}", worst <= 1.0, words, worst, 1.0)


def _times(couple: Couple, allowed: Sequence[float], relative: float) -> float:
    """Return how often the largest error of an answer has what is allowed for it."""
    wide, worst = len(allowed), 0.0
    for place, (one, other) in enumerate(zip(couple.before.values, couple.after.values)):
        if one != other and math.isfinite(one) and math.isfinite(other):
            limit = allowed[place % wide] + relative * abs(one)
            worst = max(worst, abs(other - one) / limit if limit else math.inf)
    return worst


def departs(one: Tensor, other: Tensor, allowed: Sequence[float], relative: float) -> float:
    """Return how often the largest distance of two tensors has what is allowed for it; see ``limits``."""
    return _times(Couple("", one, other), allowed, relative)


def _average(
    check: str, found: Sequence[Column], scale: Sequence[float], bound: float, figure: Callable[[Column], float]
) -> Row:
    """Return the row of the worst column's average, by its upper bound."""
    worst, at = 0.0, 0
    for place, (column, spread) in enumerate(zip(found, scale)):
        held = figure(column) if any(column.errors) else 0.0
        times = held / spread if spread else (math.inf if held else 0.0)
        if times > worst:
            worst, at = times, place
    where = f", at column {at}" if len(found) > 1 else ""
    words = f"{check}: {worst:.3g} of the spread of its values at most{where}; {bound:g} allowed"
    return verdicts.judged(check, worst <= bound, words, worst, bound)


def _slope(name: str, couples: Sequence[Couple], found: Sequence[Column], bound: float) -> Row:
    check, worst = f"scale of {shown(name)}", 0.0
    for sums, weights in columns.scaled(couples, found):
        if any(sums):
            worst = max(worst, *(bounds.mean_upper([sign * held for held in sums], weights) for sign in (1.0, -1.0)))
    words = f"{check}: answers are {worst:.3g} of themselves larger or smaller at most; {bound:g} allowed"
    return verdicts.judged(check, worst <= bound, words, worst, bound)


def _square(column: Column) -> float:
    return math.sqrt(max(0.0, bounds.mean_upper(*column.sums([error * error for error in column.errors]))))


def _bias(column: Column) -> float:
    return max(bounds.mean_upper(*column.sums([sign * error for error in column.errors])) for sign in (1.0, -1.0))


def _outliers(name: str, couples: Sequence[Couple], scale: Sequence[float], strict: Strictness, allowed: float) -> Row:
    limit, relative = limits(couples, scale, strict, {})
    lost: dict[str, float] = defaultdict(float)
    rows: dict[str, float] = defaultdict(float)
    for each in couples:
        for row in columns.in_rows(each):
            rows[each.group] += 1.0
            lost[each.group] += _times(row, limit, relative) > 1.0
    share = sum(lost.values()) / (sum(rows.values()) or 1.0)
    what = f"{shown(name)} is more than {strict.outlier:g} of its spread away"
    return verdicts.share(f"outliers of {shown(name)}", what, share, bounds.effective(rows.values()), allowed)
