# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The open loop: each request is sent at its intended moment, whatever became of those before.

A closed loop, which waits for replies, sends less while a server stalls and so hides the stall. Here latency counts
from the intended moment, and a request that cannot be sent is an error, never dropped. The engine knows neither sockets
nor event loops: whoever drives it gives it a clock and a way to send, which in tests are simulated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Optional

from .tally import UNANSWERED, Key, Tally

# A request counts as sent late from here on, in s: the granularity of timers in common event loops.
LATE = 0.001
# Requests sent in one go before replies get their turn, when many are due at once: about 2 ms of work.
BURST = 32
# A check of a large reply costs more than sending it, so the first ones are checked and then a sample.
LARGE_REPLY = 16 * 1024
ALWAYS_CHECKED = 100
ONE_IN = 16

Check = Callable[[bytes], Optional[str]]


@dataclass(frozen=True)
class Terms:
    """What a process needs to know of a stage: ``checks`` and ``items`` by number of the request, times in s."""

    checks: Sequence[Check | None]
    items: Sequence[int]
    warmup: float
    timeout: float
    most_open: int
    copies: Sequence[int] | None = None
    """How many calls each request is sent as, by its number; one each where it is None."""


class Whole:
    """A request of several calls, which has ended when the last of them has: with the first error among theirs."""

    __slots__ = ("error", "left")

    def __init__(self, left: int) -> None:
        self.left = left
        self.error: str | None = None


class Call:
    """A call in flight. Moments are those of the engine's clock; ``handle`` is the protocol's own."""

    __slots__ = ("deadline", "handle", "intended", "key", "number", "request", "whole")

    def __init__(self, number: int, intended: float, deadline: float, request: int, key: Key, whole: Whole) -> None:
        self.number = number
        self.whole = whole
        self.intended = intended
        self.deadline = deadline
        self.request = request
        self.key = key
        self.handle: Any = None


class Engine:
    """Sends the requests of a schedule through ``send`` and counts what becomes of them in a tally.

    ``send(call)`` must not block, and leads to exactly one ``finish(call, ...)``, at once or later; ``cancel(call)``
    gives a call up that has run out of time.
    """

    def __init__(
        self,
        schedule: Iterator[tuple[float, int]],
        terms: Terms,
        tally: Tally,
        clock: Callable[[], float],
        began: float,
    ) -> None:
        self._schedule = schedule
        self._terms = terms
        self._tally = tally
        self._clock = clock
        self._began = began
        self._open: dict[int, Call] = {}
        self._number = 0
        self._large = 0
        self._next = next(schedule, None)
        self.send: Callable[[Call], None]
        self.cancel: Callable[[Call], None]

    @property
    def open(self) -> int:
        """The number of requests in flight."""
        return len(self._open)

    def advance(self) -> float | None:
        """Send what is due, and return the moment at which to be called again; None when nothing is left to send."""
        for _ in range(BURST):
            if self._next is None:
                return None
            offset, request = self._next
            intended = self._began + offset
            if intended > self._clock():
                return intended
            self.offer(intended, request)
            self._next = next(self._schedule, None)
        return self._began + self._next[0] if self._next else None

    def stop(self) -> None:
        """Send nothing more."""
        self._next = None

    def offer(self, intended: float, request: int) -> None:
        """Send one request that was due at a moment."""
        terms = self._terms
        offset = intended - self._began
        key = (int(offset), offset >= terms.warmup)
        count = self._tally.at(key)
        count.offered += 1
        now = self._clock()
        if now - intended > LATE:
            count.late += 1
        if len(self._open) >= terms.most_open or now >= intended + terms.timeout:
            count.fail("not_sent")
            return
        count.sent += 1
        whole = Whole(terms.copies[request] if terms.copies else 1)
        for _ in range(whole.left):
            self._number += 1
            call = Call(self._number, intended, intended + terms.timeout, request, key, whole)
            self._open[call.number] = call
            self.send(call)

    def finish(self, call: Call, error: str | None, reply: bytes = b"") -> None:
        """Count a call that has ended: with a reply, or with an error in a word. One that was given up counts once."""
        now = self._clock()
        if self._open.pop(call.number, None) is None:
            return
        if now > call.deadline:
            error = "timeout"
        self._end(call, error or self._wrong(call, reply), now)

    def _end(self, call: Call, error: str | None, now: float) -> None:
        """Count a request when the last of its calls has ended."""
        whole = call.whole
        whole.left -= 1
        whole.error = error = whole.error or error
        if whole.left:
            return
        count = self._tally.at(call.key)
        if error is None:
            count.answered += 1
            count.ok += 1
            count.items += self._terms.items[call.request]
            count.histogram.record(int((now - call.intended) * 1e6 + 0.5))
        else:
            count.answered += error not in UNANSWERED
            count.fail(error)

    def _wrong(self, call: Call, reply: bytes) -> str | None:
        check = self._terms.checks[call.request]
        if check is None:
            return None
        if len(reply) > LARGE_REPLY:
            self._large += 1
            if self._large > ALWAYS_CHECKED and self._large % ONE_IN:
                return None
        return check(reply)

    def sweep(self) -> None:
        """Give up the calls that have run out of time. Deadlines are in the order of sending."""
        now = self._clock()
        while self._open:
            call = next(iter(self._open.values()))
            if call.deadline > now:
                return
            self._give_up(call, "timeout")

    def abandon(self) -> None:
        """Give up all calls, since the stage was interrupted."""
        for call in list(self._open.values()):
            self._give_up(call, "interrupted")

    def _give_up(self, call: Call, error: str) -> None:
        del self._open[call.number]
        self._end(call, error, self._clock())
        self.cancel(call)
