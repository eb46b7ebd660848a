# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Starts nvidia-smi, within bounds of time and size, and says in a sentence what became of it.

https://docs.nvidia.com/deploy/nvidia-smi/, "Return Value".
"""

from __future__ import annotations

import os
import re
import selectors
import subprocess
import time

from ansible_collections.tfserving.fleet.plugins.module_utils.visible_text import told

VENDOR = "0x10de"

# Sixteen GPUs with all their clocks are 200 KB.
MOST_BYTES = 4 << 20
MOST_SAID = 300

# The exit code for a damaged info ROM (serial numbers and error counts): a warning, all answers are there.
_INFOROM_CORRUPTED = 14

# Branch 535, asked for --version, and branch 470, asked for compute_cap: neither says anything of GPUs.
_UNKNOWN_OPTION = re.compile(r"is not recognized|Invalid combination of input arguments")
_UNKNOWN_FIELD = re.compile(r'Field "(?P<field>[^"]+)" is not a valid field')


class NvidiaSmiError(RuntimeError):
    """nvidia-smi is there and did not answer; the text says why, on one line. ``code`` is None where it gave none."""

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(told(message, MOST_SAID + 100))
        self.code = code

    @property
    def unknown_field(self) -> str | None:
        """The field that this driver does not know, where that is all it complained of."""
        match = _UNKNOWN_FIELD.search(str(self))
        return match["field"] if match else None

    @property
    def unknown_option(self) -> bool:
        """Whether this driver has no such question."""
        return _UNKNOWN_OPTION.search(str(self)) is not None


def run(arguments: tuple[str, ...], timeout: float) -> str | None:
    """Start nvidia-smi and return what it printed, remarks on standard error last; None where it is not installed.

    Raises NvidiaSmiError when it fails, prints without end or takes more than ``timeout`` seconds.
    """
    asked = f"nvidia-smi {arguments[0].partition('=')[0]}"
    try:
        process = subprocess.Popen(
            ["nvidia-smi", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # Numbers with a point, whatever the host speaks.
            env={**os.environ, "LC_ALL": "C"},
        )
    except OSError:
        return None
    try:
        output, remarks = _read(process, time.monotonic() + timeout)
        # Both streams may be closed by a process that stays.
        code = process.wait(timeout=timeout)
    except (_Endless, subprocess.TimeoutExpired, TimeoutError) as error:
        # A process that waits inside a wedged driver outlives even this. It is not waited for: the host's facts must
        # not hang with it, and init takes it over.
        process.kill()
        if isinstance(error, _Endless):
            raise NvidiaSmiError(f"{asked} printed more than {MOST_BYTES >> 20} MiB") from None
        raise NvidiaSmiError(f"{asked} did not answer within {timeout:g} seconds") from None
    return interpreted(asked, code, output, remarks)


def interpreted(asked: str, code: int, output: str, remarks: str) -> str:
    """Return the answer of a program that has ended. Raises NvidiaSmiError where it failed."""
    answer = output if not output or output.endswith("\n") else f"{output}\n"
    if code in (0, _INFOROM_CORRUPTED):
        return answer + remarks
    # It complains on either stream.
    said = " ".join((answer + remarks).split()) or "without a word"
    raise NvidiaSmiError(f"{asked} failed with code {code}: {said[: MOST_SAID + 1]}", code)


class _Endless(Exception):  # noqa: N818 (it never leaves this file)
    """The program printed more than anybody asked for."""


def _read(process: subprocess.Popen, until: float) -> list[str]:
    """Return what the program prints on both streams until it closes them. Raises TimeoutError and _Endless."""
    texts = {process.stdout: b"", process.stderr: b""}
    with selectors.DefaultSelector() as open_streams:
        for stream in texts:
            open_streams.register(stream, selectors.EVENT_READ)
        while open_streams.get_map():
            ready = open_streams.select(max(0, until - time.monotonic()))
            if not ready:
                raise TimeoutError
            for key, _events in ready:
                piece = os.read(key.fd, 1 << 16)
                texts[key.fileobj] += piece
                if not piece:
                    open_streams.unregister(key.fileobj)
                if len(texts[key.fileobj]) > MOST_BYTES:
                    raise _Endless
    for stream in texts:
        stream.close()
    return [text.decode("utf-8", errors="replace") for text in texts.values()]
