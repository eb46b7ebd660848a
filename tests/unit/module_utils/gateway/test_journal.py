# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The journal after a cursor: bounded, with its gaps, and nobody else's entries."""

from __future__ import annotations

import json
import sys

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.gateway import journal

UNIT = "haproxy.service"


def cursor(number):
    return f"s=abc;i={number:x}"


def entry(number, message="x", unit=UNIT, **more):
    return json.dumps(
        {
            "__CURSOR": cursor(number),
            "__REALTIME_TIMESTAMP": str(number * 1_000_000),
            "MESSAGE": message,
            "_SYSTEMD_UNIT": unit,
            "_TRANSPORT": "syslog",
            **more,
        }
    ).encode()


def dropped(number, count, unit=UNIT):
    message = f"Suppressed {count} messages from {unit}"
    return entry(number, message, "systemd-journald.service", _TRANSPORT="driver")


def read(lines, last="", since=0):
    return journal.of_lines(lines, last, since, UNIT)


def test_the_entry_of_the_cursor_is_the_first_and_does_not_count_again():
    found = read([entry(1, "old"), entry(2, "new")], cursor(1))
    assert ([each.message for each in found.entries], found.cursor, found.gap) == (["new"], cursor(2), "")


def test_entries_of_all_processes_of_the_unit_count():
    lines = [entry(1), entry(2, _PID="100"), entry(3, _PID="200"), entry(4, _PID="100")]
    assert len(read(lines, cursor(1)).entries) == 3


def test_without_a_cursor_entries_count_from_a_second_on():
    found = read([entry(4, "old"), entry(5, "new")], "", 5)
    assert ([each.message for each in found.entries], found.cursor) == (["new"], cursor(5))
    assert read([], "", 5) == journal.Read([], "")


def test_a_removed_part_of_the_journal_is_a_gap():
    found = read([entry(7), entry(8)], cursor(1))
    assert found.gap == "has lost lines of its journal, which were removed before they were counted"
    assert (len(found.entries), found.cursor) == (2, cursor(8))


def test_a_journal_that_is_gone_is_a_gap_and_what_comes_next_counts():
    assert read([], cursor(1)) == journal.Read([], cursor(1), "has lost its journal")
    assert len(read([entry(2)], cursor(1)).entries) == 1


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
        entry(2, __REALTIME_TIMESTAMP="soon"),
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
    assert journal.command(cursor(3), 9)[:4] == ["journalctl", "--quiet", "--no-pager", "--output=json"]
    assert f"--cursor={cursor(3)}" in journal.command(cursor(3), 9)
    assert "--since=@9" in journal.command("", 9)


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
    found = journal.of_lines([entry(1), entry(2)], cursor(1), 0, UNIT, lambda: True)
    assert (found.behind, found.gap, len(found.entries)) == (True, "", 1)
    assert journal.of_lines([], cursor(1), 0, UNIT, lambda: True).gap == ""
