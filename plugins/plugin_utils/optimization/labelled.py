# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What is lost against the truth, where a person has labels: both answers are judged by it, and compared in pairs.

A candidate may be wrong where the original is right as long as that is made up for elsewhere. All is counted by groups
of equal requests, as everywhere in the gate.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from . import bounds, losses, verdicts
from .columns import Couple
from .verdicts import Row

# Two bounds are taken from each other: each at 99.5 %, so that both hold at 99 %.
Z_EACH = 2.575829
# The items of a list that people look at; the gain is cut there.
SEEN = 10

Labelled = tuple[Couple, Sequence[float]]


def accuracy(labelled: Sequence[Labelled], allowed: float) -> Row:
    """Return the row of classes: the share that is right, of the original less that of the candidate."""
    harmed, helped, right = losses.Losses(), losses.Losses(), [0.0, 0.0]
    for couple, labels in labelled:
        for (group, before, after), label in zip(losses.vectors([couple]), labels):
            one, other = (float(losses.top_of(held) == label) for held in (before, after))
            right = [right[0] + one, right[1] + other]
            harmed.add(group, max(0.0, one - other))
            helped.add(group, max(0.0, other - one))
    total = math.fsum(harmed.weight.values())
    if not total:
        return _nothing("accuracy")
    most = bounds.upper(harmed.share, harmed.requests, Z_EACH) - bounds.lower(helped.share, helped.requests, Z_EACH)
    return _lost("accuracy", (right[0] / total, right[1] / total), most, allowed)


class _Scored(NamedTuple):
    group: str
    is_true: bool
    scores: tuple[float, float]


def area(labelled: Sequence[Labelled], allowed: float) -> Row:
    """Return the row of a lone score against labels of 0 and 1: the area under its curve (AUC), by DeLong's method.

    E. DeLong, D. DeLong, D. Clarke-Pearson: Comparing the areas under two or more correlated receiver operating
    characteristic curves, Biometrics 44 (1988); rows of equal requests are taken together.
    """
    rows = [
        _Scored(couple.group, label > 0, pair)
        for couple, labels in labelled
        for pair, label in zip(zip(*(losses.scores(each.values) for each in (couple.before, couple.after))), labels)
    ]
    halves = [[row for row in rows if row.is_true is truth] for truth in (True, False)]
    if not all(halves):
        return _nothing("AUC")
    apart: dict[str, float] = defaultdict(float)
    areas = [0.0, 0.0]
    for mine, others in (halves, halves[::-1]):
        ranked = [sorted(row.scores[side] for row in others) for side in (0, 1)]
        for row in mine:
            one, other = (_placed(ranked[side], row.scores[side], row.is_true) for side in (0, 1))
            areas = [areas[0] + one / len(mine) / 2, areas[1] + other / len(mine) / 2]
            apart[row.group] += (one - other) / len(mine)
    lost = areas[0] - areas[1]
    middle = 2 * lost / len(apart)
    spread = math.sqrt(math.fsum((held - middle) ** 2 for held in apart.values()))
    return _lost("AUC", (areas[0], areas[1]), lost + bounds.Z * spread, allowed)


def _placed(others: Sequence[float], score: float, above: bool) -> float:
    """Return the share of the other label's scores that a score stands on the right side of; equal ones count half."""
    share = (bisect_left(others, score) + bisect_right(others, score)) / 2 / len(others)
    return share if above else 1.0 - share


def gain(labelled: Sequence[Labelled], allowed: float) -> Row:
    """Return the row of lists whose items have a worth: the gain of the first ten (NDCG), with the ideal order as 1."""
    found = losses.Losses()
    both = [0.0, 0.0]
    for couple, labels in labelled:
        ideal = _discounted(labels, labels)
        if ideal > 0:
            one, other = (
                _discounted(losses.scores(each.values), labels) / ideal for each in (couple.before, couple.after)
            )
            both = [both[0] + one, both[1] + other]
            found.add(couple.group, one - other)
    total = math.fsum(found.weight.values())
    if not total:
        return _nothing("NDCG")
    most = bounds.mean_upper(list(found.lost.values()), list(found.weight.values()))
    return _lost(f"NDCG of the first {SEEN}", (both[0] / total, both[1] / total), most, allowed)


def _discounted(scores: Sequence[float], worth: Sequence[float]) -> float:
    ranked = sorted(zip(scores, worth), key=lambda each: (-each[0], each[1]))
    return math.fsum(held / math.log2(place + 2) for place, (_score, held) in enumerate(ranked[:SEEN]))


def error(labelled: Sequence[Labelled], allowed: float) -> Row:
    """Return the row of numbers: the rise of the mean absolute error, in spreads of the labels."""
    found = losses.Losses()
    both, truth = [0.0, 0.0], [label for _couple, labels in labelled for label in labels]
    mean = math.fsum(truth) / (len(truth) or 1)
    spread = math.sqrt(math.fsum((label - mean) ** 2 for label in truth) / (len(truth) or 1))
    if not spread:
        return _nothing("mean absolute error")
    for couple, labels in labelled:
        for one, other, label in zip(couple.before.values, couple.after.values, labels):
            before, after = abs(one - label) / spread, abs(other - label) / spread
            both = [both[0] + before, both[1] + after]
            found.add(couple.group, after - before)
    most = bounds.mean_upper(list(found.lost.values()), list(found.weight.values()))
    return _lost("mean absolute error", (both[0] / len(truth), both[1] / len(truth)), most, allowed)


def _lost(what: str, both: tuple[float, float], most: float, allowed: float) -> Row:
    sentence = (
        f"{what} against the labels is {both[1]:.4f} and was {both[0]:.4f}: at most {most:.4f} are lost,"
        f" {allowed:.4f} allowed"
    )
    if most <= allowed:
        return Row(f"{what} by labels", verdicts.PASSED, sentence, most, allowed)
    verdict = verdicts.FAILED if abs(both[0] - both[1]) > allowed else verdicts.UNPROVEN
    return Row(f"{what} by labels", verdict, sentence, most, allowed)


def _nothing(what: str) -> Row:
    words = f"{what} cannot be told by these labels, which are all alike or fit no row"
    return Row(f"{what} by labels", verdicts.UNPROVEN, words)
