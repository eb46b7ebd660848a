# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The REST interface, requests made of zeros, and comparisons of answers."""

from __future__ import annotations

import math

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.serving.client import (
    MOST_VALUES,
    Client,
    NoRequestError,
    ServerError,
    UnreachableError,
    Version,
    difference,
    given_request,
    served_version,
    wanted_versions,
    zero_request,
    zero_requests,
)
from hypothesis import given
from hypothesis import strategies as st
from serving_double import HALF_PLUS_TWO, FakeServer, Model


def metadata(**inputs):
    return {"metadata": {"signature_def": {"signature_def": {"serving_default": {"inputs": inputs}}}}}


def tensor(dtype, *sizes):
    return {"dtype": dtype, "tensor_shape": {"dim": [{"size": str(size)} for size in sizes], "unknown_rank": False}}


def test_versions_come_with_their_states_and_the_servers_error():
    with FakeServer(m=Model({7: ("NOT_FOUND", "no such op"), 6: "AVAILABLE", 5: "END"})) as server:
        assert Client(server.port).status("m") == [
            Version(5, "END"),
            Version(6, "AVAILABLE"),
            Version(7, "END", "NOT_FOUND: no such op"),
        ]


def test_a_failed_load_and_an_unloaded_version_are_told_apart():
    assert Version(7, "END", "NOT_FOUND").failed
    assert not Version(7, "END").failed


def test_an_unknown_model_has_no_versions():
    with FakeServer() as server:
        assert Client(server.port).status("m") == []


def test_a_closed_port_is_unreachable():
    with FakeServer() as server:
        port = server.port
    with pytest.raises(UnreachableError, match=f"port {port} does not answer"):
        Client(port).status("m")


def test_a_stranger_that_speaks_html_is_recognised():
    with FakeServer() as server, pytest.raises(ServerError, match="answered 404 without JSON, so it is not TensorFlow"):
        Client(server.port)._call("GET", "/")


def test_names_are_quoted_in_the_path():
    with FakeServer() as server:
        Client(server.port).status("a b/c")
        assert server.calls[0][1] == "/v1/models/a%20b%2Fc"


def test_the_metadata_of_a_label_name_its_version():
    with FakeServer(m=Model({6: "AVAILABLE", 7: "AVAILABLE"}, labels={"stable": 6})) as server:
        client = Client(server.port)
        assert served_version(client.metadata("m", "stable")) == 6
        assert served_version(client.metadata("m")) == 7


def test_an_unknown_label_is_refused_in_the_servers_words():
    with (
        FakeServer(m=Model({7: "AVAILABLE"})) as server,
        pytest.raises(ServerError, match="Unrecognized servable") as e,
    ):
        Client(server.port).predict("m", {"inputs": [[1.0]]}, "canary")
    assert e.value.code == 400


