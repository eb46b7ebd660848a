# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""New connections are refused by one transaction of nft, as often as one likes."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.gate import refusal


class Nft:
    """A host whose table is there after the first script."""

    def __init__(self, code=0, error=""):
        self.scripts = []
        self.code, self.error = code, error
        self.there = False

    def run(self, arguments):
        if arguments[1] == "list":
            return (0 if self.there else 1), "", "No such file or directory"
        self.scripts.append(arguments[1])
        self.there = self.there or not self.code
        return self.code, "", self.error


def test_refusing_says_all_of_it_so_that_it_may_be_said_twice():
    nft = Nft()
    refusal.refuse(nft.run, [8501, 8500, 8501])
    lines = nft.scripts[0].splitlines()
    assert lines[-1] == "add element inet tfserving_gate ports { 8500, 8501 }"
    # The rules of an earlier call are flushed before the same ones are added.
    assert lines.index("flush chain inet tfserving_gate input") < min(
        number for number, line in enumerate(lines) if line.startswith("add rule")
    )


def test_the_host_itself_is_let_through_before_others_are_reset():
    nft = Nft()
    refusal.refuse(nft.run, [8501])
    rules = [line.partition(" input ")[2] for line in nft.scripts[0].splitlines() if line.startswith("add rule")]
    assert rules == [
        "ip daddr 127.0.0.0/8 accept",
        "ip6 daddr ::1 accept",
        "tcp dport @ports tcp flags & (fin | syn | rst | ack) == syn counter reject with tcp reset",
    ]


def test_lifting_takes_away_what_may_not_be_there():
    nft = Nft()
    nft.there = True
    refusal.lift(nft.run, [8501, 8500])
    ports = "element inet tfserving_gate ports { 8500, 8501 }\n"
    assert nft.scripts == [f"add {ports}delete {ports}"]


def test_where_nothing_was_ever_refused_nothing_is_lifted():
    nft = Nft()
    refusal.lift(nft.run, [8501])
    assert nft.scripts == []


def test_a_host_without_nft_is_named():
    with pytest.raises(RuntimeError) as refused:
        refusal.refuse(Nft(127, "nft: not\nfound").run, [8501])
    assert str(refused.value) == ("nft cannot change which connections are refused (nft: not found); install nftables")
