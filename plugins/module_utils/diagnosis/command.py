# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Programs of the host, limited in time and output."""

from __future__ import annotations

import os
import selectors
import subprocess
import time
from typing import Callable, Optional

MOST_BYTES = 4 << 20
SECONDS = 3.0
_PIECE = 1 << 16

Ask = Callable[[list[str]], Optional[str]]


def ask(arguments: list[str]) -> str | None:
    """Return what a program prints, the last of it where that is too much: the newest lines of a log come last.

    Raises RuntimeError if it fails, TimeoutExpired if it hangs.
    """
    try:
        # Not run_command, which limits neither time nor output.
        process = subprocess.Popen(  # pylint: disable=ansible-bad-function
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "LC_ALL": "C"},
        )
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        output, remarks = _read(process, time.monotonic() + SECONDS)
        code = process.wait(timeout=SECONDS)
    finally:
        # One that hangs in the kernel survives this; nobody waits for it.
        process.kill()
        process.poll()
    if code != 0:
        raise RuntimeError(f"{arguments[0]} ended with code {code}: {' '.join(remarks.split()) or 'no message'}")
    return output


def _read(process: subprocess.Popen[bytes], until: float) -> list[str]:
    """Return the ends of both streams once they are closed. Raises TimeoutExpired."""
    assert process.stdout
    assert process.stderr
    with process.stdout, process.stderr, selectors.DefaultSelector() as waiting:
        ends = {each.fileno(): bytearray() for each in (process.stdout, process.stderr)}
        for handle in ends:
            waiting.register(handle, selectors.EVENT_READ)
        while waiting.get_map():
            left = until - time.monotonic()
            ready = waiting.select(left) if left > 0 else []
            if not ready:
                raise subprocess.TimeoutExpired(process.args, SECONDS)
            for key, _events in ready:
                if not _kept(ends[key.fd], os.read(key.fd, _PIECE)):
                    waiting.unregister(key.fd)
        return [end[-MOST_BYTES:].decode("utf-8", "replace") for end in ends.values()]


def _kept(end: bytearray, piece: bytes) -> bool:
    """Add a piece, and drop the oldest now and then; return whether there was one."""
    end += piece
    if len(end) > 2 * MOST_BYTES:
        del end[:-MOST_BYTES]
    return bool(piece)
