# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""When each request of a stage is due, and which request it is: the same again for the same seed, made as it is needed.

The rate is shared between processes without common bursts: constant arrivals interleave, and Poisson arrivals of
several processes are independent, so that together they are Poisson arrivals of the whole rate.
"""

from __future__ import annotations

import random
from bisect import bisect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, count
from math import log


@dataclass(frozen=True)
class Share:
    """One process's part of a stage: ``rate`` (requests/s) and ``length`` (s) are those of the whole stage."""

    arrivals: str
    rate: float
    length: float
    seed: int
    process: int = 0
    processes: int = 1


def schedule(share: Share, weights: Sequence[float]) -> Iterator[tuple[float, int]]:
    """Yield the requests of a process in order: intended moment in s from the start, and number in ``weights``."""
    return zip(moments(share), choices(share, weights))


def moments(share: Share) -> Iterator[float]:
    """Yield the intended moments of a process in s from the start, ascending, up to the length of the stage."""
    made = _constant(share) if share.arrivals == "constant" else _poisson(share)
    for moment in made:
        if moment >= share.length:
            return
        yield moment


def choices(share: Share, weights: Sequence[float]) -> Iterator[int]:
    """Yield, without end, numbers of requests drawn by weight."""
    ends = list(accumulate(weights))
    drawn = _draws(share, "choices")
    last = len(ends) - 1
    while True:
        yield min(bisect(ends, drawn.random() * ends[-1]), last)


def _constant(share: Share) -> Iterator[float]:
    # By multiplication: a sum of gaps would drift over a long stage.
    return ((number * share.processes + share.process) / share.rate for number in count())


def _poisson(share: Share) -> Iterator[float]:
    drawn = _draws(share, "arrivals")
    mean = share.processes / share.rate
    moment = 0.0
    while True:
        moment -= log(1.0 - drawn.random()) * mean
        yield moment


def _draws(share: Share, purpose: str) -> random.Random:
    """Return draws of their own for each purpose and process; a text as seed gives the same ones on every Python."""
    return random.Random(f"{share.seed}/{share.process}/{share.processes}/{purpose}")
