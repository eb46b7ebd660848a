# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Histograms packed into single integers, so that drawing 600 of them a thousand times takes a second in plain Python.

Each bucket that occurs anywhere gets 64 bits of the integer, from the fastest up; the last 64 hold the requests without
an answer. Adding two integers then adds all counters at once, and none overflows into the next.
"""

from __future__ import annotations

import math
import struct
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from ansible_collections.tfserving.fleet.plugins.module_utils.load.histogram import bounds

from .series import Second
from .statistics import rank_of

# Bytes of a counter; no sum of counts comes near 2 ** 64.
WIDTH = 8


@dataclass(frozen=True)
class Figures:
    """What is compared of a stretch of time: latencies in us, answers a second.

    A latency is infinite where the percentile falls among the requests without an answer.
    """

    p50: float
    p99: float
    throughput: float
    errors: float
    """The share of the requests without a good answer."""


class Packing:
    """The places of all buckets that occur in any of some seconds."""

    def __init__(self, stretches: Iterable[Second]) -> None:
        self._buckets = sorted({bucket for second in stretches for bucket in second.histogram.counts})
        self._place = {bucket: place for place, bucket in enumerate(self._buckets)}
        self._edges = [(low, high + 1) for low, high in map(bounds, self._buckets)]
        self._form = struct.Struct(f"<{len(self._buckets) + 1}Q")

    def packed(self, second: Second) -> int:
        """Return the counters of a second as one integer."""
        counters = [0] * (len(self._buckets) + 1)
        for bucket, count in second.histogram.counts.items():
            counters[self._place[bucket]] = count
        counters[-1] = second.missing
        return int.from_bytes(self._form.pack(*counters), "little")

    def figures(self, packed: int, seconds: int) -> Figures:
        """Return the figures of a sum of packed seconds."""
        upto = list(accumulate(self._form.unpack(packed.to_bytes(self._form.size, "little"))))
        answered = upto[-2] if len(upto) > 1 else 0
        errors = 1 - answered / upto[-1] if upto[-1] else 0.0
        return Figures(self._latency(upto, 0.5), self._latency(upto, 0.99), answered / seconds, errors)

    def _latency(self, upto: Sequence[int], q: float) -> float:
        """Return a percentile, interpolated in its bucket: or else small differences would come in steps of 0.8 %."""
        rank = rank_of(q, upto[-1])
        place = bisect_left(upto, rank)
        if place >= len(self._edges):
            return math.inf
        below = upto[place - 1] if place else 0
        low, high = self._edges[place]
        return low + (high - low) * (rank - below - 0.5) / (upto[place] - below)
