# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""An end for load that nobody watches any more: the controller was interrupted, killed, or cut off.

Whoever watches touches ``OUT/alive`` again and again. Where that file is at the start, its age is watched; who runs the
program by hand has none, and is left alone. The caller's key, which whoever watches puts beside OUT and removes
afterwards, does not stay behind either.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

NAME = "alive"
KEY = "caller-key.pem"
# The controller asks once a second; a busy one, or one behind a slow network, is late by some seconds.
PATIENCE_S = 20.0
LOOK_S = 1.0


def watch(out: Path, end: Callable[[], None] | None = None, sleep: Callable[[float], None] = time.sleep) -> None:
    """Interrupt this program, as SIGTERM does, when nobody has touched ``out``/alive for a while."""
    file = out / NAME
    if file.exists():
        threading.Thread(target=_until_left, args=(file, end or _terminate, sleep), daemon=True).start()


def is_left(file: Path, now: float) -> bool:
    """Return whether nobody watches any more; ``now`` is the time in UNIX seconds."""
    try:
        return now - file.stat().st_mtime > PATIENCE_S
    except OSError:  # removed: whoever watched has given up
        return True


def _until_left(file: Path, end: Callable[[], None], sleep: Callable[[float], None]) -> None:
    while not is_left(file, time.time()):
        sleep(LOOK_S)
    with suppress(OSError):
        os.unlink(file.parent.parent / KEY)
    end()


def _terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)
