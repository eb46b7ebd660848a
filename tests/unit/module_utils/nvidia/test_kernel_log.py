# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Where the kernel log comes from: the journal, the kernel's own buffer, or a file that was saved."""

from __future__ import annotations

import os

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.nvidia import kernel_log

BOOT = "Linux version 6.8.0-51-generic (buildd@lcy02-amd64-038) #52-Ubuntu SMP"
LINE = "nvidia-nvlink: Nvlink Core is being initialized, major device number 511"


def answering(journal, ring):
    """Return a run whose programs answer with status and text, and the list of what was asked."""
    asked = []

    def run(arguments):
        asked.append(arguments[0])
        status, out = {"journalctl": journal, "dmesg": ring}[arguments[0]]
        return status, out, ""

    return run, asked


def test_a_journal_that_goes_back_to_the_boot_is_enough():
    run, asked = answering((0, f"{BOOT}\n{LINE}\n"), (0, "ring"))
    assert kernel_log.read(run) == [BOOT, LINE]
    assert asked == ["journalctl"]


@pytest.mark.parametrize(
    "journal",
    [
        (0, ""),
        (0, "\n"),
        (0, "-- No entries --\n"),
        (
            0,
            "-- Journal begins at Sat 2026-02-14 05:03:41 UTC, ends at Sat 2026-02-14 06:00:00 UTC. --\n"
            "-- No entries --\n",
        ),
        (0, "-- Logs begin at Sat 2026-02-14 05:03:41 UTC. --\n"),
        (0, "No journal files were found.\n"),
        (1, ""),
        (127, ""),
    ],
)
def test_a_journal_without_the_kernels_messages_is_no_answer(journal):
    """journalctl ends with 0 where journald keeps none."""
    run, _asked = answering(journal, (0, f"[    1.0] {LINE}\n"))
    assert kernel_log.read(run) == [f"[    1.0] {LINE}"]


@pytest.mark.parametrize("ring", [(0, ""), (1, ""), (127, "")])
def test_neither_journal_nor_ring_is_no_log(ring):
    run, asked = answering((0, "-- No entries --\n"), ring)
    assert kernel_log.read(run) is None
    assert asked == ["journalctl", "dmesg"]


def test_a_journal_that_was_shortened_gives_way_to_a_ring_that_was_not():
    run, _asked = answering((0, "late\n"), (0, f"[    0.000000] {BOOT}\n[ 99.0] late\n"))
    assert kernel_log.read(run) == [f"[    0.000000] {BOOT}", "[ 99.0] late"]


@pytest.mark.parametrize("ring", [(0, "[ 99.0] late\n"), (1, "")])
def test_a_journal_that_was_shortened_is_better_than_such_a_ring(ring):
    run, _asked = answering((0, "early\nlate\n"), ring)
    assert kernel_log.read(run) == ["early", "late"]


def test_of_a_huge_answer_the_end_is_kept_in_whole_lines(monkeypatch):
    monkeypatch.setattr(kernel_log, "MOST_BYTES", 20)
    run, _asked = answering((0, "x" * 5000 + "\nlast but one\nlast\n"), (1, ""))
    assert kernel_log.read(run) == ["last but one", "last"]
    assert f"--lines={kernel_log.MOST_LINES}" in kernel_log.JOURNAL


class TestSaved:
    """A file in the place of the live log: only that is read."""

    def read(self, path):
        run, asked = answering((0, LINE), (0, LINE))
        lines = kernel_log.read(run, str(path))
        assert asked == []
        return lines

    def test_it_is_read_with_whatever_is_in_it(self, tmp_path):
        (tmp_path / "dmesg").write_bytes(b"one\x0b\xff\x1b[2J still one\ntwo\n\n")
        assert self.read(tmp_path / "dmesg") == ["one\x0b\ufffd\x1b[2J still one", "two"]

    def test_colours_hide_nothing(self, tmp_path):
        """dmesg --color=always colours what comes before a message's first colon."""
        (tmp_path / "dmesg").write_bytes(
            b"\x1b[32m[   12.3] \x1b[0m\x1b[33mNVRM: \x1b[0mXid (PCI:0000:3b:00): 79, lost\n"
        )
        assert self.read(tmp_path / "dmesg") == ["[   12.3] NVRM: Xid (PCI:0000:3b:00): 79, lost"]

    def test_of_a_huge_one_the_end_is_read_in_whole_lines(self, tmp_path, monkeypatch):
        monkeypatch.setattr(kernel_log, "MOST_BYTES", 12)
        (tmp_path / "dmesg").write_text("first\nsecond\nthird\n", encoding="utf-8")
        assert self.read(tmp_path / "dmesg") == ["third"]

    def test_one_that_is_empty_is_no_log(self, tmp_path):
        (tmp_path / "dmesg").touch()
        assert self.read(tmp_path / "dmesg") is None

    def test_what_is_no_file_is_not_waited_for(self, tmp_path):
        os.mkfifo(tmp_path / "pipe")
        for path in (tmp_path / "pipe", tmp_path, tmp_path / "absent", "/dev/null", "/dev/zero"):
            assert self.read(path) is None


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (f"[    0.000000] {BOOT}", True),
        ("Dec  6 17:49:03 desktop kernel: Linux version 5.15.0-1066-aws (buildd@lcy02)", True),
        ("NVRM: Xid (PCI:0000:3b:00): 31, pid=1, name=Linux version 6, MMU Fault", False),
        ("systemd[1]: Linux versions differ", False),
    ],
)
def test_a_boot_is_known_by_the_kernels_first_words(line, expected):
    assert kernel_log.is_boot(line) is expected
