# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The signals that end a stage early, with its result so far."""

from __future__ import annotations

import signal
from typing import Any


class Signals:
    """Says whether SIGINT or SIGTERM came; the handlers of before are back behind the ``with``."""

    def __init__(self) -> None:
        self.came = False

    def __enter__(self) -> Signals:
        numbers = (signal.SIGINT, signal.SIGTERM)
        self._previous = {number: signal.signal(number, self._note) for number in numbers}
        return self

    def _note(self, number: int, frame: Any) -> None:
        self.came = True

    def __exit__(self, *rest: Any) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
