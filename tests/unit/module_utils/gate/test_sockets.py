# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Connections of callers, read from what ss of Debian 12 printed (iproute2 6.1.0, recorded in ss/)."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.gate import sockets

RECORDED = Path(__file__).parent / "ss"
V4 = "0 0 10.9.0.1:8500 10.9.0.2:51558 "


def recorded(name):
    return sockets.parsed((RECORDED / f"{name}.txt").read_text())


def test_both_families_and_mapped_addresses_are_read():
    found = [(each.port, each.peer) for each in recorded("quiet")]
    assert found == [(8500, "10.9.0.1"), (8501, "fd00::1"), (8501, "127.0.0.1"), (8501, "::1"), (8501, "10.9.0.1")]


def test_the_hosts_own_checks_are_told_from_callers():
    assert [each.peer for each in recorded("quiet") if not each.is_own] == ["10.9.0.1", "fd00::1", "10.9.0.1"]
    # A gateway on the same host calls by the host's address.
    assert not sockets.parsed(V4)[0].is_own


def test_quiet_is_how_long_nothing_went_either_way():
    assert [each.quiet_s for each in recorded("quiet")] == [2.208, 2.208, 2.212, 2.212, 2.208]
    assert sockets.parsed(f"{V4}\n\t cubic lastsnd:9000 lastrcv:40 lastack:9000\n")[0].quiet_s == 0.04


@pytest.mark.parametrize(
    "line", ["", "\n\t cubic rto:204", "\n\t cubic lastsnd:9000 lastack:1", "\n\t cubic lastrcv:9000 lastack:1"]
)
def test_a_time_that_is_missing_is_none_at_all(line):
    # ss leaves out a time of 0 ms, and the whole line where the connection ended meanwhile.
    (found,) = sockets.parsed(V4 + line)
    assert found.quiet_s == 0
    assert found.busy(0)


def test_one_line_for_each_connection_is_read_alike():
    text = (RECORDED / "quiet.txt").read_text()
    assert sockets.parsed(text.replace("\n\t", "\t")) == sockets.parsed(text)


def test_bytes_that_wait_are_a_call():
    busy = [each for each in recorded("unread") if each.waiting]
    assert [(each.port, each.peer) for each in busy] == [(8501, "10.9.0.1")]
    assert busy[0].busy(0)
    assert sockets.parsed("7 0 10.9.0.1:8500 10.9.0.2:1\n\t lastsnd:99000 lastrcv:99000")[0].busy(1)


def test_a_connection_is_idle_after_the_longest_call_and_half_a_second():
    assert not any(each.busy(1.5) for each in recorded("quiet"))
    assert all(each.busy(1.8) for each in recorded("quiet"))


def test_nothing_is_nothing_and_other_lines_are_no_connections():
    assert recorded("none") == []
    assert sockets.parsed("Netid State\nfoo\n\n0 0 *:8500\n") == []


def test_a_zone_is_no_part_of_an_address():
    assert sockets.parsed("0 0 [fe80::1%eth0]:8500 [fe80::2%eth0]:99")[0].peer == "fe80::2"


def test_the_kernel_is_asked_for_established_connections_of_the_ports():
    asked = []

    def run(arguments):
        asked.append(arguments)
        return 0, (RECORDED / "busy.txt").read_text(), ""

    assert [each.peer for each in sockets.established(run, [8500, 8501])] == ["10.9.0.1", "fd00::1", "10.9.0.1"]
    assert asked == [["ss", "-Htnio", "state", "established", "( sport = :8500 or sport = :8501 )"]]


def test_a_host_without_ss_is_named():
    with pytest.raises(RuntimeError, match=r"ss cannot list the connections \(no such file\); install iproute2"):
        sockets.established(lambda _arguments: (127, "", "no such file\n"), [1])
