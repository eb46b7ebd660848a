# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What became of requests, counted by the second in which they were due: in constant memory, cheap to hand over.

A worker counts in a `Tally` and hands over what is new once a second. The parent adds it to a `Series`, which halves
its resolution whenever it would have more than 3,600 steps.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from .histogram import Histogram

# An hour of seconds. Longer stages get steps of 2, 4, ... seconds, so that memory and result stay as they are.
MOST_STEPS = 3600
# Kinds of errors that stand apart in a result. Status words come from servers, so their number is bounded.
MOST_KINDS = 64
OTHER = "other"

# Errors without a reply: the rest of the errors are answers.
UNANSWERED = frozenset({"timeout", "connection", "not_sent", "interrupted", "client"})

# Second in which requests were due, counted from the start, and whether it belongs to the measurement after warm-up.
Key = tuple[int, bool]


@dataclass
class Count:
    """What became of some requests. ``offered`` = ok + errors, as soon as none is open."""

    offered: int = 0
    sent: int = 0
    answered: int = 0
    ok: int = 0
    late: int = 0
    items: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    histogram: Histogram = field(default_factory=Histogram)

    def fail(self, kind: str, count: int = 1) -> None:
        """Count errors of a kind."""
        if kind not in self.errors and len(self.errors) >= MOST_KINDS:
            kind = OTHER
        self.errors[kind] = self.errors.get(kind, 0) + count

    def add(self, other: Count) -> None:
        """Count all that another one counted."""
        self.offered += other.offered
        self.sent += other.sent
        self.answered += other.answered
        self.ok += other.ok
        self.late += other.late
        self.items += other.items
        for kind, count in other.errors.items():
            self.fail(kind, count)
        self.histogram.add(other.histogram)

    @property
    def failed(self) -> int:
        """All errors."""
        return sum(self.errors.values())


class Tally:
    """What a worker has counted since it last handed over."""

    def __init__(self) -> None:
        self.counts: dict[Key, Count] = {}

    def at(self, key: Key) -> Count:
        """Return the count of a second."""
        found = self.counts.get(key)
        if found is None:
            found = self.counts[key] = Count()
        return found

    def take(self) -> list[tuple[Key, Count]]:
        """Return what was counted, and begin anew."""
        taken, self.counts = list(self.counts.items()), {}
        return taken


@dataclass
class Step:
    """One step of a series. Its histogram is packed: as a dict it would need ten times the memory."""

    offered: int = 0
    ok: int = 0
    errors: int = 0
    late: int = 0
    # The last second whose requests in flight are known, and how many they were.
    seen: int = -1
    open: int = 0
    packed: tuple[bytes, int, int, int] = (b"", 0, 0, 0)

    def add(self, count: Count) -> None:
        """Count what a worker handed over."""
        self.offered += count.offered
        self.ok += count.ok
        self.errors += count.failed
        self.late += count.late
        if count.histogram.total:
            self._merge(count.histogram)

    def _merge(self, more: Histogram) -> None:
        merged = self.histogram()
        merged.add(more)
        self.packed = _packed(merged)

    def see(self, second: int, open_: int) -> None:
        """Count the requests in flight of one process at the end of a second."""
        if second > self.seen:
            self.seen, self.open = second, 0
        if second == self.seen:
            self.open += open_

    def join(self, later: Step) -> None:
        """Count the step that follows as well."""
        self.offered += later.offered
        self.ok += later.ok
        self.errors += later.errors
        self.late += later.late
        if later.seen >= 0:
            self.seen, self.open = later.seen, later.open
        self._merge(later.histogram())

    def histogram(self) -> Histogram:
        """Return the latencies."""
        return _unpacked(self.packed)


def _packed(histogram: Histogram) -> tuple[bytes, int, int, int]:
    numbers = array("Q", (number for pair in histogram.counts.items() for number in pair))
    return numbers.tobytes(), histogram.min, histogram.max, histogram.sum


def _unpacked(packed: tuple[bytes, int, int, int]) -> Histogram:
    numbers = array("Q")
    numbers.frombytes(packed[0])
    counts = dict(zip(numbers[::2], numbers[1::2]))
    return Histogram(counts, sum(numbers[1::2]), *packed[1:])


class Series:
    """A stage over time, in steps of whole seconds: of one second up to an hour."""

    def __init__(self) -> None:
        self.step_s = 1
        self.steps: dict[int, Step] = {}

    def add(self, second: int, count: Count) -> None:
        """Count what a worker handed over for a second."""
        self._at(second).add(count)

    def see(self, second: int, open_: int) -> None:
        """Count the requests in flight of one process at the end of a second."""
        self._at(second).see(second, open_)

    def _at(self, second: int) -> Step:
        while second // self.step_s >= MOST_STEPS:
            self._halve()
        return self.steps.setdefault(second // self.step_s, Step())

    def _halve(self) -> None:
        self.step_s *= 2
        halved: dict[int, Step] = {}
        for number in sorted(self.steps):
            step = self.steps[number]
            if number // 2 in halved:
                halved[number // 2].join(step)
            else:
                halved[number // 2] = step
        self.steps = halved

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield the rows ``seconds`` of a stage's result, one at a time: together they are large."""
        for number in sorted(self.steps):
            step = self.steps[number]
            yield {
                "t": number * self.step_s,
                "offered": step.offered,
                "ok": step.ok,
                "errors": step.errors,
                "late": step.late,
                "open": step.open,
                "histogram": step.histogram().to_json(),
            }
