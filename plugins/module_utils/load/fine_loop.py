# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""An event loop that wakes up when it should: the common one sleeps in whole milliseconds."""

from __future__ import annotations

import asyncio
import ctypes
import select
from contextlib import suppress
from selectors import EpollSelector
from typing import Any

# prctl(2): how far the kernel may put off the end of a sleep. 50 us by default; 1 us costs a few more wake-ups.
PR_SET_TIMERSLACK = 29
SLACK_NS = 1000


class FineSelector(EpollSelector):
    """Waits to the microsecond. epoll_wait takes whole milliseconds, and Python rounds them up; select does not."""

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is not None and timeout > 0:
            select.select([self.fileno()], (), (), timeout)
            timeout = 0
        return super().select(timeout)


def fine_loop() -> asyncio.SelectorEventLoop:
    """Return a new event loop that waits to the microsecond, and ask the kernel to wake this thread up in time."""
    loop = asyncio.SelectorEventLoop(FineSelector())
    with suppress(OSError, AttributeError):  # without it timers are 50 us less exact, no more
        ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, SLACK_NS, 0, 0, 0)
    return loop
