# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Programs that the collector asks, each limited in time and in what it may print."""

from __future__ import annotations

import os
import selectors
import subprocess
import time

SECONDS = 3.0
MOST_BYTES = 1 << 20


class ProgramError(RuntimeError):
    """A program that could not be asked; one sentence."""


def run(arguments: list[str], data: bytes = b"", seconds: float = SECONDS, most: int = MOST_BYTES) -> tuple[int, str]:
    """Return a program's exit status and output; what it says on standard error goes to nobody.

    Raises ProgramError if it is missing, slow or prints more than ``most`` bytes. ``data`` for its standard input has
    to fit into a pipe.
    """
    try:
        process = subprocess.Popen(  # pylint: disable=ansible-bad-function  # no AnsibleModule is here
            arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "HOME": "/nonexistent"},
        )  # fmt: skip
    except OSError as error:
        raise ProgramError(f"{arguments[0]} could not be started ({error.strerror})") from error
    try:
        _tell(process, data)
        output = _read(process, arguments[0], time.monotonic() + seconds, most)
        return process.wait(timeout=seconds), output.decode("utf-8", "replace")
    except (TimeoutError, subprocess.TimeoutExpired) as error:
        raise ProgramError(f"{arguments[0]} did not answer within {seconds:g} s") from error
    finally:
        # One that hangs in the kernel survives this; nobody waits for it.
        process.kill()
        process.poll()


def _tell(process: subprocess.Popen[bytes], data: bytes) -> None:
    assert process.stdin
    try:
        with process.stdin as pipe:
            pipe.write(data)
    except BrokenPipeError:
        pass  # it has made up its mind before


def _read(process: subprocess.Popen[bytes], name: str, until: float, most: int) -> bytes:
    assert process.stdout
    found = b""
    with process.stdout as pipe, selectors.DefaultSelector() as waiting:
        waiting.register(pipe, selectors.EVENT_READ)
        while True:
            if not waiting.select(max(0.0, until - time.monotonic())):
                raise TimeoutError
            piece = os.read(pipe.fileno(), 1 << 16)
            found += piece
            if not piece:
                return found
            if len(found) > most:
                raise ProgramError(f"{name} printed more than {most >> 10} KiB")
