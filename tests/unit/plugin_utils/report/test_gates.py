# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What people read after they have drained a host."""

from __future__ import annotations

from ansible_collections.tfserving.fleet.plugins.plugin_utils.report import gates

OPEN = {"name": "ranker", "words": "", "proven": [], "unproven": [], "direct_callers": []}


def test_an_open_gate_takes_one_line():
    assert gates.text("gpu-a", {"instances": [OPEN]}) == "gpu-a ranker: open"


def test_a_closed_one_says_what_was_proven_what_was_not_and_who_was_not_told():
    closed = {
        **OPEN,
        "words": "draining by alice: fan",
        "proven": ["every gateway has seen the closed gate", "no call was in flight"],
        "unproven": ["nft is missing"],
        "direct_callers": ["10.0.0.9", "10.0.0.10"],
    }
    assert gates.text("gpu-a", {"instances": [closed]}).splitlines() == [
        "gpu-a ranker: draining by alice: fan",
        "  proven: every gateway has seen the closed gate; no call was in flight",
        "  not proven: nft is missing",
        "  called past the gateways by 10.0.0.9 and 10.0.0.10, whom nobody has told",
    ]


def test_a_host_without_instances_says_so():
    assert gates.text("gpu-a", {"instances": []}) == "gpu-a has no instances"


def test_words_from_hosts_cannot_act_in_a_terminal():
    assert "\x1b" not in gates.text("gpu-a", {"instances": [{**OPEN, "words": "\x1b[2J"}]})
