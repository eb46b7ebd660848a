# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a unit has written into the journal since a cursor, in bounded time and size, with its gaps.

Rotation keeps entries; what takes them away is the limit of the journal's size (vacuum), a boot where the journal is in
memory, and journald's own limit of entries that one unit may write in some time. All are told: what is missing cannot
be counted. Nothing here goes by the clock, which may be wrong, or be set right at any moment: a place in the journal is
that of an entry, and one of our own, written for this, proves each time that the journal keeps what it gets.
"""

from __future__ import annotations

import json
import os
import re
import selectors
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Any

from ..visible_text import told
from . import log_socket

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
_BOOT = re.compile(r";b=([0-9a-f]{32})(?:;|$)")
# Whose our own entries are: as HAProxy's, of facility local0 and priority info (16 * 8 + 6).
MARK = "tfserving-calls"
_PRIORITY = 134
# journald takes some milliseconds for an entry; more where a whole queue is before it.
MARK_S = 3.0
_PAUSE_S = 0.05
LOST = "has lost its place in the journal, whose entries were removed or whose clock was set; it begins anew"


@dataclass(frozen=True)
class Entry:
    """One entry: its text, its cursor, and whether journald itself wrote it."""

    message: str
    cursor: str
    is_journalds: bool = False


@dataclass(frozen=True)
class Read:
    """What was read: entries of the unit, the cursor of the last one, what is missing, and whether more is there."""

    entries: Sequence[Entry]
    cursor: str
    gap: str = ""
    behind: bool = False


def place(path: str = log_socket.PATH, most_s: float = MARK_S) -> str:
    """Write an entry into the journal, as HAProxy does, and return its cursor.

    Raises RuntimeError, in one sentence, if the journal does not keep it.
    """
    text = f"a look at the calls, {uuid.uuid4().hex}"
    until = time.monotonic() + most_s
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
            log.settimeout(most_s)
            log.connect(path)
            log.send(f"<{_PRIORITY}>{MARK}: {text}".encode())
    except OSError as error:
        raise RuntimeError(f"the journal cannot be written ({path}: {error.strerror or error})") from error
    while True:
        for line in Lines([*_JOURNALCTL, f"MESSAGE={text}"], most_s=most_s):
            entry = _entry(line)
            if entry:
                return entry.cursor
        if time.monotonic() > until:
            raise RuntimeError(
                "the journal does not keep what it gets (look at Storage and MaxLevelStore in journald.conf)"
            )
        time.sleep(_PAUSE_S)


def command(cursor: str, unit: str = UNIT) -> list[str]:
    """Return the command that prints the entries of a unit from a cursor on, and our own, and journald's on it."""
    return [
        *_JOURNALCTL,
        f"--cursor={cursor}",
        f"_SYSTEMD_UNIT={unit}",
        "+",
        f"SYSLOG_IDENTIFIER={MARK}",
        "+",
        *("_TRANSPORT=driver", f"MESSAGE_ID={DROPPED}"),
    ]


_JOURNALCTL = (
    *("journalctl", "--quiet", "--no-pager", "--output=json"),
    "--output-fields=MESSAGE,SYSLOG_IDENTIFIER,_SYSTEMD_UNIT,_TRANSPORT",
)


def read(cursor: str, here: str, unit: str = UNIT) -> Read:
    """Return what the unit has written after the entry of a cursor.

    :param here: the cursor of an entry that has just been written (``place``), where reading begins anew if the other
        one is lost; empty for none.

    Raises RuntimeError, in one sentence, if the journal cannot be read.
    """
    if not _CURSOR.fullmatch(cursor):
        return Read([], here, LOST)
    lines = Lines(command(cursor, unit))
    return of_lines(lines, cursor, here, unit, lambda: lines.is_cut)


def of_lines(lines: Any, cursor: str, here: str, unit: str, is_cut: Any = lambda: False) -> Read:
    """Return what lines of JSON hold.

    Where the entry of the cursor is not the first of them, or that of ``here`` not among them, they may be any, counted
    ones too. So none of them is taken.
    """
    entries: list[Entry] = []
    last, dropped, is_here = "", 0, not here
    for line in lines:
        entry = _entry(line, unit)
        if entry is None:
            continue
        if not last and entry.cursor != cursor:
            break
        if entry.is_journalds and last:
            dropped += _dropped(entry.message, unit)
        elif last:
            entries.append(entry)
        last = entry.cursor
        is_here = is_here or last == here
    if is_cut():
        # More is there. Before the entry of the cursor has come, everything is.
        return Read(entries, last or cursor, _told(dropped, unit), True)
    if not last or not is_here:
        return Read([], here or cursor, LOST)
    return Read(entries, last, _told(dropped, unit))


def has_booted(before: str, after: str) -> bool:
    """Return whether entries of two cursors are of different boots."""
    boots = [found[1] for found in map(_BOOT.search, (before, after)) if found]
    return len(boots) == 2 and boots[0] != boots[1]


def _told(dropped: int, unit: str) -> str:
    return f"has lost {dropped:,} lines to journald's limit (LogRateLimitBurst of {unit})" if dropped else ""


def _entry(line: bytes, unit: str = "") -> Entry | None:
    """Return an entry of the unit, of journald, or our own, without its text; None for anything else."""
    try:
        found = json.loads(line)
        message, cursor = found["MESSAGE"], found["__CURSOR"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    # The transport is journald's own word, which no program can forge.
    is_journalds = found.get("_TRANSPORT") == "driver"
    if not isinstance(cursor, str) or not _CURSOR.fullmatch(cursor):
        return None
    if not is_journalds and found.get("_SYSTEMD_UNIT") != unit:
        return Entry("", cursor) if found.get("SYSLOG_IDENTIFIER") == MARK else None
    # Text that is none stands there as a list of bytes, and too long a one as null: no call, but a place.
    return Entry(message if isinstance(message, str) else "", cursor, is_journalds)


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
