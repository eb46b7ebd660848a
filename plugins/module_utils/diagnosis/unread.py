# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What could not be read, and why. Nothing that a host, its files or its programs do ends the collection."""

from __future__ import annotations

import errno
import os
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from ..errors import WishError
from ..visible_text import told

T = TypeVar("T")
MOST_NOTES = 200
LONGEST = 300


class Unread:
    """Notes of sources that could not be read."""

    def __init__(self) -> None:
        self.notes: list[dict[str, str]] = []

    def note(self, source: str, why: object) -> None:
        """Keep why a source could not be read."""
        row = {"source": told(source, LONGEST), "why": told(str(why), LONGEST)}
        if row not in self.notes and len(self.notes) < MOST_NOTES:
            self.notes.append(row)

    def attempt(self, source: str, read: Callable[[], T]) -> T | None:
        """Return what ``read`` returns; None, with a note, if it fails in any way."""
        try:
            return read()
        except WishError as error:
            self.note(source, error)
        except Exception as error:
            # A file of another kernel, an answer of another release: whatever it is, the rest is still worth having.
            self.note(source, words(error))
        return None

    def gathered(self, works: Mapping[str, Callable[[], Any]], seconds: float) -> dict[str, Any]:
        """Return what the works return, side by side, within ``seconds`` altogether; None for those that are late."""
        answers: dict[str, Any] = {}
        threads = []
        for name, work in works.items():
            threads.append(threading.Thread(target=self._work, args=(answers, name, work), daemon=True))
            threads[-1].start()
        end = time.monotonic() + seconds
        for thread in threads:
            # Nobody waits for one that hangs: it ends with the module.
            thread.join(max(0.0, end - time.monotonic()))
        found = dict(answers)
        for name in works:
            if name not in found:
                self.note(name, f"it has not answered within {seconds:g} s")
        return {name: found.get(name) for name in works}

    def _work(self, answers: dict[str, Any], name: str, work: Callable[[], Any]) -> None:
        answers[name] = self.attempt(name, work)


def words(error: Exception) -> str:
    """Return why something could not be read, as the end of a sentence."""
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno) if error.errno in errno.errorcode else str(error)
    if isinstance(error, subprocess.TimeoutExpired):
        return f"it has not answered within {error.timeout:g} s"
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
