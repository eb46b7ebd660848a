# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Who asks for the gates, what they have heard, and when they count as gone."""

from __future__ import annotations

import json

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.gate import pollers
from ansible_collections.tfserving.fleet.plugins.module_utils.gate.answers import Poll
from ansible_collections.tfserving.fleet.plugins.module_utils.gate.pollers import Pollers
from gate_cases import poll

GRPC = {"backend": "grpc_m"}


def told(*polls, known=None):
    """Return pollers after questions: each with its moment and whether the gate was open."""
    known = known or Pollers()
    for asked, moment, is_open in polls:
        known.told(asked, "10.0.0.7", is_open, moment)
    return known


def page(known, now):
    """Return the page as another process reads it."""
    found = json.loads(json.dumps(known.page(now)))
    assert pollers.is_page(found)
    return found


def http(**more):
    return poll(**{"server": "", "by_agent": False, **more})


def test_a_gateway_that_went_silent_is_told_from_one_that_never_asked():
    known = told((poll(), 10.0, True))
    assert pollers.silenced(page(known, 12.9), ["edge-1", "edge-2"]) == []
    assert pollers.silenced(page(known, 13.2), ["edge-1", "edge-2"]) == ["edge-1 (silent for 3 s)"]
    assert pollers.missing(page(known, 13.2), ["edge-1", "edge-2"]) == ["edge-2"]


def test_an_http_check_and_an_agent_check_of_a_server_are_one_pair():
    known = told((poll(), 10.0, True), (http(), 10.2, True))
    pairs = page(known, 11.0)["gateways"]["edge-1"]["pairs"]
    assert list(pairs) == ["rest_m/h1-ranker"]
    assert (pairs["rest_m/h1-ranker"]["agent_s"], pairs["rest_m/h1-ranker"]["http_s"]) == (1.0, 0.8)


def test_each_pair_has_to_hear_of_the_closed_gate():
    known = told((poll(), 10.0, True), (poll(**GRPC), 10.1, True))
    # Closed at 10.2, that is 0.1 s ago.
    assert pollers.untold(page(known, 10.3), "ranker", 0.1) == ["edge-1 rest_m/h1-ranker", "edge-1 grpc_m/h1-ranker"]
    told((poll(), 10.5, False), known=known)
    assert pollers.untold(page(known, 10.6), "ranker", 0.4) == ["edge-1 grpc_m/h1-ranker"]
    told((poll(**GRPC), 10.6, False), known=known)
    assert pollers.untold(page(known, 10.7), "ranker", 0.5) == []


def test_a_poll_before_the_gate_was_closed_is_none_since_even_if_it_was_answered_with_down():
    known = told((poll(), 10.0, False))
    assert pollers.untold(page(known, 10.3), "ranker", 0.1) == ["edge-1 rest_m/h1-ranker"]


def test_a_poll_that_was_answered_with_up_after_that_is_no_word_of_it():
    known = told((poll(), 10.3, True))
    assert pollers.untold(page(known, 10.4), "ranker", 0.2) == ["edge-1 rest_m/h1-ranker"]


def test_other_instances_are_not_waited_for():
    known = told((poll(instance="other"), 10.0, True))
    assert pollers.untold(page(known, 10.1), "ranker", 0.0) == []


def test_a_newer_generation_makes_the_pairs_of_the_older_one_forgotten():
    known = told((poll(backend="old"), 10.0, True), (poll(gateway="edge-2"), 10.0, True))
    told((poll(generation="b"), 10.4, True), known=known)
    found = page(known, 10.5)["gateways"]
    assert list(found["edge-1"]["pairs"]) == ["rest_m/h1-ranker"]
    assert found["edge-1"]["generation"] == "b"
    assert list(found["edge-2"]["pairs"]) == ["rest_m/h1-ranker"]


def test_going_back_to_an_older_configuration_is_a_newer_generation_too():
    known = told((poll(), 10.0, True), (poll(generation="b"), 11.0, True), (poll(), 12.0, True))
    assert page(known, 12.0)["gateways"]["edge-1"]["generation"] == "a"


