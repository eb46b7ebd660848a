# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""One golden request over both protocols, and the judgement of what came back."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.golden import requests
from ansible_collections.tfserving.fleet.plugins.module_utils.load import messages
from ansible_collections.tfserving.fleet.plugins.module_utils.load.messages import Tensor
from ansible_collections.tfserving.fleet.plugins.module_utils.saved_model import signatures
from ansible_collections.tfserving.fleet.plugins.module_utils.saved_model.signatures import Signature

ONE = Signature(
    inputs={"x": signatures.Tensor("DT_FLOAT", (-1, 2))}, outputs={"y": signatures.Tensor("DT_FLOAT", (-1,))}
)
TWO = Signature(
    inputs={"id": signatures.Tensor("DT_INT64", (-1,)), "text": signatures.Tensor("DT_STRING", (-1,))},
    outputs={"label": signatures.Tensor("DT_INT64", (-1,)), "raw_bytes": signatures.Tensor("DT_STRING", (-1,))},
)


def request(**more: Any) -> dict[str, Any]:
    return {"name": "first", "line": 7, "rtol": 1e-3, "atol": 1e-5, **more}


def test_the_body_over_rest_is_the_request_as_written():
    given = request(inputs={"x": [[1, 2]]}, signature_name="wide", expect={"y": [1]})
    assert requests.rest_body(given) == {"signature_name": "wide", "inputs": {"x": [[1, 2]]}}


@pytest.mark.parametrize(
    "given",
    [
        {"inputs": {"id": [5, 6], "text": ["a", {"b64": "/w=="}]}},
        {"instances": [{"id": 5, "text": "a"}, {"id": 6, "text": {"b64": "/w=="}}]},
    ],
)
def test_the_body_over_grpc_holds_the_same_inputs(given):
    body = requests.grpc_body(request(**given), "ranker", TWO, version=8)
    assert messages.decode_request(body) == {
        "id": Tensor("DT_INT64", (2,), [5, 6]),
        "text": Tensor("DT_STRING", (2,), [b"a", b"\xff"]),
    }
    wanted = {"id": Tensor("DT_INT64", (2,), [5, 6]), "text": Tensor("DT_STRING", (2,), [b"a", b"\xff"])}
    assert body == messages.encode_request("ranker", "serving_default", wanted, version=8)


def test_a_request_that_the_signature_does_not_take_is_refused_by_its_field():
    with pytest.raises(WishError) as refused:
        requests.tensors_of(request(inputs={"x": [[1.0, "a"]]}), "ranker", ONE, "golden/ranker.jsonl:7")
    assert str(refused.value) == (
        "golden/ranker.jsonl:7: inputs.x[0][1]: is the string 'a'; give a number within its range (DT_FLOAT)"
    )


@pytest.mark.parametrize("form", ["inputs", "instances"])
def test_a_lone_output_has_no_name_over_rest(form):
    assert requests.of_rest({form: [[1, 2]]}, [0.5, 1.5], ONE) == {"y": Tensor("DT_FLOAT", (2,), [0.5, 1.5])}


@pytest.mark.parametrize(
    ("form", "answer"),
    [
        ("instances", [{"label": 1, "raw_bytes": {"b64": "AP8="}}, {"label": 2, "raw_bytes": {"b64": ""}}]),
        ("inputs", {"label": [1, 2], "raw_bytes": [{"b64": "AP8="}, {"b64": ""}]}),
    ],
)
def test_rows_and_columns_of_an_answer_are_the_same_outputs(form, answer):
    assert requests.of_rest({form: [1]}, answer, TWO) == {
        "label": Tensor("DT_INT64", (2,), [1, 2]),
        "raw_bytes": Tensor("DT_STRING", (2,), [b"\x00\xff", b""]),
    }


@pytest.mark.parametrize(
    ("signature", "answer", "words"),
    [
        (ONE, {"b": 1}, "y is a mapping and not a list"),
        (ONE, ["x"], r"y\[0\] is the string 'x'"),
        (ONE, [[1], 2], r"y\[0\] is a list"),
        (TWO, [1], "it names no outputs"),
        (TWO, {"label": [1], "new": [1]}, "the output new is not in its signature"),
    ],
)
def test_an_answer_that_is_none_of_its_signature_is_a_value_error(signature, answer, words):
    with pytest.raises(ValueError, match=words):
        requests.of_rest({"inputs": {}}, answer, signature)


def test_an_answer_over_grpc_is_compared_like_one_over_rest():
    outputs = {"y": Tensor("DT_FLOAT", (1,), [0.1])}
    answer = requests.of_grpc(messages.encode_response(outputs))
    given = request(inputs={"x": [[1, 2]]}, expect={"y": [0.1]}, rtol=0.0, atol=0.0)
    assert requests.faults(given, answer) == []
    assert requests.faults(given, requests.of_rest(given, [0.1], ONE)) == []


def test_bytes_that_are_no_answer_over_grpc_are_a_value_error():
    with pytest.raises(ValueError, match="breaks off"):
        requests.of_grpc(b"\x0a\xff")


def test_each_output_and_the_latency_are_told():
    answer = {"y": Tensor("DT_FLOAT", (1,), [2.0])}
    given = request(inputs={}, expect={"y": [1], "z": [1]}, max_latency_ms=10)
    assert requests.faults(given, answer, 12.34) == [
        "y[0] is 2, expected 1 (1 apart, 0.00101 allowed; 1 of 1 values differs)",
        "output z is missing (there are y)",
        "it took 12.3 ms, more than 10 ms",
    ]
    assert len(requests.faults(given, answer)) == 2


def test_a_request_that_must_fail_is_wrong_when_it_is_answered():
    assert requests.faults(request(must_fail=True), {}) == ["it was answered, and must fail"]


@pytest.mark.parametrize(
    ("must_fail", "status", "fault"),
    [
        (False, 400, "bad shape"),
        (True, 400, ""),
        (True, 500, ""),
        (True, 404, "it must fail for what it asks, and the server says bad shape"),
        (True, 503, "it must fail for what it asks, and the server says bad shape"),
        (True, 0, "it must fail for what it asks, and the server says bad shape"),
    ],
)
def test_only_a_refusal_of_the_request_itself_is_the_wanted_failure(must_fail, status, fault):
    assert requests.fault_of_error(request(must_fail=must_fail), status, "bad shape") == fault
