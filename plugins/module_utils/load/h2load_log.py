# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What h2load wrote of each request, turned into latencies from the intended moment.

A line of the log is the moment of sending (us since the epoch), the HTTP status (-1 for a stream that failed) and the
time until the end of the reply (us), in the order of the ends. It does not say which connection a request went over;
but all requests are the same, so the k-th that was sent is the one that was due k-th. The log is read twice and never
held: first the sends are counted by the millisecond, then each line gets its place among them.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from .engine import LATE
from .tally import Count, Series, Tally

FAILED = -1
# h2load's timers have steps of a millisecond (libev waits in epoll_wait, which counts in them), so a request that is
# sent within the millisecond after its moment is on time. Measured with 1.52: the median is 0.2 to 0.5 ms.
GRID_US = 1000
CELL_US = 1000
# After the last request is due: connecting, what is still in flight, and a busy host.
GRACE_S = 10.0
# Lines after which what was counted goes into the series, so that memory stays constant.
HANDED_OVER = 20_000


class Row(NamedTuple):
    """One line of the log; times are in us."""

    start: int
    status: int
    duration: int


@dataclass(frozen=True)
class Due:
    """What one process of h2load had to send: ``count`` requests at ``rate`` a second. Times are in s.

    Of a process that was ended early, ``count`` is 0: what it did not send was not due.
    """

    rate: float
    count: int
    seconds: float
    warmup: float
    timeout: float
    items: int


@dataclass
class Read:
    """What a log says of one process: requests in the warm-up and after it, lines, and requests without a line."""

    warm: Count = field(default_factory=Count)
    measured: Count = field(default_factory=Count)
    unsent: int = 0
    unreadable: int = 0


def rows(path: str) -> Iterator[Row | None]:
    """Yield the lines of a log, None for one that cannot be read: the last one of an h2load that was killed."""
    with open(path, "rb") as lines:
        for line in lines:
            yield row(line)


def row(line: bytes) -> Row | None:
    """Return a line of the log, None if it is none."""
    parts = line.split(b"\t")
    try:
        found = Row(int(parts[0]), int(parts[1]), int(parts[2]))
    except (ValueError, IndexError):
        return None
    return found if line.endswith(b"\n") and found.start > 0 and found.duration >= 0 else None


def first(path: str) -> int:
    """Return the moment of the first send in us since the epoch, 0 if there is none."""
    return min((each.start for each in rows(path) if each), default=0)


def count(path: str, due: Due, since: int, began: int, series: Series) -> Read:
    """Count what became of the requests of a log; over time in ``series``.

    ``since`` is the moment of its first send, ``began`` that of all processes, both in us since the epoch.
    """
    found, part = Read(), Tally()
    places = _places(path, since, due)
    sends, ends = _Seconds(), _Seconds()
    known = 0
    for each in rows(path):
        cell = (each.start - since) // CELL_US if each else -1
        if each is None or not 0 <= cell < len(places):
            found.unreadable += 1
            continue
        _count(part, each, intended(each.start, places[cell], since, due), due, began)
        places[cell] += 1
        sends.add((each.start - began) // 1_000_000)
        ends.add((each.start + each.duration - began) // 1_000_000)
        known += 1
        if not known % HANDED_OVER:
            _hand_over(part, found, series)
    found.unsent = max(due.count - known, 0)
    _count_unsent(part, due, known, (since or began) - began)
    _hand_over(part, found, series)
    for second, open_ in _open(sends, ends):
        series.see(second, open_)
    return found


def _places(path: str, since: int, due: Due) -> array[int]:
    """Return by the millisecond since the first send how many requests were sent before it."""
    longest_us = int((due.seconds + due.timeout + GRACE_S) * 1e6)
    places = array("I", bytes(array("I").itemsize * (longest_us // CELL_US + 2)))
    for each in rows(path):
        cell = (each.start - since) // CELL_US if each else -1
        if 0 <= cell < len(places) - 1:
            places[cell + 1] += 1
    before = 0
    for cell, sent in enumerate(places):
        before += sent
        places[cell] = before
    return places


def intended(start: int, place: int, first: int, due: Due) -> int:
    """Return the moment in us at which a request was due, by its place among all that the process sent."""
    return min(start, first + int(place * 1e6 / due.rate) + GRID_US)


def _count(tally: Tally, row: Row, moment: int, due: Due, began: int) -> None:
    latency = row.start + row.duration - moment
    second = (moment - began) / 1e6
    found = tally.at((int(second), second >= due.warmup))
    found.offered += 1
    found.sent += 1
    found.late += row.start - moment > LATE * 1e6
    found.answered += row.status != FAILED
    error = _error(row.status, latency, due)
    if error:
        found.fail(error)
        return
    found.ok += 1
    found.items += due.items
    found.histogram.record(latency)


def _error(status: int, latency: int, due: Due) -> str:
    if status == FAILED:
        return "connection"
    if latency > due.timeout * 1e6:
        return "timeout"
    return "" if 200 <= status < 300 else f"HTTP {status}"


def _count_unsent(tally: Tally, due: Due, known: int, offset: int) -> None:
    """Count the requests that are not in the log: those of connections that broke, which h2load does not open again."""
    for place in range(known, due.count):
        second = offset / 1e6 + place / due.rate
        found = tally.at((int(second), second >= due.warmup))
        found.offered += 1
        found.fail("connection")


def _hand_over(part: Tally, found: Read, series: Series) -> None:
    for (second, is_measured), counted in part.take():
        series.add(second, counted)
        (found.measured if is_measured else found.warm).add(counted)


class _Seconds:
    """Counts by the second, from 0 on."""

    def __init__(self) -> None:
        self.counts = array("L")

    def add(self, second: int) -> None:
        while len(self.counts) <= second:
            self.counts.append(0)
        self.counts[max(second, 0)] += 1


def _open(sends: _Seconds, ends: _Seconds) -> Iterator[tuple[int, int]]:
    """Yield the requests in flight at the end of each second."""
    open_ = 0
    for second in range(len(ends.counts)):
        open_ += (sends.counts[second] if second < len(sends.counts) else 0) - ends.counts[second]
        yield second, open_
