# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The order of the blocks of a comparison.

Two settings take turns on one host. In A B B A a drift that goes on evenly weighs on both alike, and which of the two
begins is drawn by lot, so that no rhythm of the host, say a job each minute, meets one of them only.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

Side = Literal["a", "b"]
T = TypeVar("T")

# The shortest block in seconds: what changes with each turn, caches, clocks, branch predictors, has settled in a small
# part of it.
SHORTEST = 30
# With fewer pairs of blocks the interval of a comparison is too wide to be worth the time: Student's t for 95 % is 3.2
# for four pairs, 4.3 for three, 12.7 for two.
LEAST_PAIRS = 4
# What a comparison takes of each side, in seconds.
LEAST_S = LEAST_PAIRS * SHORTEST


@dataclass(frozen=True)
class Schedule:
    """The sides in their order, two of each pair in a row, and the length of each block in seconds."""

    order: tuple[Side, ...]
    seconds: int


def schedule(seconds_a_side: int, seed: int) -> Schedule:
    """Return the blocks that give each side at least the given time, as many and so as short as may be.

    Raise ValueError if that is less than a comparison takes.
    """
    pairs = seconds_a_side // SHORTEST
    if pairs < LEAST_PAIRS:
        raise ValueError(
            f"a comparison takes at least {LEAST_PAIRS * SHORTEST} s a side, {LEAST_PAIRS} blocks of {SHORTEST} s, not"
            f" {seconds_a_side} s"
        )
    return Schedule(order(pairs, seed), math.ceil(seconds_a_side / pairs))


def order(pairs: int, seed: int) -> tuple[Side, ...]:
    """Return the sides of a number of pairs: A B B A or B A A B, by lot; a last pair alone as A B or B A."""
    draw = random.Random(seed)
    found: list[Side] = []
    while len(found) < 2 * pairs:
        first: tuple[Side, Side] = draw.choice((("a", "b"), ("b", "a")))
        found += [*first, *first[::-1]]
    return tuple(found[: 2 * pairs])


def sides(order: Sequence[Side], blocks: Sequence[T]) -> tuple[list[T], list[T]]:
    """Return the blocks of A and of B, the n-th of each from the same pair."""
    return (
        [block for side, block in zip(order, blocks) if side == "a"],
        [block for side, block in zip(order, blocks) if side == "b"],
    )
