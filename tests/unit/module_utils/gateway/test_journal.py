# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The journal after a cursor: bounded, with its gaps, and nobody else's entries."""

from __future__ import annotations

import json
import re
import socket
import sys
import threading

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.gateway import journal
from patience import LONG_S

UNIT = "haproxy.service"


def cursor(number, boot="a"):
    return f"s=abc;i={number:x};b={boot * 32};m=1;t=2;x=3"


def entry(number, message="x", unit=UNIT, **more):
    return json.dumps(
        {
            "__CURSOR": cursor(number),
            "MESSAGE": message,
            "_SYSTEMD_UNIT": unit,
            "_TRANSPORT": "syslog",
            **more,
        }
    ).encode()


def dropped(number, count, unit=UNIT):
    message = f"Suppressed {count} messages from {unit}"
    return entry(number, message, "systemd-journald.service", _TRANSPORT="driver")


def mark(number):
    return entry(number, "a look at the calls, 77", "session-1.scope", SYSLOG_IDENTIFIER=journal.MARK)


def read(lines, last, here=""):
    return journal.of_lines(lines, last, here, UNIT)


def test_the_entry_of_the_cursor_is_the_first_and_does_not_count_again():
    found = read([entry(1, "old"), entry(2, "new")], cursor(1))
    assert ([each.message for each in found.entries], found.cursor, found.gap) == (["new"], cursor(2), "")


def test_entries_of_all_processes_of_the_unit_count():
    lines = [entry(1), entry(2, _PID="100"), entry(3, _PID="200"), entry(4, _PID="100")]
    assert len(read(lines, cursor(1)).entries) == 3


def test_our_own_entry_is_a_place_and_no_line():
    found = read([mark(1), entry(2), mark(3)], cursor(1), cursor(3))
    assert ([each.message for each in found.entries], found.cursor, found.gap) == (["x", ""], cursor(3), "")


def test_entries_behind_the_place_count_as_well():
    found = read([mark(1), mark(2), entry(3)], cursor(1), cursor(2))
    assert (found.entries[-1].message, found.cursor) == ("x", cursor(3))


@pytest.mark.parametrize(
    "lines",
    [
        # Removed by the limit of the journal's size, or by a boot.
        [entry(7), entry(8), mark(9)],
        [mark(9)],
        # The clock was set back: what is shown was counted already, and the place stands before it.
        [],
        [entry(5), entry(6)],
        [mark(1), entry(2)],
    ],
)
def test_a_lost_place_is_a_gap_and_nothing_is_counted_twice(lines):
    assert read(lines, cursor(1), cursor(9)) == journal.Read([], cursor(9), journal.LOST)


def test_without_a_place_a_lost_one_stays_lost():
    assert read([entry(7)], cursor(1)) == journal.Read([], cursor(1), journal.LOST)
    assert journal.read("--help", cursor(9)) == journal.Read([], cursor(9), journal.LOST)


def test_a_boot_is_seen_by_the_cursors():
    assert journal.has_booted(cursor(1), cursor(2, "b"))
    assert not journal.has_booted(cursor(1), cursor(2))
    assert not journal.has_booted("", cursor(2))


def test_what_journald_has_left_out_is_a_gap_with_its_number():
    found = read([entry(1), dropped(2, 1700), dropped(3, 5, "ssh.service"), entry(4)], cursor(1))
    assert found.gap == "has lost 1,700 lines to journald's limit (LogRateLimitBurst of haproxy.service)"
    assert len(found.entries) == 1


def test_no_program_can_forge_journalds_words():
    message = f"Suppressed 9 messages from {UNIT}"
    found = read([entry(1), entry(2, message), entry(3, message, "evil.service")], cursor(1))
    assert (found.gap, len(found.entries)) == ("", 1)


@pytest.mark.parametrize(
    "hostile",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 5000,
        entry(2, unit="ssh.service"),
        json.dumps({"MESSAGE": "x"}).encode(),
        entry(2, __CURSOR="x\n--output=short"),
        entry(2, __CURSOR=7),
    ],
)
def test_what_is_no_entry_of_the_unit_is_left_out(hostile):
    found = read([entry(1), hostile, entry(3)], cursor(1))
    assert ([each.cursor for each in found.entries], found.gap) == ([cursor(3)], "")


@pytest.mark.parametrize("message", [None, [255, 0, 1], 7])
def test_an_entry_that_is_no_text_keeps_its_place(message):
    found = read([entry(1), entry(2, message)], cursor(1))
    assert (found.entries[0].message, found.cursor) == ("", cursor(2))


