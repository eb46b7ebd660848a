# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Reads the kernel log of this boot, or a saved one."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ..disk import plain_files
from ..host.run import Run

# Of a longer log only the end is read.
MOST_LINES, MOST_BYTES = 100_000, 16 * 1024 * 1024
JOURNAL = ["journalctl", "--dmesg", "--boot", "--no-pager", "--quiet", "--output=cat", f"--lines={MOST_LINES}"]

# The first message of a kernel, except for a few about its processors: "Linux version 6.8.0-51-generic (...) ...".
_BOOT = re.compile(r"\bLinux version [0-9]+\.[0-9]")
# Colours that "dmesg --color=always" writes into a file, one in the middle of "NVRM: Xid".
_COLOUR = re.compile(r"\x1b\[[0-9;]{0,16}m")
# journalctl's own messages: "-- No entries --", "-- Journal begins at ...".
_NOTE = re.compile(r"-- .*|No journal (files|boot entry) .*|Hint: .*")


def read(run: Run, saved: str | None = None) -> list[str] | None:
    """Return the lines of the log, or of the file ``saved`` if given; None if no log can be read."""
    return (_file(saved) if saved else _live(run)) or None


def is_boot(line: str) -> bool:
    """Return whether this line is among the first of a kernel."""
    return bool(_BOOT.search(line))


def has_boot(lines: Iterable[str]) -> bool:
    """Return whether a log reaches back to a boot; the kernel's own buffer is a ring, and journals are truncated."""
    return any(map(is_boot, lines))


def _live(run: Run) -> list[str]:
    """Ask the journal first, which keeps more. A journal without kernel messages is empty and reports no error."""
    journal = _answer(run, JOURNAL)
    if has_boot(journal):
        return journal
    ring = _answer(run, ["dmesg"])
    return ring if has_boot(ring) or not journal else journal


def _answer(run: Run, command: list[str]) -> list[str]:
    status, out, _err = run(command)
    return _lines(out[-MOST_BYTES:], len(out) > MOST_BYTES) if status == 0 else []


def _file(path: str) -> list[str]:
    try:
        content, is_cut = plain_files.ending(path, MOST_BYTES)
    except OSError:
        return []
    return _lines(content.decode("utf-8", "replace"), is_cut)


def _lines(text: str, is_cut: bool) -> list[str]:
    """Return the kernel's own lines; without the first if the text was cut."""
    lines = _COLOUR.sub("", text).split("\n")
    return [line for line in (lines[1:] if is_cut else lines) if line.strip() and not _NOTE.match(line)]
