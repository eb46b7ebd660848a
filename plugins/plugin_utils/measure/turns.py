# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Two settings measured in turns: which of them each block measures, and what comes of the blocks.

``turns`` says what to measure, one block after another, and ``compared`` what the judged stages of those blocks tell.
In between the caller does whatever it takes to have the other setting: call another server, or restart one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from . import comparison
from .interleave import LEAST_PAIRS, Side, schedule
from .series import seconds

Stage = Mapping[str, Any]
"""A stage of a document: its ``verdict``, ``why`` and ``result``."""


# So many pairs are measured for those with an invalid block: what disturbs more of them will disturb these too.
SPARE_PAIRS = 2


class Turn(NamedTuple):
    """One block: its side, which block of that side it is (from 1), and its length in seconds without warm-up.

    The n-th block of A and the n-th of B are a pair, measured one right after the other.
    """

    side: Side
    number: int
    seconds: int


def turns(seconds_a_side: int, seed: int) -> list[Turn]:
    """Return the blocks that give each side at least the given time. Raise ValueError for less than 120 s."""
    plan, count = schedule(seconds_a_side, seed), Counter[Side]()
    found = []
    for side in plan.order:
        count[side] += 1
        found.append(Turn(side, count[side], plan.seconds))
    return found


def spare(plan: Sequence[Turn], measured: Sequence[tuple[Side, Stage]]) -> list[Turn]:
    """Return a pair of blocks to measure besides, where all of the plan are measured and some are invalid."""
    planned, so_far = len(plan) // 2, len(measured) // 2
    if len(pairs(measured)) >= planned or so_far >= planned + SPARE_PAIRS:
        return []
    # The other way round than the pair before, as in A B B A.
    sides = (measured[-1][0], measured[-2][0])
    return [Turn(side, so_far + 1, plan[-1].seconds) for side in sides]


def pairs(measured: Sequence[tuple[Side, Stage]]) -> list[tuple[Stage, Stage]]:
    """Return the blocks of A and B in pairs, without those of which a block is invalid or was not measured."""
    both = zip(*([stage for each, stage in measured if each == side] for side in ("a", "b")))
    return [pair for pair in both if all(stage["result"] and stage["verdict"] != "invalid" for stage in pair)]


def compared(
    measured: Sequence[tuple[Side, Stage]], names: tuple[str, str] = ("A", "B"), seed: int = 1
) -> comparison.Comparison:
    """Return A compared with B: ``better`` where p99 of A is lower; ratios are A / B.

    :param measured: the side and the judged stage of each block, in the order in which they were measured.
    :param names: what A and B are called in sentences.
    """
    able = pairs(measured)
    if len(able) < LEAST_PAIRS:
        return comparison.Comparison("not comparable", too_few(measured))
    a, b = ([seconds(stage["result"]) for stage in side] for side in zip(*able))
    return comparison.compare(b, a, interleaved=True, seed=seed, names=(names[1], names[0]))


def too_few(measured: Sequence[tuple[Side, Stage]]) -> str:
    """Return why blocks are too few to be compared, or an empty text."""
    count = len(pairs(measured))
    if count >= LEAST_PAIRS:
        return ""
    why = next((f": {stage['why']}" for _side, stage in measured if stage["verdict"] == "invalid"), "")
    return f"{count} of the {LEAST_PAIRS} pairs of valid blocks that it takes were measured{why}"
