# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Golden files: what they may hold, and how everything that is wrong with one is told, by line and field."""

from __future__ import annotations

import hashlib
import json
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.refusals import sentences
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import golden, policy

NAME = "golden/ranker.jsonl"
GOOD: dict[str, Any] = {"inputs": {"x": [[1.0, 2.0]]}, "expect": {"score": [0.5]}}


def lines(*requests: object) -> bytes:
    return b"".join((each if isinstance(each, bytes) else json.dumps(each).encode()) + b"\n" for each in requests)


def read(*requests: object) -> list[dict[str, Any]]:
    return golden.requests(NAME, lines(*requests))


def refusals(*requests: object) -> list[str]:
    with pytest.raises(WishError) as refused:
        read(*requests)
    return sentences(refused.value)


def test_a_request_is_completed_with_a_name_its_line_and_tolerances():
    assert read(GOOD) == [{"name": "line 1", "line": 1, "rtol": 1e-3, "atol": 1e-5, **GOOD}]


def test_every_key_is_taken_over_as_written():
    given = {
        "name": "first",
        "instances": [{"x": [1, 2]}],
        "signature_name": "wide",
        "expect": {"score": [[1], [2]]},
        "shape": {"score": [-1, 1]},
        "dtype": {"score": "DT_FLOAT"},
        "rtol": 0.0,
        "atol": 0.5,
        "max_latency_ms": 20,
    }
    assert read(b"", given) == [{"line": 2, **given}]


def test_a_request_that_must_fail_expects_nothing_else():
    (found,) = read({"inputs": {"x": ["no number"]}, "must_fail": True})
    assert found["must_fail"] is True


def test_numbers_that_json_has_no_place_for_become_texts():
    (found,) = read(b'{"inputs": {"x": [1]}, "expect": {"y": [NaN, Infinity, -Infinity, "NaN", "9007199254740993"]}}')
    assert found["expect"] == {"y": ["NaN", "Infinity", "-Infinity", "NaN", "9007199254740993"]}
    json.dumps(found, allow_nan=False)