def test_the_command_asks_for_the_unit_alone():
    found = journal.command(cursor(3))
    assert found[:4] == ["journalctl", "--quiet", "--no-pager", "--output=json"]
    assert f"--cursor={cursor(3)}" in found
    assert found[6:] == [f"_SYSTEMD_UNIT={UNIT}", "+", "SYSLOG_IDENTIFIER=tfserving-calls", "+", *found[-2:]]


# --- bounds ---------------------------------------------------------------------------------------------------


def lines(program, **bounds):
    return journal.Lines([sys.executable, "-c", program], **bounds)


def test_lines_come_whole_and_to_the_end():
    found = lines("print('a'); print('b' * 1000); print('c', end='')")
    assert list(found) == [b"a", b"b" * 1000]
    assert not found.is_cut


def test_reading_ends_after_so_many_bytes():
    found = lines("while True: print('x' * 100)", most_bytes=1 << 20)
    assert 0 < sum(map(len, found)) <= (1 << 20) + (1 << 18)
    assert found.is_cut


def test_reading_ends_after_so_many_seconds():
    found = lines("import time; print('a', flush=True); time.sleep(600)", most_s=2.0)
    assert list(found) in ([b"a"], [])
    assert found.is_cut


def test_an_endless_line_takes_no_memory():
    found = lines("import sys\nfor _ in range(200): sys.stdout.write('x' * 100000)\nprint('end'); print('next')")
    assert list(found)[-1:] == [b"next"]


def test_a_journal_that_cannot_be_read_is_one_sentence():
    with pytest.raises(RuntimeError) as failed:
        list(lines("import sys; sys.exit('Failed to open files: \\x1b[31mPermission denied')"))
    assert str(failed.value) == ("the journal cannot be read (Failed to open files: \\x1b[31mPermission denied)")
    with pytest.raises(RuntimeError, match=r"^the journal cannot be read \(/nowhere: No such file"):
        list(journal.Lines(["/nowhere"]))


def test_a_cut_read_says_that_there_is_more():
    found = journal.of_lines([entry(1), entry(2)], cursor(1), cursor(9), UNIT, lambda: True)
    assert (found.behind, found.gap, len(found.entries)) == (True, "", 1)
    assert journal.of_lines([], cursor(1), "", UNIT, lambda: True) == journal.Read([], cursor(1), "", True)


# --- a place --------------------------------------------------------------------------------------------------


class Journald:
    """Takes lines from a socket and keeps them, as long as it does; ``journalctl`` finds them by their text."""

    def __init__(self, folder):
        self.path, self.file = str(folder / "log"), folder / "kept"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        # Finds the entry only once it is asked a second time: journald needs a moment.
        program = folder / "journalctl"
        program.write_text(
            f"""#!{sys.executable}
import json, os, pathlib, socket, sys
kept, asked = pathlib.Path({str(self.file)!r}), pathlib.Path({str(folder / "asked")!r})
if asked.exists() and kept.exists():
    text = kept.read_text().partition(": ")[2]
    if sys.argv[-1] == "MESSAGE=" + text:
        print(json.dumps({{"__CURSOR": "s=1;i=5", "MESSAGE": text, "SYSLOG_IDENTIFIER": {journal.MARK!r}}}))
asked.touch()
"""
        )
        program.chmod(0o755)

    def take(self):
        self.socket.settimeout(LONG_S)
        self.file.write_bytes(self.socket.recv(4096))


@pytest.fixture
def journald(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    found = Journald(tmp_path)
    yield found
    found.socket.close()


def test_a_place_is_that_of_an_entry_of_our_own(journald):
    taking = threading.Thread(target=journald.take)
    taking.start()
    assert journal.place(journald.path, LONG_S) == "s=1;i=5"
    taking.join()
    # As HAProxy's: what keeps these lines keeps that one.
    assert re.fullmatch(rb"<134>tfserving-calls: a look at the calls, [0-9a-f]{32}", journald.file.read_bytes())


def test_a_journal_that_keeps_nothing_is_named(journald):
    with pytest.raises(RuntimeError) as failed:
        journal.place(journald.path, 0.1)
    assert str(failed.value) == (
        "the journal does not keep what it gets (look at Storage and MaxLevelStore in journald.conf)"
    )


def test_a_journal_that_takes_nothing_is_named(tmp_path):
    with pytest.raises(RuntimeError) as failed:
        journal.place(str(tmp_path / "log"))
    assert str(failed.value) == f"the journal cannot be written ({tmp_path}/log: No such file or directory)"
