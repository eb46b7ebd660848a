# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a unit has written into the journal since a cursor, in bounded time and size, with its gaps.

Rotation keeps entries; what takes them away is the limit of the journal's size (vacuum), and journald's own limit of
entries that one unit may write in half a minute. Both are told: what is missing cannot be counted.
"""

from __future__ import annotations

import json
import os
import re
import selectors
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Any

from ..visible_text import told

UNIT = "haproxy.service"
# journald's own words about a unit that writes too much (sd-messages.h, SD_MESSAGE_JOURNAL_DROPPED).
DROPPED = "a596d6fe7bfa4994828e72309e95d61e"
_DROPPED = re.compile(r"Suppressed ([0-9]{1,12}) messages? from (\S+)")
# Some 100,000 calls: several times what comes between two looks of a roll-out on a busy gateway.
MOST_BYTES = 128 << 20
MOST_S = 8.0
# An entry of HAProxy takes 2 KB at most; others are not read.
LONGEST = 32 << 10
_CHUNK = 1 << 18
_CURSOR = re.compile(r"[A-Za-z0-9=;]{1,400}")
_MICRO = 1_000_000


@dataclass(frozen=True)
class Entry:
    """One entry: its text, its cursor, when it was received in microseconds, and whether journald itself wrote it."""

    message: str
    cursor: str
    at_us: int
    is_journalds: bool = False


@dataclass(frozen=True)
class Read:
    """What was read: entries of the unit, the cursor of the last one, what is missing, and whether more is there."""

    entries: Sequence[Entry]
    cursor: str
    gap: str = ""
    behind: bool = False


def command(cursor: str, since: int, unit: str = UNIT) -> list[str]:
    """Return the command that prints the entries of a unit, that of the cursor included, and journald's own on it."""
    place = [f"--cursor={cursor}"] if cursor else [f"--since=@{since}"]
    return [
        *("journalctl", "--quiet", "--no-pager", "--output=json", *place),
        "--output-fields=MESSAGE,_SYSTEMD_UNIT,_TRANSPORT",
        f"_SYSTEMD_UNIT={unit}",
        "+",
        *("_TRANSPORT=driver", f"MESSAGE_ID={DROPPED}"),
    ]


def read(cursor: str, since: int, unit: str = UNIT, arguments: Sequence[str] = ()) -> Read:
    """Return what the unit has written after the entry of a cursor, or from a second of the epoch on without one.

    Raises RuntimeError, in one sentence, if the journal cannot be read.
    """
    lines = Lines([*command(cursor if _CURSOR.fullmatch(cursor) else "", since, unit), *arguments])
    return of_lines(lines, cursor, since, unit, lambda: lines.is_cut)


def of_lines(lines: Any, cursor: str, since: int, unit: str, is_cut: Any = lambda: False) -> Read:
    """Return what lines of JSON hold; without the entry of the cursor before them, something is missing."""
    entries: list[Entry] = []
    last, gap, dropped, is_first = cursor, "", 0, True
    for line in lines:
        entry = _entry(line, unit)
        if entry is None:
            continue
        if is_first and cursor:
            is_first = False
            if entry.cursor == cursor:
                continue
            gap = "has lost lines of its journal, which were removed before they were counted"
        last = entry.cursor
        if entry.is_journalds:
            dropped += _dropped(entry.message, unit)
        elif cursor or entry.at_us >= since * _MICRO:
            entries.append(entry)
    if cursor and is_first and not is_cut():
        # Nothing at all, not even the entry that was there. What comes next stands behind the cursor all the same.
        return Read([], cursor, "has lost its journal")
    if dropped:
        more = f"has lost {dropped:,} lines to journald's limit (LogRateLimitBurst of {unit})"
        gap = f"{gap}; {more}" if gap else more
    return Read(entries, last, gap, is_cut())


def _entry(line: bytes, unit: str) -> Entry | None:
    """Return an entry of the unit, or of journald; None for anything else."""
    try:
        found = json.loads(line)
        message, cursor, at = found["MESSAGE"], found["__CURSOR"], int(found["__REALTIME_TIMESTAMP"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    # The transport is journald's own word, which no program can forge.
    is_journalds = found.get("_TRANSPORT") == "driver"
    if not isinstance(cursor, str) or not _CURSOR.fullmatch(cursor):
        return None
    if not is_journalds and found.get("_SYSTEMD_UNIT") != unit:
        return None
    # Text that is none stands there as a list of bytes, and too long a one as null: no call, but a place.
    return Entry(message if isinstance(message, str) else "", cursor, at, is_journalds)


def _dropped(message: str, unit: str) -> int:
    found = _DROPPED.search(message)
    return int(found[1]) if found and os.path.basename(found[2]) == unit else 0


class Lines:
    """The lines that a command prints, as long as they come within ``most_s`` and ``most_bytes``.

    ``is_cut`` says whether there was more. Lines that are longer than any of HAProxy's are left out.
    """

    def __init__(self, arguments: Sequence[str], most_bytes: int = MOST_BYTES, most_s: float = MOST_S) -> None:
        self.arguments, self.most_bytes, self.most_s = list(arguments), most_bytes, most_s
        self.is_cut = False

    def __iter__(self) -> Iterator[bytes]:
        environment = {**os.environ, "LC_ALL": "C", "SYSTEMD_COLORS": "0"}
        try:
            program = subprocess.Popen(
                self.arguments,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment,
            )
        except OSError as error:
            raise RuntimeError(f"the journal cannot be read ({self.arguments[0]}: {error.strerror})") from error
        with program:
            assert program.stdout
            assert program.stderr
            try:
                yield from self._lines(program.stdout)
                if not self.is_cut and program.wait():
                    words = program.stderr.read(2000).decode("utf-8", "replace").strip()
                    raise RuntimeError(f"the journal cannot be read ({told(words, 300) or 'no reason was given'})")
            finally:
                with suppress(OSError):
                    program.kill()

    def _lines(self, stream: IO[bytes]) -> Iterator[bytes]:
        until, left, rest = time.monotonic() + self.most_s, self.most_bytes, b""
        with selectors.DefaultSelector() as selector:
            selector.register(stream, selectors.EVENT_READ)
            while True:
                if left <= 0 or time.monotonic() > until or not selector.select(max(until - time.monotonic(), 0)):
                    self.is_cut = True
                    return
                chunk = os.read(stream.fileno(), _CHUNK)
                left -= len(chunk)
                *whole, rest = (rest + chunk).split(b"\n")
                yield from (line for line in whole if len(line) <= LONGEST)
                if len(rest) > LONGEST:
                    # The end of it is no JSON, and so is no entry.
                    rest = b"\0"
                if not chunk:
                    return
