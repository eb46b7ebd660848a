# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a cache would have saved, played over lines of HAProxy's log."""

from __future__ import annotations

import json

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.gateway import remembered


def line(at_s, body="-", answer="-", **fields):
    """Return an entry of the journal."""
    given = {
        "from": "10.0.0.9", "caller": "-", "model": "ranker", "version": "-", "label": "-", "call": "predict",
        "status": "200", "reply_ms": "8", "total_ms": "9", "out": "500", "pin": "7", "cache": "-", "age": "-",
        "body": body, "answer": answer, **fields,
    }  # fmt: skip
    text = "tfserving protocol=rest " + " ".join(f"{key}={value}" for key, value in given.items())
    return json.dumps({"MESSAGE": text, "__REALTIME_TIMESTAMP": str(int(at_s * 1e6)), "__CURSOR": "s=1"}).encode()


def figures(*lines):
    return remembered.figures(remembered.played(lines))["ranker"]


def test_repeats_within_the_time_to_live_are_hits():
    found = figures(line(0, "1"), line(9, "1"), line(50, "1"), line(55, "2"))
    assert found["hits"] == {"10": 1, "60": 2, "300": 2, "3600": 2}
    assert found["saved_ms"] == {"10": 8, "60": 16, "300": 16, "3600": 16}
    assert (found["hashed"], found["repeated"], found["kept_bytes"]) == (4, 2, 1000)


def test_an_answer_lives_from_its_own_time_on():
    assert figures(line(0, "1"), line(9, "1"), line(18, "1"))["hits"]["10"] == 1


@pytest.mark.parametrize("other", [{"pin": "8"}, {"call": "classify"}, {"model": "dense"}])
def test_other_calls_of_the_same_body_are_no_repeats(other):
    assert figures(line(0, "1"), line(1, "1", **other))["repeated"] == 0


def test_an_equal_request_with_another_answer_is_told():
    play = remembered.played([line(0, "1", "5"), line(1, "1", "6"), line(2, "1", "5")])
    assert remembered.figures(play)["ranker"]["other_answers"] == 1
    assert remembered.sentences(play, 1, False)[-1].startswith(
        "ranker: 1 of 2 repeated requests got another answer than before: the model draws lots or has a state"
    )


def test_failures_and_bodies_without_a_hash_count_as_neither():
    found = figures(line(0, "1", status="503"), line(1, "-"), line(2, "1"))
    assert (found["calls"], found["hashed"], found["repeated"]) == (3, 1, 0)


def test_what_the_cache_answered_is_counted_with_its_age():
    play = remembered.played(
        [
            line(0, cache="miss", reply_ms="20"),
            line(1, cache="hit", reply_ms="0", age="1"),
            line(3, cache="hit", age="3"),
        ]
    )
    found = remembered.figures(play)["ranker"]
    assert found["served"] == {"hit": 2, "miss": 1, "passed": 0}
    assert (found["mean_age_s"], found["oldest_s"]) == (2.0, 3)
    assert remembered.sentences(play, 24, False) == [
        "ranker: the cache answered 2 of 3 calls (67%) in 24 h, answers 2 s old on average and 3 s at most, and saved"
        " 0.0 s of the servers' time; 0 calls passed it"
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        b"\0",
        b"[]",
        b'{"MESSAGE": null, "__REALTIME_TIMESTAMP": "1"}',
        b'{"MESSAGE": [1], "__REALTIME_TIMESTAMP": "1"}',
        line(0, pin="-"),
        line(0, status="x"),
        json.dumps({"MESSAGE": "x" * 50_000, "__REALTIME_TIMESTAMP": "1"}).encode(),
    ],
)
def test_other_lines_are_left_out(wrong):
    play = remembered.played([wrong])
    assert play.models == {}
    assert remembered.sentences(play, 5, False) == [
        "no call of the last 5 h could be remembered: no model has a cache, or nobody has called"
    ]


def test_what_was_not_counted_is_said():
    assert remembered.sentences(remembered.played([line(0, "1")]), 1, True)[-1] == (
        "not all calls of this time were counted, as there were too many: ask for fewer hours"
    )
