# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Replies judged: names, types, shapes and values, over gRPC and in both forms of REST."""

from __future__ import annotations

import base64
import json
import math

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.load import messages, replies
from ansible_collections.tfserving.fleet.plugins.module_utils.load.messages import Tensor
from hypothesis import given, settings
from hypothesis import strategies as st


def expectation(tolerance=1e-3, **outputs):
    """Return an expectation of outputs given as (dtype, shape, values)."""
    return {
        "tolerance": tolerance,
        "outputs": {name: dict(zip(("dtype", "shape", "values"), each)) for name, each in outputs.items()},
    }


SCORES = expectation(scores=("DT_FLOAT", [3], [0.5, math.nan, math.inf]))
SHAPE = expectation(scores=("DT_FLOAT", [3], None))
TWO = expectation(
    label=("DT_STRING", [2], ["a", {"b64": base64.b64encode(b"\xff").decode()}]), n=("DT_INT64", [2, 1], [1, 2])
)


def grpc(**outputs) -> bytes:
    return messages.encode_response({name: Tensor(*each) for name, each in outputs.items()})


def rest(answer) -> bytes:
    return json.dumps(answer).encode()


GOOD = [
    (SCORES, "grpc", grpc(scores=("DT_FLOAT", (3,), [0.5004, math.nan, math.inf]))),
    (SCORES, "rest", rest({"predictions": [0.5004, math.nan, math.inf]})),
    (SCORES, "rest", rest({"outputs": [0.5, math.nan, math.inf]})),
    (SHAPE, "grpc", grpc(scores=("DT_FLOAT", (3,), [9, 9, 9]))),
    (SHAPE, "rest", rest({"predictions": [9, 9.5, 9]})),
    (TWO, "grpc", grpc(n=("DT_INT64", (2, 1), [1, 2]), label=("DT_STRING", (2,), [b"a", b"\xff"]))),
    (TWO, "rest", rest({"predictions": [{"label": "a", "n": [1]}, {"n": [2], "label": {"b64": "/w=="}}]})),
    (TWO, "rest", rest({"outputs": {"label": ["a", {"b64": "/w=="}], "n": [[1], [2]]}})),
    (expectation(y=("DT_FLOAT", [-1, 2], None)), "grpc", grpc(y=("DT_FLOAT", (5, 2), [0] * 10))),
    (expectation(y=("DT_FLOAT", [-1, 2], None)), "rest", rest({"predictions": [[1, 2]] * 5})),
    (expectation(y=("DT_FLOAT", None, None)), "rest", rest({"predictions": [[1, 2]] * 5})),
    (expectation(y=("DT_FLOAT", [0, 4], [])), "rest", rest({"predictions": []})),
    (expectation(y=("DT_FLOAT", [], [2.0])), "rest", rest({"outputs": 2})),
    (expectation(y=("DT_COMPLEX64", [1], [[1.0, 2.0]])), "grpc", grpc(y=("DT_COMPLEX64", (1,), [1 + 2j]))),
    (expectation(y=("DT_COMPLEX64", [1], [[1.0, 2.0]])), "rest", rest({"outputs": [[1, 2]]})),
    (expectation(y=("DT_BOOL", [1], [True])), "rest", rest({"outputs": [True]})),
    (expectation(a=("DT_FLOAT", [0], None), b=("DT_FLOAT", [0], None)), "rest", rest({"predictions": []})),
]

WRONG = [
    (
        SCORES,
        "grpc",
        grpc(scores=("DT_FLOAT", (3,), [0.502, math.nan, math.inf])),
        "value 0 of the output scores is 0.50",
    ),
    (
        SCORES,
        "grpc",
        grpc(scores=("DT_FLOAT", (3,), [0.5, 0.0, math.inf])),
        "value 1 of the output scores is 0.0, not nan",
    ),
    (SCORES, "grpc", grpc(scores=("DT_FLOAT", (3,), [0.5, math.nan, -math.inf])), "is -inf, not inf"),
    (
        SCORES,
        "rest",
        rest({"predictions": [0.502, math.nan, math.inf]}),
        "value 0 of the output scores is 0.502, not 0.5",
    ),
    (SHAPE, "grpc", grpc(scores=("DT_FLOAT", (2,), [1, 2])), "the output scores has the shape [2], not [3]"),
    (SHAPE, "grpc", grpc(scores=("DT_FLOAT", (3, 1), [1, 2, 3])), "the output scores has the shape [3, 1], not [3]"),
    (
        SHAPE,
        "grpc",
        grpc(scores=("DT_DOUBLE", (3,), [1, 2, 3])),
        "the output scores is of type DT_DOUBLE, not DT_FLOAT",
    ),
    (SHAPE, "grpc", grpc(other=("DT_FLOAT", (3,), [1, 2, 3])), "its outputs are other, not scores"),
    (SHAPE, "grpc", b"", "its outputs are none, not scores"),
    (SHAPE, "grpc", b"\xff", "it is no prediction (it breaks off in a number)"),
    (SHAPE, "rest", rest({"predictions": [1, 2]}), "the output scores has the shape [2], not [3]"),
    (SHAPE, "rest", rest({"predictions": [1, 2, "x"]}), "it is no prediction (a value is no DT_FLOAT)"),
    (SHAPE, "rest", rest({"predictions": [1, 2, [3]]}), "it is no prediction (a value is no DT_FLOAT)"),
    (SHAPE, "rest", rest({"error": "queue is full"}), "it has neither predictions nor outputs"),
    (SHAPE, "rest", b"<html>", "it is no prediction"),
    (SHAPE, "rest", b"[" * 100_000, "it is no prediction"),
    (SHAPE, "rest", b'{"predictions": [' + b"1," * 1_000_001 + b"1]}", "more than 1000000 values"),
    (TWO, "rest", rest({"predictions": [{"label": "a", "n": [1]}, {"n": [2]}]}), "its rows have different outputs"),
    (TWO, "rest", rest({"predictions": ["a", "b"]}), "it names no outputs"),
    (TWO, "rest", rest({"predictions": 3}), "its predictions are no list"),
    (TWO, "rest", rest({"outputs": {"label": ["a", "b"]}}), "its outputs are label, not label, n"),
    (
        TWO,
        "rest",
        rest({"outputs": {"label": ["a", {"b64": "/w=="}], "n": [[1], 2]}}),
        "its lists are of unequal lengths",
    ),
    (TWO, "rest", rest({"outputs": {"label": ["a", {"b64": "?"}], "n": [[1], [2]]}}), "a text is no base64"),
    (TWO, "rest", rest({"outputs": {"label": ["a", {"b64": "/w=="}], "n": [[1], [2.0]]}}), "a value is no DT_INT64"),
    # a whole number is equal or not, however wide the tolerance
    (expectation(y=("DT_INT64", [1], [5000])), "grpc", grpc(y=("DT_INT64", (1,), [5001])), "is 5001, not 5000"),
    (
        expectation(y=("DT_COMPLEX64", [1], [[1, 2]])),
        "grpc",
        grpc(y=("DT_COMPLEX64", (1,), [1 + 3j])),
        "is (1+3j), not (1+2j)",
    ),
    (expectation(y=("DT_FLOAT", [1], [0.0])), "rest", rest({"outputs": [10**400]}), "a number is beyond a float"),
]


