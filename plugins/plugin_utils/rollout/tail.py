# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The slow calls: which ones count as slow, and how many of them say that a tail has grown.

A call is slow if it was answered later than an edge, or not at all: the latencies of successes alone make a failing
version look fast. The edge is fixed before the calls that are counted come: ``slow_share_over``, or else the p99 that
the control had before the step. Then the slow calls of both arms are compared like errors (``sequential``). The p99 of
the same calls must not be the edge: it varies as much as what it is compared with, and counting 1,000 calls beyond the
p99 of 1,000 others is wrong in 5 % of all cases where the table below says 1 % (measured, docs/rollout-statistics.md).
"""

from __future__ import annotations

import math
from functools import lru_cache

from ansible_collections.tfserving.fleet.plugins.module_utils.load.histogram import Histogram

from ..measure.statistics import PERCENTILES, binomial, percentiles

# What of all calls is slower than p99.
SHARE = 1 - PERCENTILES["p99"]
# How much larger a share of slow calls is too large. A tail four times as thick, as with errors, would be found with
# fewer calls, and is a disaster already: p99 becomes p96.
RATIO = 2.0


def edge(control: Histogram, missing: int = 0) -> tuple[float | None, str]:
    """Return the control's p99 in seconds, or None and the reason why it cannot be stated.

    :param missing: calls of the control without an answer.
    """
    found = percentiles(control, missing, ["p99"])
    return (found.found["p99"].us / 1e6, "") if "p99" in found.found else (None, found.withheld["p99"])


@lru_cache(1024)
def threshold(calls: int, share: float = SHARE, alpha: float = 0.01) -> int:
    """Return the least number of slow calls that happens by chance with a probability of at most alpha, in one look.

    Exact, and only for an edge of which the share of slow calls is known: 9 of 300 calls, 19 of 1,000, 44 of 3,000.
    """
    first, below = binomial(calls, share)
    return first + next(at for at, part in enumerate(below) if 1 - part <= alpha) + 1


def power(calls: int, times: float, share: float = SHARE, alpha: float = 0.01) -> float:
    """Return the probability that a share of slow calls, grown by a factor, reaches the threshold."""
    grown = min(share * times, 1 - math.ulp(1.0))
    first, below = binomial(calls, grown)
    place = threshold(calls, share, alpha) - 1 - first
    return 1.0 if place < 0 else 1 - below[min(place, len(below) - 1)]
