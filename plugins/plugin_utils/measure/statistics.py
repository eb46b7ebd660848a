# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Percentiles with their intervals, and the number of requests that each of them takes.

The interval of a percentile comes from the ranks of the sample, with the binomial distribution itself: no shape of the
latencies is assumed, and none of the sums is approximated by a normal distribution, which is wrong where it matters,
at the tail. Requests count as independent. Where they queue they are not, and the true interval is wider; hence the
three confirmations of a knee (``knee``) and the resampling of whole stretches of time in a comparison (``comparison``).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import accumulate
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.load.histogram import Histogram, bounds

# What a table shows, by name.
PERCENTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p99.9": 0.999}

# The confidence at which a percentile may be claimed. MLPerf's load generator asks for the same (early_stopping.cc in
# mlcommons/inference): 459 requests for p99.
CLAIM = 0.99
# The confidence of every interval that is printed: what readers expect where nothing else is said.
INTERVAL = 0.95
# From here on the interval of p99 reaches from p98.8 to p99.2 of the sample. With 1,000 it is p98.4 to p99.6, which at
# a steep tail is a factor of latency.
NARROW = 10_000
# Beyond this number of requests the ranks are scaled up from it: the sums would take longer, and the interval, a little
# wider than the exact one, is still narrower than a bucket of the histogram.
MOST_SUMMED = 10**8
# Shares of the largest term that no longer change a sum of doubles (2 ** -53, with a margin for the number of terms).
NEGLIGIBLE = 1e-22


@dataclass(frozen=True)
class Percentile:
    """A percentile in us with the ends of its interval.

    The ends are the outer bounds of their buckets: the interval is never narrower than the sample allows. ``high`` is
    None where the upper end falls among the requests without an answer.
    """

    us: int
    low: int
    high: int | None

    def to_json(self) -> dict[str, int | None]:
        """Return the percentile as it stands in a document."""
        return {"us": self.us, "low": self.low, "high": self.high}


@dataclass
class Percentiles:
    """Percentiles by name, and a sentence for each one that the sample does not support."""

    found: dict[str, Percentile] = field(default_factory=dict)
    withheld: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return ``{"p50": {...}, "p99": null, "withheld": {"p99": sentence}}``."""
        shown: dict[str, Any] = {name: each.to_json() for name, each in self.found.items()}
        return {**shown, **dict.fromkeys(self.withheld), "withheld": dict(self.withheld)}


def needed(q: float, confidence: float = CLAIM) -> int:
    """Return the least number of requests with which the percentile q, above 0 and below 1, can be claimed.

    If more than 1 - q of all requests were over a limit, n requests would all keep it with a probability below q ** n.
    So n requests without one over the limit show the claim where q ** n is at most 1 - confidence.
    """
    return math.ceil(math.log(1 - confidence) / math.log(q))


def supported(q: float, requests: int) -> bool:
    """Return whether a number of requests is enough to claim the percentile q."""
    return requests >= needed(q)


def percentiles(histogram: Histogram, missing: int = 0, names: Iterable[str] = PERCENTILES) -> Percentiles:
    """Return the percentiles of a histogram, each with its interval or with the reason why it is withheld.

    ``missing`` is the number of requests that failed and so have no latency. They count as slower than any that was
    answered: a percentile of successes alone would improve with each failure.
    """
    result = Percentiles()
    for name in names:
        reason = why_withheld(name, histogram.total, missing)
        if reason:
            result.withheld[name] = reason
        else:
            result.found[name] = _percentile(histogram, PERCENTILES[name], missing)
    return result


def why_withheld(name: str, answered: int, missing: int = 0) -> str:
    """Return why a percentile cannot be stated, as a sentence; empty where it can."""
    q, requests = PERCENTILES[name], answered + missing
    if not supported(q, requests):
        return f"{name} is withheld: it takes {needed(q):,} requests to claim it, and there are {requests:,}"
    if rank_of(q, requests) > answered:
        return f"{name} is withheld: {missing:,} of {requests:,} requests failed, so that it has no latency"
    return ""


def wide(requests: int) -> str:
    """Return the remark on a number of requests whose p99 has a wide interval; empty where it is narrow."""
    if not supported(PERCENTILES["p99"], requests) or requests >= NARROW:
        return ""
    low, high = ranks(PERCENTILES["p99"], requests)
    ends = f"from p{100 * low / requests:.1f} to p{100 * (high or requests) / requests:.1f} of the sample"
    return f"the interval of p99 is wide: with {requests:,} requests it reaches {ends}; send {NARROW:,} or more"


def rank_of(q: float, requests: int) -> int:
    """Return the rank of the percentile q among a number of requests, from 1 on."""
    # 0.07 * 100 is a hair above 7, and must not become rank 8.
    return max(math.ceil(round(q * requests, 6)), 1)


@lru_cache(4096)
def ranks(q: float, requests: int, confidence: float = INTERVAL) -> tuple[int, int | None]:
    """Return the ranks between which the percentile q lies with at least the given confidence.

    Both tails get half of what is left. The lower rank is 0 and the upper None where the sample has no such rank.
    """
    if requests > MOST_SUMMED:
        return _scaled(q, requests, confidence)
    first, below = binomial(requests, q)
    tail = (1 - confidence) / 2
    # The number of requests below the percentile is binomial: it lies above the rank r - 1 with the probability of
    # fewer than r requests below it.
    low = first + sum(1 for share in below if share <= tail)
    high = first + next((place for place, share in enumerate(below) if share >= 1 - tail), len(below)) + 1
    return min(low, requests), high if high <= requests else None


def _scaled(q: float, requests: int, confidence: float) -> tuple[int, int | None]:
    low, high = ranks(q, MOST_SUMMED, confidence)
    return low * requests // MOST_SUMMED, None if high is None else -(-high * requests // MOST_SUMMED)


def binomial(n: int, p: float) -> tuple[int, list[float]]:
    """Return the probabilities that at most k of n happen, as the first k with any and their list from there on.

    The terms are worked out from the largest one outward, as multiples of it, so that nothing under- or overflows.
    """
    mode = min(int((n + 1) * p), n)
    odds = p / (1 - p)
    down, term, k = [], 1.0, mode
    while k > 0 and term > NEGLIGIBLE:
        term *= k / ((n - k + 1) * odds)
        k -= 1
        down.append(term)
    up, term, k = [1.0], 1.0, mode
    while k < n and term > NEGLIGIBLE:
        term *= (n - k) * odds / (k + 1)
        k += 1
        up.append(term)
    terms = down[::-1] + up
    whole = math.fsum(terms)
    return mode - len(down), [share / whole for share in accumulate(terms)]


def _percentile(histogram: Histogram, q: float, missing: int) -> Percentile:
    requests = histogram.total + missing
    low, high = ranks(q, requests)
    buckets = sorted(histogram.counts)
    upto = list(accumulate(histogram.counts[bucket] for bucket in buckets))
    return Percentile(
        us=histogram.at_rank(rank_of(q, requests)),
        low=bounds(_bucket(buckets, upto, max(low, 1)))[0],
        high=None if high is None or high > histogram.total else bounds(_bucket(buckets, upto, high))[1],
    )


def _bucket(buckets: Sequence[int], upto: Sequence[int], rank: int) -> int:
    return next(bucket for bucket, count in zip(buckets, upto) if count >= rank)