def test_a_pair_that_went_silent_is_not_waited_for_but_named():
    known = told((poll(), 10.0, True), (poll(**GRPC), 14.0, True))
    found = page(known, 14.1)
    assert pollers.untold(found, "ranker", 1.0) == ["edge-1 grpc_m/h1-ranker"]
    assert pollers.silent(found, "ranker") == ["edge-1 rest_m/h1-ranker"]


def test_a_balancer_without_a_name_is_known_by_its_address_and_forgotten():
    known = told((Poll("ranker"), 10.0, True), (Poll("ranker"), 12.0, True))
    assert list(pollers.asking(page(known, 13.0), "ranker")) == ["10.0.0.7"]
    known.forget(["edge-1"], 21.9)
    assert list(page(known, 22.0)["others"]) == ["10.0.0.7"]
    known.forget(["edge-1"], 22.1)
    assert page(known, 22.1)["others"] == {}


def test_a_question_of_a_person_makes_no_balancer():
    known = told((Poll("ranker"), 10.0, True))
    assert pollers.asking(page(known, 10.5), "ranker") == {}


def test_who_asks_by_http_alone_has_heard_after_three_answers():
    known = told((http(), 10.0, True))
    for moment, heard in ((11.0, False), (12.0, False), (13.0, True)):
        told((http(), moment, False), known=known)
        assert (pollers.untold(page(known, moment), "ranker", 2.5) == []) is heard


def test_an_agent_check_that_an_operator_disabled_is_not_waited_for():
    known = told((poll(), 10.0, True), *((http(), moment, False) for moment in (14.0, 15.0, 16.0)))
    assert pollers.untold(page(known, 16.1), "ranker", 5.0) == []


def test_a_gateway_is_back_after_an_up_and_three_checks_that_passed():
    known = told((poll(), 10.0, False), (http(), 10.0, False))
    assert pollers.not_back(page(known, 10.1), "ranker") == ["edge-1 rest_m/h1-ranker"]
    told((poll(), 10.5, True), (http(), 11.0, True), (http(), 12.0, True), (poll(), 12.1, True), known=known)
    assert pollers.not_back(page(known, 12.2), "ranker") == ["edge-1 rest_m/h1-ranker"]
    told((http(), 13.0, True), (poll(), 13.0, True), known=known)
    assert pollers.not_back(page(known, 13.1), "ranker") == []


def test_a_server_in_maintenance_is_not_waited_for_as_its_gateway_checks_it_no_more():
    known = told((http(), 10.0, False), (poll(), 20.0, True))
    assert pollers.not_back(page(known, 20.1), "ranker") == []


def test_who_sends_many_names_takes_no_more_room_and_drives_out_the_one_silent_longest():
    known = told(*((poll(gateway=f"g{number}"), float(number), True) for number in range(1000)))
    assert len(known.gateways) == pollers.MOST_GATEWAYS
    assert "g999" in known.gateways
    known = told(*((poll(backend=f"b{number}"), float(number), True) for number in range(1100)))
    assert len(known.gateways["edge-1"].pairs) == pollers.MOST_PAIRS
    known = told(*((Poll(f"i{number}"), float(number), True) for number in range(1100)))
    assert len(known.others["10.0.0.7"]) == pollers.MOST_PAIRS


def test_an_expected_gateway_is_not_forgotten_and_a_strange_one_is():
    known = told((poll(), 10.0, True), (poll(gateway="strange"), 10.0, True))
    known.forget(["edge-1"], 60.0)
    assert list(known.gateways) == ["edge-1"]
    assert pollers.silenced(page(known, 60.0), ["edge-1"]) == ["edge-1 (silent for 50 s)"]


@pytest.mark.parametrize("value", [None, [], {}, {"gateways": {}, "others": []}, {"gateways": {"a": {}}, "others": {}}])
def test_what_is_no_page_is_not_taken_for_one(value):
    assert not pollers.is_page(value)
