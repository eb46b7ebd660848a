# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A gate is open only if nothing speaks against it, and says what does."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.gate.judge import Facts, judge
from gate_cases import record

OPEN = Facts(record=None, invocation="b", leaving="", admitted="b", refused=False, problem="")


def test_open_is_what_is_left():
    assert judge(OPEN).open
    assert judge(OPEN).words == ""


@pytest.mark.parametrize(
    ("facts", "state", "words"),
    [
        ({"record": record()}, "draining", "draining by alice: driver 570 since 2026-11-27T10:00Z"),
        ({"invocation": ""}, "stopped", "stopped: the server is not running"),
        ({"leaving": "b"}, "leaving", "leaving: the server is about to stop"),
        ({"admitted": ""}, "starting", "starting: not admitted yet"),
        (
            {"admitted": "", "problem": "model m version 7 is LOADING"},
            "starting",
            "starting: model m version 7 is LOADING",
        ),
        ({"refused": True}, "leaving", "leaving: new connections are refused until somebody opens the gate"),
        ({"problem": "model m has no available version"}, "unwell", "unwell: model m has no available version"),
    ],
)
def test_a_closed_gate_has_words(facts, state, words):
    judgement = judge(replace(OPEN, **facts))
    assert (judgement.open, judgement.state, judgement.words) == (False, state, words)


def test_marks_of_the_process_before_mean_nothing_for_this_one():
    assert judge(replace(OPEN, leaving="a")).open
    # A crash: another process serves, which nobody has admitted.
    assert judge(replace(OPEN, invocation="c")).state == "starting"


def test_nothing_opens_what_somebody_closed():
    for more in ({}, {"invocation": ""}, {"problem": "x"}, {"leaving": "b"}):
        assert judge(replace(OPEN, record=record(state="closed"), **more)).state == "closed"
