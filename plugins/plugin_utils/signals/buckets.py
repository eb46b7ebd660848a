# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What the server's histograms can say about an objective, and what they cannot.

A histogram tells how many calls took at most each of its limits, nothing between two of them. An objective that lies
between two limits is violated for sure once too many calls took longer than the limit above it, and met for sure while
few enough took longer than the limit below it. Between those two nobody can tell, whatever an interpolation prints:
with limits 1.8 apart it is up to 79 % too high or 44 % too low.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError

Verdict = Literal["violated", "met", "undecided"]
VERDICTS: tuple[Verdict, ...] = ("violated", "met", "undecided")

INFINITE = "+Inf"
# The share of calls that may take longer than an objective for the 99th percentile.
P99_BUDGET = 0.01
# Shares are quotients: one call in a hundred must not count as more than one in a hundred.
ROUNDING = 1e-9


@dataclass(frozen=True)
class Buckets:
    """Limits that grow by a factor, as the server's source sets them (servables/tensorflow/util.cc), in µs."""

    first: float
    factor: float
    finite: int

    def limits(self) -> tuple[float, ...]:
        """Return the finite limits. The server multiplies on and on, and so does this."""
        found = [self.first]
        while len(found) < self.finite:
            found.append(found[-1] * self.factor)
        return tuple(found)

    def texts(self) -> tuple[str, ...]:
        """Return the values of ``le``: C++ prints six significant digits, as Python's ``g`` does."""
        return (*(f"{limit:g}" for limit in self.limits()), INFINITE)


# Of request_latency, runtime_latency and model_warmup_latency: 10 µs to 24 minutes.
LATENCY = Buckets(10, 1.8, 33)
# Of batching_session/queuing_latency: 100 µs to 1.1 s.
QUEUE = Buckets(100, 1.2, 52)


@dataclass(frozen=True)
class Edges:
    """The limits around an objective, as values of ``le``; the same one twice where the objective is a limit."""

    below: str
    above: str

    @property
    def is_exact(self) -> bool:
        """Return whether the histogram can decide about the objective in every case."""
        return self.below == self.above


def around(objective_ms: float, buckets: Buckets = LATENCY) -> Edges:
    """Return the limits around an objective. Raises WishError for one that is smaller than the first limit."""
    objective_us = objective_ms * 1000
    texts = buckets.texts()
    values = [float(text) for text in texts]
    if not objective_us >= values[0]:
        raise WishError(
            "slo_p99_ms",
            f"is {objective_ms:g}, below the {values[0] / 1000:g} ms from which on the server's histogram counts",
            "give the objective in milliseconds",
        )
    # Who writes 67.466 means the limit that the page shows as 67466.4.
    nearest = min(texts[:-1], key=lambda text: abs(float(text) - objective_us))
    if abs(float(nearest) / objective_us - 1) < 1e-4:
        return Edges(nearest, nearest)
    above = next(index for index, value in enumerate(values) if value > objective_us)
    return Edges(texts[above - 1], texts[above])


def bad_shares(counts: Mapping[str, float], edges: Edges) -> tuple[float, float] | None:
    """Return the least and the greatest share of calls that took longer than the objective; None without calls.

    :param counts: for each ``le`` the calls that took at most so long, as the page has them (cumulative).
    """
    calls = counts.get(INFINITE, 0)
    if calls <= 0:
        return None
    return max(0.0, 1 - counts[edges.above] / calls), max(0.0, 1 - counts[edges.below] / calls)


def verdict(counts: Mapping[str, float], objective_ms: float, budget: float = P99_BUDGET) -> Verdict | None:
    """Return what the counts say of an objective: violated for sure, met for sure or neither; None without calls."""
    shares = bad_shares(counts, around(objective_ms))
    if shares is None:
        return None
    low, high = shares
    if low > budget + ROUNDING:
        return "violated"
    return "met" if high <= budget + ROUNDING else "undecided"


def bracket(counts: Mapping[str, float], quantile: float = 0.99) -> tuple[float, float] | None:
    """Return the limits in seconds between which a percentile lies, infinite above the last; None without calls."""
    calls = counts.get(INFINITE, 0)
    if calls <= 0:
        return None
    low = 0.0
    for text in LATENCY.texts():
        high = float(text) / 1e6
        if counts[text] >= (quantile - ROUNDING) * calls:
            return low, high
        low = high
    return low, float("inf")