def test_a_proxy_of_the_environment_is_not_asked(monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with FakeServer(m=Model({7: "AVAILABLE"})) as server:
        answer, latency = Client(server.port).predict("m", {"inputs": [[1.0]]})
    assert answer == [[2.0]]
    assert latency > 0


@pytest.mark.parametrize(
    ("policy", "versions"),
    [
        (None, [9]),
        ({"latest": {}}, [9]),
        ({"latest": {"num_versions": 2}}, [8, 9]),
        ({"latest": {"num_versions": 9}}, [3, 8, 9]),
        ({"all": {}}, [3, 8, 9]),
        ({"specific": {"versions": [8, 4]}}, [4, 8]),
    ],
)
def test_the_policy_selects_versions_as_the_server_does(policy, versions):
    assert wanted_versions(policy, [9, 3, 8]) == versions


@given(st.sets(st.integers(0, 1000)), st.integers(1, 20))
def test_the_latest_versions_are_the_highest_on_disk(on_disk, count):
    wanted = wanted_versions({"latest": {"num_versions": count}}, on_disk)
    assert len(wanted) == min(count, len(on_disk))
    assert all(left < kept for kept in wanted for left in on_disk - set(wanted))


def test_zeros_take_the_shape_and_type_of_every_input():
    request = zero_request(
        metadata(
            ids=tensor("DT_INT64", -1, 3),
            ok=tensor("DT_BOOL"),
            text=tensor("DT_STRING", -1),
            x=tensor("DT_FLOAT", -1, 2, -1),
        )
    )
    assert request == {
        "signature_name": "serving_default",
        "inputs": {"ids": [[0, 0, 0]], "ok": False, "text": [{"b64": ""}], "x": [[[0.0], [0.0]]]},
    }


@pytest.mark.parametrize(
    ("found", "signature", "message"),
    [
        (metadata(x=tensor("DT_COMPLEX64", -1)), None, "'x' is of type DT_COMPLEX64, which a REST request cannot hold"),
        (metadata(x=tensor("DT_FLOAT", MOST_VALUES, 2)), None, "holds 2000000 values, too many for a probe"),
        (metadata(), None, "the signature 'serving_default' has no inputs"),
        (metadata(x=tensor("DT_FLOAT", 1)), "rank", "has no signature 'rank', it has serving_default"),
        ({}, None, "has no signature 'serving_default', it has none"),
    ],
)
def test_what_cannot_be_made_up_is_said(found, signature, message):
    with pytest.raises(NoRequestError, match=message):
        zero_request(found, signature)


def test_what_is_open_in_a_shape_is_guessed_once_each_and_never_too_large():
    unknown = {"dtype": "DT_STRING", "tensor_shape": {"unknown_rank": True}}
    empty = {"b64": ""}
    bodies = [body["inputs"]["s"] for body in zero_requests(metadata(s=unknown))]
    assert bodies == [[empty], empty, [[empty]], [[[[empty]]]]]
    sides = [len(body["inputs"]["x"][0]) for body in zero_requests(metadata(x=tensor("DT_UINT8", -1, -1, -1, 3)))]
    assert sides == [1, 32, 224]
    assert len(zero_requests(metadata(x=tensor("DT_UINT8", -1, 224, 224, 3)))) == 1
    assert len(zero_requests(metadata(n=tensor("DT_INT64")))) == 1
    assert len(zero_requests(metadata(x=tensor("DT_FLOAT", -1, -1, MOST_VALUES)))) == 1


def test_where_the_default_signature_has_no_inputs_another_is_asked():
    signatures = {"serving_default": {"inputs": {}}, "a": {"inputs": {}}, "b": {"inputs": {"x": tensor("DT_INT8")}}}
    assert zero_request({"metadata": {"signature_def": {"signature_def": signatures}}}) == {
        "signature_name": "b",
        "inputs": {"x": 0},
    }


def test_without_a_default_signature_the_first_public_one_is_used():
    signatures = {"__saved_model_init_op": {}, "b": HALF_PLUS_TWO["serving_default"], "a": {"inputs": {"x": tensor(
        "DT_FLOAT", 1)}}}  # fmt: skip
    assert zero_request({"metadata": {"signature_def": {"signature_def": signatures}}})["signature_name"] == "a"


def test_a_given_probe_is_sent_as_it_stands():
    probe = {"signature_name": "rank", "instances": [1], "expect": [2]}
    assert given_request(probe) == {"signature_name": "rank", "instances": [1]}


@pytest.mark.parametrize(
    ("expected", "answer"),
    [
        ([[0.5]], [[0.5004]]),
        ({"a": [1]}, {"a": [1.0]}),
        (["x"], ["x"]),
        ([math.nan], [math.nan]),
        ([math.inf], [math.inf]),
        ([1000000.0], [1000900.0]),
    ],
)
def test_answers_are_equal_within_the_tolerance(expected, answer):
    assert difference(expected, answer) == ""


@pytest.mark.parametrize(
    ("expected", "answer", "message"),
    [
        ([[0.5]], [[0.502]], "answer[0][0] is 0.502, expected 0.5"),
        ([1, 2], [1], "answer has 1 entries, expected 2"),
        ({"a": 1}, {"b": 1}, "answer has the keys ['b'], expected ['a']"),
        ({"a": [1]}, {"a": [2]}, "answer.a[0] is 2, expected 1"),
        ([True], [1], "answer[0] is 1, expected true"),
        ([0.0], [math.nan], "answer[0] is NaN, expected 0.0"),
        ([1], "x", 'answer is "x", expected [1]'),
    ],
)
def test_a_departing_answer_is_pointed_at(expected, answer, message):
    assert difference(expected, answer) == message


JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=True) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)


@given(JSON)
def test_every_answer_equals_itself(answer):
    assert difference(answer, answer) == ""
