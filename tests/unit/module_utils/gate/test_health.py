# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""When a server counts as proven, and when it is not well any more."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.gate import health
from ansible_collections.tfserving.fleet.plugins.module_utils.gate.health import Health, Look
from serving_double import FakeServer, HostileServer, Model

WANTS_7 = {"m": frozenset({7})}


def looks(*found, models=WANTS_7, known=None, invocation="a"):
    """Return what is known after looks a second apart: the states of each, or why it failed."""
    for number, each in enumerate(found, 1):
        look = Look(number, each) if isinstance(each, str) else Look(number, states=each)
        known = health.after(known or Health(), look, invocation, models)
    return known


def problem(known, models=WANTS_7, now=None, invocation="a"):
    return health.problem(known, invocation, models, known.at if now is None else now)


def test_a_process_that_was_never_looked_at_is_not_proven():
    assert problem(Health(), now=0) == "not looked at yet"
    assert problem(looks({"m": {7: "AVAILABLE"}}), invocation="b") == "not looked at yet"


def test_a_version_that_loads_is_named():
    assert problem(looks({"m": {7: "LOADING"}})) == "model m version 7 is LOADING"
    assert problem(looks({"m": {}})) == "model m version 7 is not known to the server"


def test_a_version_that_is_available_opens():
    assert problem(looks({"m": {7: "LOADING"}}, {"m": {7: "AVAILABLE"}})) == ""


def test_every_wanted_version_has_to_have_been_available_once():
    wanted = {"m": frozenset({7, 8})}
    assert (
        problem(looks({"m": {7: "AVAILABLE", 8: "LOADING"}}, models=wanted), wanted) == "model m version 8 is LOADING"
    )
    # One after the other will do.
    known = looks({"m": {7: "AVAILABLE", 8: "LOADING"}}, {"m": {7: "END", 8: "AVAILABLE"}}, models=wanted)
    assert problem(known, wanted) == ""


def test_a_policy_without_numbers_needs_any_version():
    wanted = {"m": frozenset()}
    assert problem(looks({"m": {}}, models=wanted), wanted) == "model m has no available version"
    assert problem(looks({"m": {5: "AVAILABLE"}}, models=wanted), wanted) == ""


def test_a_swap_from_7_to_8_stays_open_while_8_loads():
    known = looks({"m": {7: "AVAILABLE"}})
    wants_8 = {"m": frozenset({8})}
    for states in (
        {7: "AVAILABLE"},
        {7: "AVAILABLE", 8: "LOADING"},
        {7: "UNLOADING", 8: "AVAILABLE"},
        {7: "END", 8: "AVAILABLE"},
    ):
        known = looks({"m": states}, models=wants_8, known=known)
        assert problem(known, wants_8) == "", states


def test_a_swap_that_leaves_nothing_behind_closes():
    known = looks({"m": {7: "AVAILABLE"}}, {"m": {7: "END", 8: "LOADING"}})
    assert problem(known) == "model m has no available version"


def test_a_new_process_begins_anew():
    known = looks({"m": {7: "AVAILABLE"}})
    known = looks({"m": {7: "LOADING"}}, known=known, invocation="b")
    assert problem(known, invocation="b") == "model m version 7 is LOADING"


def test_one_failed_look_closes_nothing_and_two_in_a_row_do():
    well = {"m": {7: "AVAILABLE"}}
    assert problem(looks(well, "the server is silent")) == ""
    assert problem(looks(well, "the server is silent", "the server is silent")) == "the server is silent"
    assert problem(looks(well, "the server is silent", well, "the server is silent")) == ""
    assert problem(looks("the server is silent")) == "the server is silent"


def test_an_old_look_says_nothing_any_more():
    known = looks({"m": {7: "AVAILABLE"}})
    assert problem(known, now=known.at + 5) == ""
    assert problem(known, now=known.at + 6) == "not looked at for 6 s"


def test_every_model_has_to_serve():
    models = {"m": frozenset({7}), "n": frozenset({1})}
    known = looks({"m": {7: "AVAILABLE"}, "n": {1: "LOADING"}}, models=models)
    assert problem(known, models) == "model n version 1 is LOADING"
    known = looks({"m": {7: "AVAILABLE"}, "n": {1: "AVAILABLE"}}, models=models, known=known)
    assert problem(known, models) == ""
    assert problem(looks({"m": {7: "AVAILABLE"}, "n": {}}, models=models, known=known), models) == (
        "model n has no available version"
    )


def test_a_model_that_joins_closes_nothing_until_it_has_served():
    models = {**WANTS_7, "n": frozenset({1})}
    known = looks({"m": {7: "AVAILABLE"}})
    known = looks({"m": {7: "AVAILABLE"}, "n": {1: "LOADING"}}, models=models, known=known)
    assert problem(known, models) == ""
    known = looks({"m": {7: "AVAILABLE"}, "n": {1: "AVAILABLE"}}, models=models, known=known)
    known = looks({"m": {7: "AVAILABLE"}, "n": {}}, models=models, known=known)
    assert problem(known, models) == "model n has no available version"


def test_a_model_that_left_the_plan_is_not_missed():
    known = looks({"m": {7: "AVAILABLE"}, "n": {1: "AVAILABLE"}}, models={**WANTS_7, "n": frozenset({1})})
    assert problem(looks({"m": {7: "AVAILABLE"}}, known=known)) == ""


def test_a_look_asks_the_server_for_each_model():
    with FakeServer(m=Model({7: "AVAILABLE", 8: "LOADING"}), n=Model({1: ("NOT_FOUND", "gone")})) as server:
        found = health.look(server.port, ["m", "n", "absent"], 3.0)
    assert found == Look(3.0, "", {"m": {7: "AVAILABLE", 8: "LOADING"}, "n": {1: "END"}, "absent": {}})


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
            "the server answers with something else than the status of a model",
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n5",
            "the server answers with something else than the status of a model",
        ),
        (b'HTTP/1.1 500 No\r\nContent-Length: 13\r\n\r\n{"error":"x"}', "the server answers 500 (x)"),
        (b"220 mail ready\r\n", "the server does not speak HTTP (BadStatusLine)"),
    ],
)
def test_a_stranger_on_the_port_is_a_failed_look(answer, words):
    with HostileServer([answer]) as server:
        assert health.look(server.port, ["m"], 0).problem == words
