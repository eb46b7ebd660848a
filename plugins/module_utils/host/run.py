# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Programs of the host: the signature of functions that start them, and runs limited in time and output."""

from __future__ import annotations

import os
import selectors
import subprocess
import time
from contextlib import suppress
from typing import Callable

# (arguments) -> (exit status, standard output, standard error): AnsibleModule.run_command, or a stand-in.
Run = Callable[[list[str]], tuple[int, str, str]]

_PIECE = 1 << 16


class EndlessError(Exception):
    """A program prints more than it may."""


def bounded(arguments: list[str], seconds: float, most: int, ends: bool = False) -> tuple[int, str, str] | None:
    """Run a program as ``finished`` says, and return what a ``Run`` does; None if it is not installed.

    Raises OSError if it cannot be started, and what ``finished`` raises.
    """
    try:
        # Not run_command, which limits neither time nor output.
        process = subprocess.Popen(  # pylint: disable=ansible-bad-function
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # Decimal points, whatever the host's locale.
            env={**os.environ, "LC_ALL": "C"},
        )
    except (FileNotFoundError, NotADirectoryError):
        return None
    status, (output, remarks) = finished(process, seconds, most, ends)
    return status, output, remarks


def finished(
    process: subprocess.Popen[bytes], seconds: float, most: int, ends: bool = False, data: bytes = b""
) -> tuple[int, list[str]]:
    """Return a program's exit status and what it printed on each of its pipes.

    Raises EndlessError if a pipe brings more than ``most`` bytes, unless their ``ends`` are enough, and TimeoutExpired.
    ``data`` for its standard input has to fit into a pipe.
    """
    try:
        if process.stdin:
            # One that does not listen has made up its mind before.
            with suppress(BrokenPipeError), process.stdin as pipe:
                pipe.write(data)
        texts = _read(process, seconds, most, ends)
        # A process may close its pipes and continue.
        return process.wait(timeout=seconds), texts
    finally:
        # One that hangs in the kernel, or in a wedged driver, survives this. Nobody waits for it; init adopts it.
        process.kill()
        process.poll()


def _read(process: subprocess.Popen[bytes], seconds: float, most: int, ends: bool) -> list[str]:
    until = time.monotonic() + seconds
    pipes = [pipe for pipe in (process.stdout, process.stderr) if pipe]
    texts = {pipe.fileno(): bytearray() for pipe in pipes}
    try:
        with selectors.DefaultSelector() as waiting:
            for handle in texts:
                waiting.register(handle, selectors.EVENT_READ)
            while waiting.get_map():
                left = until - time.monotonic()
                # One that prints for ever is always ready.
                ready = waiting.select(left) if left > 0 else []
                if not ready:
                    raise subprocess.TimeoutExpired(process.args, seconds)
                for key, _events in ready:
                    if not _more(texts[key.fd], os.read(key.fd, _PIECE), most, ends):
                        waiting.unregister(key.fd)
    finally:
        for pipe in pipes:
            pipe.close()
    return [text[-most:].decode("utf-8", "replace") for text in texts.values()]


def _more(text: bytearray, piece: bytes, most: int, ends: bool) -> bool:
    """Add a piece, or raise EndlessError; return whether there was one."""
    text += piece
    if len(text) > most and not ends:
        raise EndlessError
    if len(text) > 2 * most:
        # Now and then, so that no byte is moved often.
        del text[:-most]
    return bool(piece)
