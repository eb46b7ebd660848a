# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The check of batches: the answer to a row must not depend on the rows beside it more than the original's does.

A server forms batches of rows of different callers, so these are made of one row of each of several requests.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import prod
from typing import NamedTuple

from ansible_collections.tfserving.fleet.plugins.module_utils.load.messages import Tensor
from ansible_collections.tfserving.fleet.plugins.module_utils.saved_model.signatures import shown

from . import columns, values, verdicts
from .answers import Answer
from .columns import Couple
from .strictness import ROUNDED, Strictness
from .verdicts import Row

# Batches of each size: a rule of batches shows in every one of them.
EACH = 4
# Beside the sizes that the server forms: one row, and odd ones that are no multiple of a vector of the CPU.
ODD = (1, 3, 7, 13)
# What a server without batching is asked for at least.
USUAL = 64
# The largest batch of a plan has some hundred rows; larger ones are not made here.
MOST_ROWS = 1024


class Batch(NamedTuple):
    """A batch: of each of its rows the request, by its number, and the row there."""

    rows: tuple[tuple[int, int], ...]


Inputs = Mapping[str, Tensor]
Both = tuple[Answer, Answer]


def sizes(allowed: Sequence[int]) -> list[int]:
    """Return the sizes to ask at: those that the server forms, and odd ones, up to one below the largest."""
    largest = min(max(allowed, default=USUAL), MOST_ROWS)
    return sorted({size for size in (*allowed, *ODD, largest - 1, largest) if 1 <= size <= largest})


def made(requests: Sequence[Inputs], wanted: Sequence[int]) -> list[tuple[Batch, Inputs]]:
    """Return batches of each wanted size with their inputs.

    :param requests: of one signature, all of whose inputs have rows. Those that fit no other are left alone.
    """
    alike = [number for number, each in enumerate(requests) if _kind(each) == _kind(requests[0])]
    found = []
    for size in wanted:
        for turn in range(EACH):
            begin = turn * len(alike) // EACH
            picked = [alike[(begin + place) % len(alike)] for place in range(size)]
            rows = tuple((number, place % _rows(requests[number])) for place, number in enumerate(picked))
            found.append((Batch(rows), _joined(requests, rows)))
    return found


def _kind(inputs: Inputs) -> dict[str, tuple[str, tuple[int, ...]]]:
    return {name: (held.dtype, held.shape[1:]) for name, held in inputs.items() if held.shape and held.shape[0]}


def _rows(inputs: Inputs) -> int:
    return next(iter(inputs.values())).shape[0]


def _joined(requests: Sequence[Inputs], rows: Sequence[tuple[int, int]]) -> Inputs:
    return {
        name: Tensor(
            held.dtype,
            (len(rows), *held.shape[1:]),
            [value for number, row in rows for value in row_of(requests[number][name], row).values],
        )
        for name, held in requests[rows[0][0]].items()
    }


def row_of(held: Tensor, row: int) -> Tensor:
    """Return one row of a tensor."""
    step = prod(held.shape[1:])
    return Tensor(held.dtype, (1, *held.shape[1:]), held.values[row * step : (row + 1) * step])


def row(
    name: str,
    own: Sequence[Couple],
    asked: Iterable[tuple[Batch, Both, Mapping[int, Both]]],
    strict: Strictness,
    wanted: Mapping[str, float],
) -> Row:
    """Return the row of one float output.

    Of each row in a batch the distance to its answer alone is taken, of both models. The candidate's may exceed that of
    the original by what rounding makes of another order of sums, however lossy the candidate is.
    """
    scale = columns.scales(own, columns.columns(own))
    rounding = strict if strict.each is not None else ROUNDED
    limits = values.limits(own, scale, rounding, wanted if strict.each is not None else {})
    worst, at = 0.0, 0
    for batch, pair, alone in asked:
        before, after = (_apart(name, batch, pair[side], alone, side, limits) for side in (0, 1))
        if after - before > worst:
            worst, at = after - before, len(batch.rows)
    where = f"in batches of {at} rows" if at else "in batches of any size"
    words = f"{shown(name)}: {where} answers move {worst:.3g} times as far as they may, more than the original's do"
    return verdicts.judged(f"batches of {shown(name)}", worst <= 1.0, words, worst, 1.0)


def _apart(
    name: str,
    batch: Batch,
    answer: Answer,
    alone: Mapping[int, Both],
    side: int,
    limits: tuple[list[float], float],
) -> float:
    """Return how far the rows of a batch lie from themselves alone, in what is allowed."""
    found, worst = answer.outputs.get(name), 0.0
    if found is None or found.shape[:1] != (len(batch.rows),):
        return 0.0
    for place, (number, row) in enumerate(batch.rows):
        held = alone[number][side].outputs.get(name) if number in alone else None
        if held is not None and held.shape[1:] == found.shape[1:] and row < held.shape[0]:
            worst = max(worst, values.departs(row_of(held, row), row_of(found, place), *limits))
    return worst
