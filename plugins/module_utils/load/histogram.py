# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Counts of latencies in constant memory: log-linear buckets of whole microseconds, from 1 us to 1 hour.

Below 256 us each microsecond has a bucket of its own. Above, each octave is divided into 128 buckets of equal width, so
that the middle of a bucket is within 0.4 % of every value in it. Buckets are numbered without gaps:
``shift * 128 + (us >> shift)``, where ``shift`` is the number of bits beyond the eighth.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil
from typing import Any

# An hour: far above every timeout of a caller. It needs 32 bits, hence 3,287 buckets at the most.
LONGEST = 3_600_000_000
# Bits of a value that its bucket keeps; 2 ** (8 - 1) = 128 buckets an octave.
KEPT = 8
OCTAVE = 1 << (KEPT - 1)
SCHEMA = 1
# More requests than any benchmark sends; keeps what is read from a load host within sums that stay cheap.
MOST = 10**15

_NUMBER = re.compile(r"0|[1-9][0-9]{0,5}")


def index(us: int) -> int:
    """Return the number of the bucket of a latency in us, clamped to 1 us .. 1 hour."""
    if us < 1:
        return 1
    if us > LONGEST:
        us = LONGEST
    shift = us.bit_length() - KEPT
    return us if shift <= 0 else (shift << (KEPT - 1)) + (us >> shift)


HIGHEST = index(LONGEST)


def bounds(index: int) -> tuple[int, int]:
    """Return the lowest and the highest latency in us of a bucket, both included."""
    if not 0 <= index <= HIGHEST:
        raise ValueError(f"there is no bucket {index}: they are numbered from 0 to {HIGHEST}")
    shift = max(index // OCTAVE - 1, 0)
    low = (index - shift * OCTAVE) << shift
    return low, min(low + (1 << shift) - 1, LONGEST)


@dataclass
class Histogram:
    """Latencies: how many fell into which bucket, and exactly the lowest, the highest and the sum of them in us.

    ``min``, ``max`` and ``mean`` of an empty histogram are 0.
    """

    counts: dict[int, int] = field(default_factory=dict)
    total: int = 0
    min: int = 0
    max: int = 0
    sum: int = 0

    def record(self, us: int, count: int = 1) -> None:
        """Count a latency in us. One beyond 1 us .. 1 hour counts as the nearest of these."""
        us = 1 if us < 1 else LONGEST if us > LONGEST else us
        # The same as index(us), written out: a call costs as much as all the rest of this method.
        shift = us.bit_length() - KEPT
        bucket = us if shift <= 0 else (shift << (KEPT - 1)) + (us >> shift)
        self.counts[bucket] = self.counts.get(bucket, 0) + count
        if us > self.max:
            self.max = us
        if us < self.min or not self.total:
            self.min = us
        self.total += count
        self.sum += us * count

    def add(self, other: Histogram) -> None:
        """Count all latencies of another histogram."""
        if not other.total:
            return
        for bucket, count in other.counts.items():
            self.counts[bucket] = self.counts.get(bucket, 0) + count
        self.min = min(self.min, other.min) if self.total else other.min
        self.max = max(self.max, other.max)
        self.total += other.total
        self.sum += other.sum

    @property
    def mean(self) -> float:
        """The exact mean in us."""
        return self.sum / self.total if self.total else 0.0

    def quantile(self, q: float) -> int:
        """Return the latency in us that the share q of all latencies, from 0 to 1, does not exceed."""
        if not 0 <= q <= 1:
            raise ValueError(f"a quantile is a share from 0 to 1, not {q}")
        # 0.07 * 100 is a hair above 7, and must not become rank 8.
        return self.at_rank(max(ceil(round(q * self.total, 6)), 1))

    def at_rank(self, rank: int) -> int:
        """Return the latency in us at a rank: 1 is the lowest, ``total`` the highest."""
        if not 1 <= rank <= self.total:
            raise ValueError(f"there is no rank {rank} among {self.total} latencies")
        below = 0
        for bucket in sorted(self.counts):
            below += self.counts[bucket]
            if below >= rank:
                return self._value(bucket)
        raise ValueError("the counts of the buckets are fewer than their total")

    def share_over(self, us: float) -> float:
        """Return the share of latencies over a limit in us; of an empty histogram 0.

        A bucket lies over the limit as its middle does, so that ``share_over(x) <= 1 - q`` where ``quantile(q) <= x``.
        """
        over = sum(count for bucket, count in self.counts.items() if self._value(bucket) > us)
        return over / self.total if self.total else 0.0

    def _value(self, bucket: int) -> int:
        low, high = bounds(bucket)
        return max(self.min, min((low + high) // 2, self.max))

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON: ``{"schema", "counts": {bucket: count}, "min", "max", "sum"}``, in us."""
        counts = {str(bucket): self.counts[bucket] for bucket in sorted(self.counts)}
        return {"schema": SCHEMA, "counts": counts, "min": self.min, "max": self.max, "sum": self.sum}

    @classmethod
    def from_json(cls, value: Any) -> Histogram:
        """Return the histogram that ``to_json`` wrote. Raise ValueError on anything else."""
        if not isinstance(value, Mapping) or set(value) != {"schema", "counts", "min", "max", "sum"}:
            raise ValueError("a histogram is a mapping of schema, counts, min, max and sum")
        if not _is_number(value["schema"]) or value["schema"] != SCHEMA:
            raise ValueError(f"the schema of a histogram is {SCHEMA}")
        counts = _counts(value["counts"])
        found = cls(counts, sum(counts.values()), *(_number(name, value[name]) for name in ("min", "max", "sum")))
        _agree(found)
        return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(name: str, value: Any) -> int:
    if not _is_number(value) or not 0 <= value <= MOST * LONGEST:
        raise ValueError(f"{name} of a histogram is a whole number that is not negative")
    return int(value)


def _counts(value: Any) -> dict[int, int]:
    if not isinstance(value, Mapping) or len(value) > HIGHEST:
        raise ValueError(f"counts of a histogram is a mapping of at most {HIGHEST} buckets")
    counts = {}
    for bucket, count in value.items():
        if not isinstance(bucket, str) or not _NUMBER.fullmatch(bucket) or not 1 <= int(bucket) <= HIGHEST:
            raise ValueError(f"the buckets of a histogram are numbered from 1 to {HIGHEST}")
        if not _is_number(count) or not 1 <= count <= MOST:
            raise ValueError(f"a count of a histogram is a whole number from 1 to {MOST}")
        counts[int(bucket)] = int(count)
    return counts


def _agree(found: Histogram) -> None:
    """Raise ValueError where the lowest, the highest or the sum contradict the counts."""
    if not found.counts:
        if found.min or found.max or found.sum:
            raise ValueError("an empty histogram has no latencies: min, max and sum are 0")
        return
    if index(found.min) != min(found.counts) or index(found.max) != max(found.counts) or found.min > found.max:
        raise ValueError("min and max of a histogram lie in its lowest and its highest bucket")
    ends = [(bounds(bucket), count) for bucket, count in found.counts.items()]
    low, high = (sum(each[side] * count for each, count in ends) for side in (0, 1))
    if not low <= found.sum <= high:
        raise ValueError("sum of a histogram lies within what its counts allow")
