# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a run makes of the answers on the way back: the state that counts, and the line that people wait for."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.models import rollout_record
from ansible_collections.tfserving.fleet.plugins.plugin_utils.rollout import back
from ansible_collections.tfserving.fleet.plugins.plugin_utils.rollout import state as states

NOW = 2000.0
SHARED = {**states.begin(None, "ranker", 7, 8, [1, 100], 1000.0, False).to_json(), "stage": "share", "generation": 3}
BACK = rollout_record.taken_back(SHARED, "wrong scores", NOW)
GOOD = {"old": 7, "instances": [{"name": "main", "answers": True, "words": ""}]}
STATE = states.from_json(BACK)


def late(words, **changes):
    return {"old": 7, "instances": [{"name": "main", "answers": False, "words": words}], **changes}


def decided(gateways=None, found=None):
    return back.decided("ranker", gateways or {}, found or {}, "wrong scores", NOW)


def test_the_newest_state_of_the_gateways_counts():
    older = rollout_record.taken_back({**SHARED, "generation": 1}, "wrong scores", NOW)
    assert decided({"edge-1": {"state": older}, "edge-2": {"state": BACK}, "edge-3": {}}) == STATE


def test_without_gateways_the_last_roll_out_of_the_hosts_is_taken_back():
    stale = {**SHARED, "generation": 1, "old": 6, "new": 7, "stage": "done"}
    found = {"h1": {"states": {"ranker": stale}}, "h2": {"states": {"ranker": SHARED}}, "h3": {"unreachable": True}}
    assert decided({}, found) == STATE


def test_without_gateways_a_second_time_stays_with_the_version_before():
    again = decided({}, {"h1": {"states": {"ranker": BACK}}})
    assert (again.generation, again.stage, again.reason) == (5, "reverting", "wrong scores")


def test_a_model_without_a_roll_out_is_refused():
    with pytest.raises(WishError) as refused:
        decided({"edge": {"state": None}}, {"h1": {"states": {}}})
    assert str(refused.value) == (
        "model: ranker has no roll-out to take back, so no version before it is known; name the version to serve in the"
        " inventory and run site.yml"
    )


@pytest.mark.parametrize("damaged", ["x", {"generation": 4}, {**BACK, "steps": []}])
def test_a_damaged_state_is_refused(damaged):
    with pytest.raises(WishError, match=r"rollout/ranker.json: is damaged on edge"):
        decided({"edge": {"state": damaged}})


def test_hosts_are_told_no_more_than_they_need():
    assert back.short(STATE) == {"generation": 4, "old": 7, "new": 8}


def test_the_line_counts_the_hosts_that_serve_the_model():
    found = {"h1": GOOD, "h2": GOOD, "h3": {"old": 7, "instances": []}}
    assert back.line(STATE, found, 2.94) == "ranker 8 -> 7: 2 of 2 hosts answer with 7 (2.9 s); confirming files"
    assert back.line(STATE, {"h1": GOOD}, 1) == "ranker 8 -> 7: 1 of 1 host answers with 7 (1.0 s); confirming files"
    assert back.line(STATE, {"h3": found["h3"]}, 1) == "ranker 8 -> 7: no host serves it; confirming files"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"unreachable": True, "msg": "no route"}, "it cannot be reached"),
        ({"msg": "ranker.json: is damaged"}, "ranker.json: is damaged"),
        ({}, "it has not been asked"),
        ({"instances": [], "msg": "ranker.json: is damaged"}, "ranker.json: is damaged"),
        (
            late("model ranker version 7 is LOADING after 12 s"),
            "instance main: model ranker version 7 is LOADING after",
        ),
        (late(""), "instance main: no reason is known"),
        ({**GOOD, "old": 6}, "it knows of a newer roll-out"),
        ({"old": 7, "instances": "all of them"}, "its answer is damaged"),
        ({"old": 7, "instances": [{"name": "main"}]}, "its answer is damaged"),
        (late("\x1b[2J" + "x" * 1000), "instance main: "),
    ],
)
def test_a_host_that_does_not_answer_yet_is_named_with_the_reason(answer, words):
    first, second = back.line(STATE, {"h1": GOOD, "h2": answer}, 1).splitlines()
    assert first.startswith("ranker 8 -> 7: 1 of 2 hosts answer with 7")
    assert second.startswith(f"  not yet: h2 ({words}")
    assert "\x1b" not in second
    assert len(second) < 300


def test_many_hosts_are_counted():
    found = {f"h{number}": late("it loads") for number in range(9)}
    lines = back.line(STATE, found, 1).splitlines()
    assert (len(lines), lines[-1]) == (7, "  not yet: 4 more hosts")