def test_bytes_and_texts_may_stand_side_by_side():
    (found,) = read({"inputs": {"x": [{"b64": "AAE="}]}, "expect": {"y": ["text", {"b64": "AAE="}]}})
    assert found["expect"]["y"] == ["text", {"b64": "AAE="}]


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"expect": {"score": [1, 2, "x"]}}, "expect.score[2] is text; the first value of its output is a number"),
        (
            {"expect": {"score": [True, 1]}},
            "expect.score[1] is a number; the first value of its output is a truth value",
        ),
        (
            {"expect": {"score": [1, None]}},
            'expect.score[1] is nothing; give a number, true, false, a text or {"b64": ...}',
        ),
        (
            {"expect": {"score": [[1, 2], [3]]}},
            "expect.score[1] has 1 entries where the first of its kind has 2; make the lists equally long",
        ),
        (
            {"expect": {"score": [[[1]], [[1, 2]]]}},
            "expect.score[1][0] has 2 entries where the first of its kind has 1; make the lists equally long",
        ),
        ({"expect": {"score": [[[1]], [2]]}}, "expect.score[1][0] is no list; make the lists even"),
        ({"expect": {"score": [1, [2]]}}, "expect.score[1] is a list; make the lists even"),
        ({"expect": [0.5]}, "expect is a list; give a mapping of output names to values"),
        ({"expect": {"y": [{"b64": "?"}]}}, "expect.y[0].b64 is no base64; write the bytes as base64 prints them"),
        ({"dtype": {"score": "DT_STRING"}}, "expect.score[0] is a number; its dtype is DT_STRING"),
        (
            {"dtype": {"score": "float32"}},
            "dtype.score is the string 'float32', which is not a tensor type; write DT_FLOAT",
        ),
        (
            {"shape": {"score": 3}},
            "shape.score is the number 3; give a list of sizes, with -1 for what is free: [-1, 16]",
        ),
        ({"rtol": -1}, "rtol is the number -1; give a number, 0 or more"),
        ({"atol": float("nan")}, "atol is the fraction nan; give a number, 0 or more"),
        ({"max_latency_ms": 0}, "max_latency_ms is the number 0; give milliseconds from 0.001 to 86400000"),
        ({"must_fail": "sometimes"}, "must_fail is the string 'sometimes'; give true or false"),
        ({"must_fail": True}, "expect means nothing beside must_fail; give one of them"),
        ({"expct": {}}, "expct is not a key of a golden request; did you mean 'expect'?"),
        ({"instances": [1]}, "has both instances and inputs; give one of them"),
        ({"inputs": None}, "has neither instances nor inputs; give one of them"),
        ({"inputs": {"x": [float("inf")]}}, "inputs.x[0] is no finite number; give a number that JSON knows"),
        (
            {"inputs": {"x": [1, None]}},
            "inputs.x[1] is null; give a value, or leave the input out where it has a default",
        ),
        ({"inputs": {"x": [2**70]}}, "inputs.x[0] is a number beyond 64 bits; give one that a tensor can hold"),
        ({"expect": {"score": [2**64]}}, "expect.score[0] is a number beyond 64 bits; give one that a tensor can hold"),
        (
            {"inputs": {"x": ["half of a pair \ud83d"]}},
            'inputs.x[0] holds half a character (a surrogate); write it as text, or its bytes as {"b64": ...}',
        ),
        (
            {"expect": {"score": ["\0"]}},
            "expect.score[0] holds a NUL, which no file and no program can; write it as text, or its bytes as "
            '{"b64": ...}',
        ),
        (
            {"shape": {"\ud83d": [1]}},
            'shape holds half a character (a surrogate); write it as text, or its bytes as {"b64": ...}',
        ),
        (
            {"signature_name": "\ud83d"},
            'signature_name holds half a character (a surrogate); write it as text, or its bytes as {"b64": ...}',
        ),
        ({"name": ""}, "name is the string ''; give a text of 1 to 128 printable characters"),
    ],
)
def test_what_is_wrong_with_a_request_is_told_by_line_and_field(more, sentence):
    assert refusals(GOOD, {**GOOD, **more}) == [f"{NAME}:2: {sentence}"]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (b'{"inputs": ', "is not JSON (column 12: Expecting value); write one JSON object a line"),
        (b"\xff", "is not UTF-8; write one JSON object a line"),
        (b"[" * 100_000, "is nested too deeply; write one JSON object a line"),
        (b'{"a": 1, "a": 2}', "is not JSON (a key comes twice); write one JSON object a line"),
        (b"7", 'is the number 7; write a JSON object, {"inputs": {...}, "expect": {...}}'),
        ({"expect": {"y": 1}}, "has neither instances nor inputs; give one of them"),
        ({"inputs": {"x": 1}}, "expects nothing; give expect, shape, dtype, max_latency_ms or must_fail"),
    ],
)
def test_a_line_that_is_no_request_is_refused(line, sentence):
    assert refusals(line) == [f"{NAME}:1: {sentence}"]


def test_all_that_is_wrong_with_a_file_is_told_at_once():
    found = refusals({**GOOD, "rtol": -1, "atol": -1}, b"x", {**GOOD, "name": "a"}, {**GOOD, "name": "a"})
    assert [each.partition(" ")[0] for each in found] == [f"{NAME}:1:", f"{NAME}:1:", f"{NAME}:2:", f"{NAME}:4:"]
    assert found[3] == f"{NAME}:4: name is that of line 3 too; give every request a name of its own"


