# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Questions that may take seconds (the server, nvidia-smi), asked beside the samples so that these stay in time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any


def in_thread(work: Callable[[], None]) -> None:
    """Run ``work`` beside; nobody waits for it, not even the end of the module."""
    threading.Thread(target=work, daemon=True).start()


class Poll:
    """Asks every ``period_s`` at most, and never while an answer is still due. No answer counts as None."""

    def __init__(
        self, ask: Callable[[], Any], period_s: float, start: Callable[[Callable[[], None]], None] = in_thread
    ) -> None:
        self.ask = ask
        self.period_s = period_s
        self.start = start
        self._asked: float | None = None
        self._busy = False
        self._answer: Any = None

    def taken(self, now: float) -> Any:
        """Return an answer that has arrived since the last call, or None; ask again if it is time."""
        answer, self._answer = self._answer, None
        if not self._busy and (self._asked is None or now - self._asked >= self.period_s):
            self._asked, self._busy = now, True
            self.start(self._work)
        return answer

    def _work(self) -> None:
        try:
            self._answer = self.ask()
        finally:
            self._busy = False
