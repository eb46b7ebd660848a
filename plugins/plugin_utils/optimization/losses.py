# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What callers lose by other answers, 0 to 1 each: another class, another order of a list, another top of it.

Where the original itself does not decide, two classes or two items with the same score up to rounding, no answer is
wrong. Such rows are no evidence either, and are not counted: many of them would hide the others.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from . import bounds
from .columns import Couple

# Of the range of the scores that are compared: what float32 rounds away in a model of some layers.
TIE = 1e-5
# Rows whose vectors point further apart than this have other neighbours (0.98 is an angle of 11 degrees).
ALIKE = 0.98


@dataclass
class Losses:
    """Losses and what they weigh, by group of equal requests."""

    lost: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    weight: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    def add(self, group: str, loss: float, weight: float = 1.0) -> None:
        """Add a loss of 0 to 1."""
        self.lost[group] += loss * weight
        self.weight[group] += weight

    @property
    def share(self) -> float:
        """The mean loss."""
        total = math.fsum(self.weight.values())
        return math.fsum(self.lost.values()) / total if total else 0.0

    @property
    def requests(self) -> float:
        """The number of independent requests that they are worth."""
        return bounds.effective(self.weight.values())


# --- classes -------------------------------------------------------------------------------------------------


def top_classes(couples: Iterable[Couple]) -> tuple[Losses, Mapping[int, Losses]]:
    """Return what is lost by another class on top, of all rows and of those of each class of the original."""
    whole = Losses()
    by_class: dict[int, Losses] = defaultdict(Losses)
    for group, before, after in vectors(couples):
        margin = TIE * (max(before) - min(before))
        best = max(before)
        close = [place for place, value in enumerate(before) if best - value <= margin]
        if len(close) > 1 or not all(map(math.isfinite, after)):
            continue
        loss = float(top_of(after) != close[0])
        whole.add(group, loss)
        by_class[close[0]].add(group, loss)
    return whole, by_class


def top_of(values: Sequence[float]) -> int | None:
    """Return the place of the highest value, None where several share it."""
    best = max(values)
    return values.index(best) if values.count(best) == 1 else None


def vectors(couples: Iterable[Couple]) -> Iterator[tuple[str, list[float], list[float]]]:
    """Yield the last dimension of both answers, vector by vector, where the original's is finite and no lone number."""
    for each in couples:
        size = each.before.shape[-1] if each.before.shape else 1
        if size < 2:
            continue
        for begin in range(0, len(each.before.values), size):
            one = slice(begin, begin + size)
            before, after = (list(held.values[one]) for held in (each.before, each.after))
            if all(map(math.isfinite, before)):
                yield each.group, before, after


def directions(couples: Iterable[Couple]) -> Losses:
    """Return what is lost by vectors that point elsewhere."""
    found = Losses()
    for group, before, after in vectors(couples):
        sizes = math.hypot(*before) * math.hypot(*after)
        if math.hypot(*before):
            cosine = math.fsum(one * other for one, other in zip(before, after)) / sizes if sizes else 0.0
            found.add(group, float(not cosine >= ALIKE))
    return found


# --- orders --------------------------------------------------------------------------------------------------


def orders(couples: Iterable[Couple]) -> Losses:
    """Return what is lost by pairs of items in the other order, of each request the share of its pairs."""
    found = Losses()
    for each in couples:
        loss = discordance(scores(each.before.values), scores(each.after.values))
        if loss is not None:
            found.add(each.group, loss)
    return found


def scores(values: Iterable[float]) -> list[float]:
    """Return the values with what is no number below all others."""
    return [value if value == value else -math.inf for value in values]


def discordance(before: Sequence[float], after: Sequence[float]) -> float | None:
    """Return the share of pairs that have changed their order; None where the original has no order.

    Pairs that the original does not tell apart do not count, and one that only the candidate does not counts half.
    """
    tiers = _tiers(before)
    passed: list[float] = []
    pairs, lost = 0, 0.0
    for tier in tiers:
        for place in tier:
            above = len(passed) - bisect_right(passed, after[place])
            same = len(passed) - above - bisect_left(passed, after[place])
            pairs += len(passed)
            lost += above + same / 2
        for place in tier:
            insort(passed, after[place])
    return lost / pairs if pairs else None


def _tiers(values: Sequence[float]) -> list[list[int]]:
    """Return the places of values from the lowest on, together where the original does not tell them apart."""
    finite = [value for value in values if math.isfinite(value)]
    margin = TIE * (max(finite) - min(finite)) if finite else 0.0
    tiers: list[list[int]] = []
    last = -math.inf
    for place in sorted(range(len(values)), key=values.__getitem__):
        if tiers and (values[place] == last or values[place] - last <= margin):
            tiers[-1].append(place)
        else:
            tiers.append([place])
        last = values[place]
    return tiers


def tops(couples: Iterable[Couple], top: int) -> Losses:
    """Return what is lost of the first ``top`` items of each request, or of its better half where it has fewer."""
    found = Losses()
    for each in couples:
        before, after = scores(each.before.values), scores(each.after.values)
        size = min(top, len(before) // 2)
        if size and len(_tiers(before)) > 1:
            found.add(each.group, 1.0 - _kept(before, after, size) / size)
    return found


def _kept(before: Sequence[float], after: Sequence[float], size: int) -> int:
    """Return how many of the candidate's first items are among the original's, which ties make more than ``size``."""
    first = {place for tier in _upto(_tiers(before)[::-1], size) for place in tier}
    # Of items with one score callers get any: the worst of them count.
    ranked = sorted(range(len(after)), key=lambda place: (-after[place], before[place]))
    return sum(place in first for place in ranked[:size])


def _upto(tiers: Iterable[list[int]], size: int) -> Iterator[list[int]]:
    count = 0
    for tier in tiers:
        if count >= size:
            return
        count += len(tier)
        yield tier
