# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Answers of made-up models of usual shapes, and of candidates of which it is known whether they are good or spoilt.

A model answers by its logits, so that candidates err where real ones do: in what comes before a softmax. Every figure
is drawn by a seed.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from ansible_collections.tfserving.fleet.plugins.module_utils.load.messages import Tensor
from ansible_collections.tfserving.fleet.plugins.plugin_utils.optimization.answers import Answer
from ansible_collections.tfserving.fleet.plugins.plugin_utils.optimization.gate import Evidence
from ansible_collections.tfserving.fleet.plugins.plugin_utils.optimization.measures import Task

SIZES = (1, 7, 32)
# Every so many requests one is answered in batches too.
BATCHED = 14
# Enough that a lossy candidate of 0.5 % is proven to lose less than the 2 % that are allowed.
REQUESTS = 700

Rows = list[list[float]]
Change = Callable[[list[Answer]], list[Answer]]
Bend = Callable[[Rows, random.Random], Rows]


@dataclass(frozen=True)
class Model:
    """A made-up model: the rows of a request, and the columns of a row, before and after its last function."""

    task: str
    rows: tuple[int, int]
    columns: int
    last: Callable[[list[float]], list[float]]
    centre: float = 0.0
    spread: float = 1.0
    loss: float = 0.02


def softmax(row: list[float]) -> list[float]:
    powers = [math.exp(value - max(row)) for value in row]
    return [power / sum(powers) for power in powers]


def rare(row: list[float]) -> list[float]:
    """Return a share of some millionths, as of clicks."""
    return [1e-6 / (1e-6 + math.exp(-value)) for value in row]


def same(row: list[float]) -> list[float]:
    return row


MODELS = {
    "classes": Model("classification", (1, 3), 10, softmax, spread=6.0),
    "list": Model("ranking", (8, 20), 1, same, spread=0.1),
    "clicks": Model("classification", (2, 2), 1, rare, centre=-1.0, loss=0.05),
    "kelvin": Model("regression", (1, 2), 2, same, centre=300.0),
    "vector": Model("embedding", (1, 1), 16, same),
}


def task(name: str) -> Task:
    return Task(MODELS[name].task, "y", MODELS[name].loss)


def logits(name: str, seed: int, requests: int = REQUESTS) -> list[Rows]:
    """Return what a model computes for each recorded request."""
    draw, model = random.Random(seed), MODELS[name]
    # Some classes are frequent and some hardly ever come, as in life.
    lift = [draw.gauss(0.0, 1.0) for _ in range(model.columns)]
    return [
        [
            [model.centre + model.spread * (draw.gauss(0, 1) + each / 3) for each in lift]
            for _ in range(draw.randint(*model.rows))
        ]
        for _ in range(requests)
    ]


def answers(
    name: str, held: Sequence[Rows], bend: Bend | None = None, seed: int = 0, beside: float = 0.0
) -> list[Answer]:
    """Return a model's answers to its requests, as they are and in batches.

    :param bend: what a candidate makes of the logits of a request.
    :param beside: how far an answer moves in a batch, by a rule of batches.
    """
    draw, last = random.Random(seed + 1), MODELS[name].last
    found = []
    for number, rows in enumerate(held):
        bent = bend(rows, draw) if bend else rows
        for size in (0, *SIZES) if number % BATCHED == 0 else (0,):
            moved = [[value + beside * size for value in row] for row in bent]
            found.append(Answer(number, size, {"y": tensor([last(row) for row in moved])}))
    return found


def tensor(rows: Rows) -> Tensor:
    return Tensor("DT_FLOAT", (len(rows), len(rows[0])), [value for row in rows for value in row])


def evidence(before: Sequence[Answer], after: Sequence[Answer]) -> Evidence:
    numbers = sorted({each.request for each in before})
    return Evidence(
        before, after, [str(number) for number in numbers], True, SIZES, [n for n in numbers if n % BATCHED == 0]
    )


# --- candidates ----------------------------------------------------------------------------------------------


def noisy(share: float) -> Callable[[Model], Bend]:
    """Return errors of a share of the spread of what a model computes: rounding, or fewer bits."""
    return lambda model: (
        lambda rows, draw: [[value + share * model.spread * draw.gauss(0, 1) for value in row] for row in rows]
    )


# By kind of treatment: errors that it may have. Float32 rounds 1e-7; deep models make some 1e-6 of that.
GOOD: Mapping[str, Sequence[float]] = {
    "freeze": (0.0, 1e-7, 2e-6),
    "tflite_float": (1e-6, 2e-5),
    "tflite_int8": (1e-3, 5e-3),
}


def _each(change: Callable[[list[float]], list[float]]) -> Bend:
    return lambda rows, _draw: [change(list(row)) for row in rows]


def _swapped(row: list[float]) -> list[float]:
    return [row[1], row[0], *row[2:]]


SPOILT: Mapping[str, Callable[[Model], Bend]] = {
    "scaled": lambda model: _each(lambda row: [value * 1.3 for value in row]),
    "scaled down": lambda model: _each(lambda row: [value * 0.5 for value in row]),
    "negated": lambda model: _each(lambda row: [-value for value in row]),
    "not a number": lambda model: (
        lambda rows, draw: [[math.nan if draw.random() < 0.005 else value for value in row] for row in rows]
    ),
    "constant": lambda model: _each(lambda row: [model.centre] * len(row)),
    "biased": lambda model: _each(lambda row: [value + 0.2 * model.spread for value in row[:1]] + row[1:]),
    "noisy": noisy(0.5),
    "rarely wild": lambda model: (
        lambda rows, draw: [
            [value + (20 * model.spread if draw.random() < 0.05 else 0.0) for value in row] for row in rows
        ]
    ),
    "another request's": lambda model: (
        lambda rows, draw: [[model.centre + model.spread * draw.gauss(0, 1) for _ in row] for row in rows]
    ),
}

# Of several columns.
MIXED: Mapping[str, Callable[[Model], Bend]] = {
    "swapped classes": lambda model: _each(_swapped),
    "permuted": lambda model: _each(lambda row: [*row[1:], row[0]]),
    "one class shifted": lambda model: _each(lambda row: [*row[:-1], row[-1] + 0.5 * model.spread]),
    "one class dead": lambda model: _each(lambda row: [*row[:-1], model.centre - 6 * model.spread]),
}


def spoilt(name: str) -> Mapping[str, Callable[[Model], Bend]]:
    """Return the ways to spoil a model."""
    return {**SPOILT, **(MIXED if MODELS[name].columns > 1 else {})}


def retyped(found: Sequence[Answer]) -> list[Answer]:
    """Return answers of another type."""
    return [replace(each, outputs={"y": each.outputs["y"]._replace(dtype="DT_DOUBLE")}) for each in found]