@pytest.mark.parametrize(("expect", "protocol", "reply"), GOOD)
def test_a_reply_as_expected_is_good(expect, protocol, reply):
    assert replies.difference(expect, protocol, reply) == ""
    assert replies.prepare(expect, protocol)(reply) is None


@pytest.mark.parametrize(("expect", "protocol", "reply", "words"), WRONG)
def test_any_other_reply_is_wrong_and_the_words_say_how(expect, protocol, reply, words):
    assert words in replies.difference(expect, protocol, reply)
    assert replies.prepare(expect, protocol)(reply) == "wrong_reply"


def test_text_of_the_server_is_made_printable():
    words = replies.difference(SHAPE, "grpc", grpc(**{"\x1b[31m": ("DT_FLOAT", (1,), [1])}))
    assert words == r"its outputs are \x1b[31m, not scores"


@pytest.mark.parametrize(
    ("protocol", "reply", "word"),
    [
        ("grpc", grpc(y=("DT_FLOAT", (1,), [1])), None),
        ("grpc", b"", "wrong_reply"),
        ("grpc", b"\x08", "wrong_reply"),
        ("rest", b'{\n    "predictions": [1]\n}', None),
        ("rest", b'{"outputs": 1}\n', None),
        ("rest", b'{"error": "no"}', "wrong_reply"),
        ("rest", b'{"predictions": [1, 2', "wrong_reply"),
        ("rest", b"", "wrong_reply"),
    ],
)
def test_without_an_expectation_a_reply_need_only_be_one(protocol, reply, word):
    assert replies.prepare(None, protocol)(reply) == word


def test_the_bytes_of_a_good_reply_are_not_decoded_again(monkeypatch):
    check = replies.prepare(SHAPE, "grpc")
    good, other = grpc(scores=("DT_FLOAT", (3,), [1, 2, 3])), grpc(scores=("DT_FLOAT", (3,), [4, 5, 6]))
    assert check(good) is None
    monkeypatch.setattr(messages, "parts", lambda _data: {})
    assert check(good) is None
    assert check(other) == "wrong_reply"


def test_a_wrong_reply_is_not_remembered_as_a_good_one():
    check = replies.prepare(SHAPE, "rest")
    assert [check(rest({"predictions": [1]})) for _time in range(2)] == ["wrong_reply"] * 2


def test_memory_is_bounded_when_every_reply_differs():
    check = replies.prepare(SHAPE, "rest")
    assert {check(rest({"predictions": [n, n, n]})) for n in range(1000)} == {None}
    remembered = next(cell.cell_contents for cell in check.__closure__ if isinstance(cell.cell_contents, set))
    assert len(remembered) == replies.MOST_REMEMBERED


@pytest.mark.parametrize(
    ("expect", "words"),
    [
        ({"tolerance": 1}, "is no expectation"),
        ({"outputs": []}, "is no expectation"),
        ({"outputs": {"y": {"shape": [1]}}}, "is no expectation"),
        (expectation(y=("DT_FLOAT", [2], [1.0])), "the expected output y has 1 values"),
        (expectation(y=("DT_FLOAT", None, [1.0])), "the expected output y has 1 values"),
        (expectation(y=("DT_INT8", [1], ["x"])), "a value is no DT_INT8"),
    ],
)
def test_an_expectation_that_is_none_is_refused(expect, words):
    with pytest.raises(ValueError, match=words):
        replies.prepare(expect, "grpc")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.just({"b64": "/w=="}),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["label", "n", "scores"]), inner),
    max_leaves=8,
)


@given(st.sampled_from([SCORES, SHAPE, TWO]), st.sampled_from(["predictions", "outputs", "error"]), JSON)
@settings(max_examples=300)
def test_no_reply_in_json_raises(expect, key, held):
    assert replies.prepare(expect, "rest")(rest({key: held})) in (None, "wrong_reply")


@given(st.sampled_from(["rest", "grpc"]), st.binary(max_size=100))
def test_no_garbage_raises(protocol, reply):
    assert replies.prepare(TWO, protocol)(reply) == "wrong_reply"
    assert replies.prepare(None, protocol)(reply) in (None, "wrong_reply")
