# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Requests that are recorded or made up, labels, and answers as the builder writes them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.optimization import answers, batches, requests

SURVEYED: dict[str, Any] = {
    "signatures": {
        "serving_default": {
            "method": "predict",
            "inputs": {"x": {"dtype": "DT_FLOAT", "shape": [-1, 2]}},
            "outputs": {"y": {"dtype": "DT_FLOAT", "shape": [-1]}, "label": {"dtype": "DT_INT64", "shape": [-1]}},
            "parses_examples": False,
            "batchable": True,
        },
        "classify": {
            "method": "classify",
            "inputs": {"inputs": {"dtype": "DT_STRING", "shape": [-1]}},
            "outputs": {"scores": {"dtype": "DT_FLOAT", "shape": [-1, 3]}},
            "parses_examples": True,
            "batchable": True,
        },
    }
}


def written(folder: Path, lines: list[Any], name: str = "r.jsonl") -> str:
    path = folder / name
    path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
    return str(path)


def samples(count: int, rows: int = 1) -> list[Any]:
    return [{"instances": [[number + 0.5, row] for row in range(rows)]} for number in range(count)]


def test_samples_are_recorded_requests(tmp_path: Path) -> None:
    found = requests.recorded(written(tmp_path, samples(500, rows=2)), None, "ranker", SURVEYED)
    assert (len(found.lines), set(found.rows), found.recorded) == (500, {2}, True)
    assert json.loads(found.lines[1]) == {
        "signature_name": "serving_default",
        "inputs": {"x": [[1.5, 0.0], [1.5, 1.0]]},
    }
    assert found.left_out == ["classify"]


def test_golden_requests_are_recorded_requests_but_for_those_that_must_fail(tmp_path: Path) -> None:
    lines: list[Any] = [
        {"name": str(number), "inputs": {"x": [[number, 1]]}, "expect": {"y": [1]}, "signature_name": "serving_default"}
        for number in range(500)
    ]
    lines.append({"name": "bad", "inputs": {"x": ["text"]}, "must_fail": True})
    assert len(requests.recorded(written(tmp_path, lines), None, "ranker", SURVEYED).lines) == 500


def test_a_recorded_request_that_does_not_fit_is_refused_with_its_line(tmp_path: Path) -> None:
    lines = [*samples(500), {"instances": [[1.0]]}, {"name": "g", "inputs": {"z": [[1, 2]]}, "expect": {}}, "{"]
    with pytest.raises(WishError) as refused:
        requests.recorded(written(tmp_path, lines), None, "ranker", SURVEYED)
    told = str(refused.value).splitlines()
    assert told[0] == "r.jsonl line 501, instances: has the shape [1, 1]; the signature says [-1, 2]"
    assert told[2].startswith("- r.jsonl line 502, inputs.z: is no input of ranker")
    assert told[3].startswith("- r.jsonl line 503: is not JSON")


def test_the_same_request_again_is_no_other(tmp_path: Path) -> None:
    with pytest.raises(WishError) as refused:
        requests.recorded(written(tmp_path, samples(499) * 2), None, "ranker", SURVEYED)
    assert str(refused.value) == "requests: r.jsonl has 499 different requests; record at least 500"


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WishError, match="cannot be read"):
        requests.recorded(str(tmp_path / "none"), None, "ranker", SURVEYED)


def test_requests_are_made_up_for_signatures_that_take_tensors() -> None:
    found = requests.made_up("ranker", SURVEYED)
    assert (found.recorded, found.left_out, len(set(found.groups))) == (False, ["classify"], requests.MADE_UP)
    only_examples = {"signatures": {"classify": SURVEYED["signatures"]["classify"]}}
    with pytest.raises(WishError, match="can be made up for none of the signatures of ranker; give recorded requests"):
        requests.made_up("ranker", only_examples)


