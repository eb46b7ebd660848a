# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What the server's histograms can say about an objective, and what they cannot.

A histogram tells how many calls took at most each of its limits, nothing between two of them. An objective that lies
between two limits is violated for sure once too many calls took longer than the limit above it, and met for sure while
few enough took longer than the limit below it. Between those two nobody can tell, whatever an interpolation prints:
with limits 1.8 apart it is up to 79 % too high or 44 % too low.
"""

from __future__ import annotations

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


@dataclass(frozen=True)
class Edges:
    """The limits around an objective, as values of ``le``; the same one twice where the objective is a limit."""

    below: str
    above: str


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