def test_a_deep_value_is_refused_without_a_traceback():
    deep: Any = 1
    for _level in range(40):
        deep = [deep]
    (inputs,) = refusals({**GOOD, "inputs": {"x": deep}})
    (expect,) = refusals({**GOOD, "expect": {"x": deep}})
    assert "is nested too deeply; stay within 32 levels" in inputs
    assert "is nested too deeply; stay within 32 levels" in expect


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b" \n\n", 'holds no request; write one JSON object a line, {"inputs": {...}, "expect": {...}}'),
        (b"{}\n" * 1001, "has 1001 requests; give at most 1000"),
        (b" " * (golden.MOST_BYTES + 1), "is larger than 8 MiB; give fewer or smaller requests"),
    ],
)
def test_a_file_has_bounds(content, sentence):
    with pytest.raises(WishError) as refused:
        golden.requests(NAME, content)
    assert str(refused.value) == f"{NAME}: {sentence}"


def test_a_line_has_bounds():
    (sentence,) = refusals({**GOOD, "inputs": {"x": "a" * golden.MOST_LINE_BYTES}})
    assert sentence == f"{NAME}:1: is longer than 1 MiB; give a smaller request"


def test_the_plan_has_the_first_requests_and_says_of_how_many():
    content = lines(*[GOOD] * 30)
    found = golden.planned(NAME, content)
    assert (found["file"], found["total"], len(found["requests"])) == (NAME, 30, 20)
    assert found["sha256"] == hashlib.sha256(content).hexdigest()


def test_the_plan_stays_small_whatever_the_requests():
    big = {**GOOD, "inputs": {"x": "a" * 600_000}}
    assert len(golden.planned(NAME, lines(big, big, big))["requests"]) == 1


def wished(file: str) -> SimpleNamespace:
    return SimpleNamespace(path="tfserving_models[0]", golden={"file": file})


@pytest.mark.parametrize("levels", [0, golden.MOST_DEPTH - 1])
@pytest.mark.parametrize("value", [2**64 - 1, -(2**63), 0.5])
def test_what_a_file_may_hold_a_host_may_have_recorded(value, levels):
    for _level in range(levels):
        value = [value]
    planned = golden.planned(NAME, lines({"inputs": {"x": value}, "expect": {"y": value}}))
    known = {"versions": [7], "proofs": {"7": {"golden": planned}}}
    found = policy.complete({"in_force": {"ranker": known}})["in_force"]["ranker"]
    assert found["proofs"][7]["golden"]["requests"] == planned["requests"]


def test_files_are_read_into_the_wishes_and_all_refusals_come_together(tmp_path):
    (tmp_path / "good.jsonl").write_bytes(lines(GOOD))
    (tmp_path / "bad.jsonl").write_bytes(b"x\n")
    good, bad, none = wished("good.jsonl"), wished("bad.jsonl"), wished("none.jsonl")
    plain = SimpleNamespace(path="", golden=None)
    with pytest.raises(WishError) as refused:
        golden.fill({"a": good, "b": bad, "c": none, "d": plain}, lambda name: str(tmp_path / name))
    assert good.golden["total"] == 1
    assert plain.golden is None
    assert sentences(refused.value) == [
        "bad.jsonl:1: is not JSON (column 1: Expecting value); write one JSON object a line",
        "tfserving_models[0].golden: names none.jsonl, which cannot be read (No such file or directory); "
        "give a file beside the inventory, or its absolute path",
    ]


def test_what_is_no_file_is_not_read(tmp_path):
    with pytest.raises(WishError, match="cannot be read"):
        golden.fill({"a": wished("x")}, lambda name: str(tmp_path))


@pytest.mark.parametrize(("given", "found"), [("auto", "auto"), (False, False), ("false", False), ("False", False)])
def test_warm_up_records_are_made_or_not(given, found):
    assert golden.warmup("tfserving_models[0].warmup", given) == found


@pytest.mark.parametrize("given", [True, "always", 1, None])
def test_another_word_for_warm_up_is_refused(given):
    with pytest.raises(WishError, match=r"write auto \(made of golden or of the probe\) or false"):
        golden.warmup("tfserving_models[0].warmup", given)