def test_labels_are_one_line_a_request_and_one_number_a_row(tmp_path: Path) -> None:
    path = written(tmp_path, samples(500, rows=2))
    labels = written(tmp_path, [[0, 1]] * 500, "l.jsonl")
    found = requests.recorded(path, labels, "ranker", SURVEYED)
    assert found.labels is not None
    assert found.labels[499] == [0.0, 1.0]


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        (
            [[0, 1]] * 499,
            "labels: l.jsonl has 499 lines for 500 requests; write one line for each request, in the same order",
        ),
        ([1] * 500, "l.jsonl:1: has 1 label for 2 rows; write one for each row"),
        (["x"] * 500, "l.jsonl:1: is not JSON; write a number, or a list with a number for each row"),
        (
            [["a", 1]] * 500,
            "l.jsonl:1: holds the string 'a'; write numbers: a class by its place, a worth, a value",
        ),
    ],
)
def test_labels_that_do_not_fit_are_refused(tmp_path: Path, lines: list[Any], sentence: str) -> None:
    labels = written(tmp_path, lines, "l.jsonl")
    with pytest.raises(WishError) as refused:
        requests.recorded(written(tmp_path, samples(500, rows=2)), labels, "ranker", SURVEYED)
    assert str(refused.value) == sentence


def test_the_output_is_the_only_one_of_fractions_or_has_to_be_named() -> None:
    assert requests.answer_of(None, ["serving_default"], SURVEYED) == "y"
    assert requests.answer_of("scores", ["classify"], SURVEYED) == "scores"
    with pytest.raises(WishError) as refused:
        requests.answer_of(None, ["serving_default", "classify"], SURVEYED)
    assert (
        str(refused.value) == "answer: is missing, and the model gives scores and y; name the output that callers use"
    )
    with pytest.raises(WishError, match="answer: label is no output of fractions; it has y"):
        requests.answer_of("label", ["serving_default"], SURVEYED)


# --- answers -------------------------------------------------------------------------------------------------


def test_answers_are_read_as_the_builder_writes_them() -> None:
    outputs = {
        "y": {"dtype": "DT_FLOAT", "shape": [2], "values": [0.5, math.nan]},
        "t": {"dtype": "DT_STRING", "shape": [2], "values": ["a", {"b64": "/w=="}]},
        "n": {"dtype": "DT_INT64", "shape": [1], "values": [7]},
    }
    lines = [
        json.dumps({"request": 0, "batch_size": None, "error": "", "outputs": outputs}).encode(),
        json.dumps({"request": 0, "batch_size": 8, "error": "no", "outputs": {}}).encode(),
    ]
    first, second = answers.read("a.jsonl", lines)
    assert (first.request, first.size, first.outputs["t"].values) == (0, 0, [b"a", b"\xff"])
    assert math.isnan(first.outputs["y"].values[1])
    assert (second.size, second.error) == (8, "no")


@pytest.mark.parametrize(
    "line",
    [
        "[]",
        "{",
        '{"request": -1, "outputs": {}}',
        '{"request": true, "outputs": {}}',
        '{"request": 0, "outputs": {"y": {"dtype": "DT_FLOAT", "shape": [2], "values": [1]}}}',
        '{"request": 0, "outputs": {"y": {"dtype": "DT_FLOAT", "shape": [1], "values": ["x"]}}}',
        '{"request": 0, "outputs": {"y": {"dtype": "DT_INT64", "shape": [1], "values": [1.5]}}}',
        '{"request": 0, "outputs": {"y": {"dtype": "DT_STRING", "shape": [1], "values": [3]}}}',
        '{"request": 0}',
    ],
)
def test_what_is_no_answer_is_refused_with_its_line(line: str) -> None:
    with pytest.raises(WishError, match=r"a.jsonl:1: is no answer of the builder"):
        answers.read("a.jsonl", [line.encode()])


# --- batches -------------------------------------------------------------------------------------------------


def test_batches_are_those_that_the_server_forms_and_odd_ones() -> None:
    assert batches.sizes([4, 16]) == [1, 3, 4, 7, 13, 15, 16]
    assert batches.sizes([]) == [1, 3, 7, 13, 63, 64]
    assert batches.sizes([2]) == [1, 2]


def test_few_requests_are_asked_in_batches_and_few_rows_of_large_ones() -> None:
    assert len(batches.chosen([1] * 500)) == batches.ASKED
    assert batches.chosen([1] * 3) == [0, 1, 2]
    assert batches.chosen([700] * 500) == [0, 10]
    assert batches.chosen([100_000]) == [0]
