# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What is asked on the port of the gates, and answers that change nothing of an operator's."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.gate import answers
from ansible_collections.tfserving.fleet.plugins.module_utils.gate.answers import Page, Poll
from ansible_collections.tfserving.fleet.plugins.module_utils.gate.judge import Judgement
from gate_cases import record
from hypothesis import given
from hypothesis import strategies as st


def obeyed(line):
    """Return the words of an agent's answer that HAProxy acts on, and the text that it shows, as its check.c does."""
    words, shown = [], ""
    line = line.split(b"\n")[0].split(b"\r")[0].decode("latin-1")
    while line:
        if line[0] in " \t,":
            line = line[1:]
        elif line[0] == "#":
            shown, line = line[1:].lstrip("\t "), ""
        else:
            end = next((place for place, letter in enumerate(line) if letter in " \t,"), len(line))
            words.append(line[:end])
            line = line[end:]
    return words, shown


def closed(words):
    return answers.agent(Judgement("closed", words))


def test_open_is_up_with_the_whole_weight():
    assert answers.agent(Judgement("open")) == b"up 100%\n"


def test_closed_is_down_with_the_words_behind_a_blank_and_a_sharp():
    assert closed(record().words()) == b"down #draining by alice: driver 570 since 2026-11-27T10:00Z\n"


@given(st.text(max_size=600))
def test_no_reason_makes_haproxy_do_anything_else_than_down(reason):
    answer = closed(f"draining by alice: {reason}")
    words, shown = obeyed(answer)
    # Never ready, drain or maint, which would overwrite what an operator decided, nor a weight.
    assert words == ["down"]
    assert shown.startswith("draining by alice:")
    assert answer.count(b"\n") == 1
    assert answer.endswith(b"\n")
    assert all(32 <= letter < 127 for letter in answer[:-1])
    assert len(answer) < 260


def test_a_sharp_without_a_blank_would_be_a_word_of_its_own():
    assert obeyed(b"down#x\n") == (["down#x"], "")


def test_a_long_reason_is_cut_and_a_foreign_one_spelt_out():
    assert answers.plain("x" * 500).endswith("x...")
    assert answers.plain("für\x1b\n") == r"f\xfcr\x1b\n"


@pytest.mark.parametrize(
    ("line", "asked"),
    [
        ("gate ranker edge-1 rest_m/h1 g1", Poll("ranker", "edge-1", "rest_m", "h1", "g1", by_agent=True)),
        ("GET /gate/ranker HTTP/1.0", Poll("ranker")),
        ("HEAD /gate/ranker HTTP/1.1", Poll("ranker")),
        (
            "GET /gate/ranker?gateway=edge-1&backend=rest_m&generation=g1 HTTP/1.1",
            Poll("ranker", "edge-1", "rest_m", "", "g1"),
        ),
        ("GET /gate/ranker?gateway=a%20b&backend=%0a HTTP/1.1", Poll("ranker")),
        ("GET /gate HTTP/1.1", Page("/gate")),
        ("GET / HTTP/1.1", Page("/")),
        ("GET /v1/models/m HTTP/1.1", Page("/v1/models/m")),
    ],
)
def test_questions_are_understood(line, asked):
    assert answers.parsed(line) == asked


@pytest.mark.parametrize(
    "line",
    [
        "", "gate", "gate ranker", "gate ranker edge-1 rest_m g1", "gate ranker edge-1 a/b/c/d g1 more",
        "POST /gate HTTP/1.1", "GET http://x/gate HTTP/1.1", "GET /gate HTTP/2.0", "GET /gate",
        "gate r\xe4nker edge-1 a/b g",
        "GET //[ HTTP/1.0",
        "gate " + "x" * 301 + " edge-1 a/b g", "GET /gate/x?" + "a=1&" * 20 + " HTTP/1.1",
    ],
)  # fmt: skip
def test_anything_else_is_no_question(line):
    assert answers.parsed(line) is None


def test_http_says_open_by_its_status_and_why_not_in_its_text():
    assert answers.page(Judgement("open")) == (200, b"open\n")
    assert answers.page(Judgement("closed", "closed by alice")) == (503, b"closed by alice\n")
    whole = answers.http(503, b"no\n")
    assert whole.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert whole.endswith(b"Connection: close\r\n\r\nno\n")
    assert answers.http(503, b"no\n", with_body=False).endswith(b"\r\n\r\n")
