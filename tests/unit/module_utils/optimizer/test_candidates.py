# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Candidates beside their models, with the real TensorFlow: what they keep, what they answer, what is refused."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tfserving.fleet.plugins.plugin_utils.benchmark import program
from repository import REPOSITORY

RUNTIME = os.environ.get("LAB_RUNTIME") or str(REPOSITORY / ".cache" / "tensorflow")
# Small ones, the first beyond a vector of 16 and the first beyond 64; all of them at length.
SIZES = range(1, 66, 2) if os.environ.get("LAB_LONG") else (1, 3, 17, 65)
# What is left between two orders of the same additions, for numbers of 32 bits.
EXACT = 5e-7
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3"}
Answers = dict[tuple[int, Any], dict[str, Any]]


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    """Models, candidates and the answers of both, which one process with TensorFlow has written."""
    out = tmp_path_factory.mktemp("written")
    script = REPOSITORY / "tests" / "unit" / "support" / "write_optimizer_cases.py"
    command = [sys.executable, str(script), RUNTIME, str(out), *map(str, SIZES)]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, **QUIET})
    return out


@pytest.fixture(scope="module")
def told(written) -> dict[str, Any]:
    return json.loads((written / "told.json").read_text())["told"]


@pytest.fixture(scope="module")
def surveys(written) -> dict[str, Any]:
    return json.loads((written / "told.json").read_text())["surveys"]


def answers(written: Path, name: str) -> Answers:
    with (written / "answers" / name / "answers.jsonl").open() as file:
        return {(line["request"], line["batch_size"]): line for line in map(json.loads, file)}


def departures(one: Answers, other: Answers, signature: str | None = None) -> Iterator[float]:
    """Yield how far each number is from the one beside it, relative to numbers above 1; all else must be equal."""
    for place, line in one.items():
        beside = other[place]
        if signature not in (None, line["signature"]):
            continue
        assert (line["error"], beside["error"]) == ("", "")
        assert set(line["outputs"]) == set(beside["outputs"])
        for name, held in line["outputs"].items():
            assert [held[key] for key in ("dtype", "shape")] == [
                beside["outputs"][name][key] for key in ("dtype", "shape")
            ]
            for value, found in zip(held["values"], beside["outputs"][name]["values"]):
                if isinstance(value, str):
                    assert value == found
                else:
                    yield abs(value - found) / max(1.0, abs(value))


# --- freezing -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["digits", "ranker", "words", "flow", "one"])
def test_a_frozen_model_answers_as_before_at_odd_batch_sizes(written, told, name):
    assert told[f"{name}-freeze"] == ""
    before, after = answers(written, name), answers(written, f"{name}-freeze")
    sizes = {size for _, size in before}
    assert sizes == {None, *SIZES}
    if name == "flow":  # its scalar cannot be cut into rows
        before = {place: line for place, line in before.items() if place[1] is None}
    assert max(departures(before, after)) <= EXACT


def test_rows_of_a_batch_are_answered_as_alone(written):
    found = answers(written, "digits")
    for (request, size), line in found.items():
        assert line["outputs"].keys() == found[request, None]["outputs"].keys(), size
    alone = {place: line for place, line in found.items() if place[1] is None}
    batched = {(request, None): line for (request, size), line in found.items() if size == 65}
    assert max(departures(alone, batched)) <= EXACT


def test_freezing_keeps_every_signature_and_its_method(surveys):
    before, after = surveys["digits"]["signatures"], surveys["digits-freeze"]["signatures"]
    assert before == after
    assert {name: each["method"] for name, each in after.items()} == {
        "serving_default": "tensorflow/serving/predict",
        "classify_digits": "tensorflow/serving/classify",
        "regress_digits": "tensorflow/serving/regress",
    }
    assert [each["already_frozen"] for each in (surveys["digits"], surveys["digits-freeze"])] == [False, True]


def test_a_frozen_model_has_its_assets_and_warm_up_file_and_no_variables(written):
    digits, words = written / "digits-freeze", written / "words-freeze"
    assert sorted(str(path.relative_to(digits)) for path in digits.rglob("*") if path.is_file()) == [
        "assets.extra/tf_serving_warmup_requests",
        "saved_model.pb",
    ]
    assert sorted(str(path.relative_to(words)) for path in words.rglob("*") if path.is_file()) == [
        "assets/words.txt",
        "saved_model.pb",
    ]
    warmup = "assets.extra/tf_serving_warmup_requests"
    assert (digits / warmup).read_bytes() == (written / "digits" / warmup).read_bytes()


# --- other candidates ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "most", "signature"),
    [
        ("digits-xla", EXACT, None),
        ("digits-tflite_float", EXACT, "serving_default"),
        # One part in 256 of the weights' range, and bfloat16's 8 bits.
        ("digits-tflite_int8", 0.02, "serving_default"),
        ("digits-mixed_precision", 0.02, "serving_default"),
    ],
)
def test_other_candidates_answer_nearly_as_the_model(written, told, name, most, signature):
    assert told[name] == ""
    before, after = answers(written, "digits"), answers(written, name)
    if most > EXACT:
        # The class of a picture between two of them may change.
        for line in [*before.values(), *after.values()]:
            line["outputs"].pop("class_id", None)
    found = [*departures(before, after, signature)]
    assert len(found) > 500
    assert max(found) <= most


def test_a_signature_that_tflite_has_not_is_told_request_by_request(written):
    lines = answers(written, "digits-tflite_float")
    assert {line["error"] for line in lines.values() if line["signature"] == "classify_digits"} == {
        "the candidate has no signature classify_digits"
    }


def test_a_tflite_model_carries_the_names_that_callers_know(written):
    found = json.loads((written / "told.json").read_text())["lite"]
    assert {name: sorted(keys) for name, keys in found["inputs"].items()} == {"serving_default": ["x"]}
    assert {name: sorted(keys) for name, keys in found["outputs"].items()} == {
        "serving_default": ["class_id", "probabilities"]
    }
    tensors = [sorted(found[side]["serving_default"].values()) for side in ("inputs", "outputs")]
    assert tensors == found["tensors"]
    assert not found["has_zero"]


# --- refusals -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "why"),
    [
        (
            "late-freeze",
            "the model sets variables and fills tables in one step when it is loaded: it stays as it is",
        ),
        (
            "one-xla",
            "signature serving_default calls no function, as in a frozen model or one of TensorFlow 1, and only "
            "functions can ask to be compiled: compile with flags, or before it is frozen",
        ),
        (
            "classify-tflite",
            "TFLite cannot convert signature classify_digits: it has no built-in for ParseExampleV2",
        ),
        (
            "text",
            "the model has no saved_model.pb: it has saved_model.pbtxt, which is not read here: save it as "
            "saved_model.pb",
        ),
        ("empty", "the model has no saved_model.pb: give one"),
        (
            "outside",
            "the model lacks assets/../passwd, which its graph names: give the whole SavedModel",
        ),
        ("blank", "the model has no graph with the tag serve"),
        ("linked", "saved_model.pb in the model is neither a file nor a directory"),
    ],
)
def test_what_cannot_be_made_is_refused_in_one_sentence(told, name, why):
    assert told[name] == why


def test_tf_trt_is_refused_where_no_gpu_is(told):
    assert told["digits-tf_trt"].startswith("TensorFlow 2.")
    assert told["digits-tf_trt"].endswith(" sees no GPU here: TF-TRT is built on the GPU model that serves, NVIDIA A10")


def test_what_is_no_message_is_refused_in_one_sentence(told):
    assert told["noise"].startswith("saved_model.pb is no SavedModel: ")
    assert "\n" not in told["noise"]


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("count", "has_state", True),
        ("count", "has_random", False),
        ("draw", "has_random", True),
        ("draw", "has_state", False),
        ("flow", "has_state", False),
        ("words", "has_state", False),
        ("digits", "has_random", False),
        ("read", "refused_ops", ["ReadFile"]),
        ("flow", "refused_ops", []),
        ("constant", "already_frozen", True),
        ("one", "already_frozen", False),
        ("digits", "warmup", True),
        ("words", "warmup", False),
    ],
)
def test_a_survey_says_what_a_model_is(surveys, name, key, value):
    assert surveys[name][key] == value


def test_a_survey_says_which_signatures_parse_examples_and_make_batches(surveys):
    digits = surveys["digits"]["signatures"]
    assert {name: each["parses_examples"] for name, each in digits.items()} == {
        "serving_default": False,
        "classify_digits": True,
        "regress_digits": True,
    }
    assert [surveys[name]["signatures"]["serving_default"]["batchable"] for name in ("one", "flow")] == [True, False]


def test_a_request_that_does_not_fit_is_told_and_the_others_are_answered(written):
    lines = answers(written, "constant")
    assert [lines[place, None]["error"] for place in range(7)] == [
        "its input x has the shape [1, 3] and the signature says [-1, 4]",
        "z is no input of its signature",
        "its input x does not fit: could not convert string to float: b'text'",
        "it lacks the input x",
        "the model has no signature gone",
        "it has not one of instances and inputs",
        "",
    ]
    assert lines[6, 65]["error"] == ""
    assert len(lines[6, 65]["outputs"]["y"]["values"]) == 8


@pytest.mark.parametrize("seed", range(3))
def test_a_spoiled_candidate_answers_and_is_far_from_its_model(written, seed):
    before, after = answers(written, "digits"), answers(written, f"spoiled-{seed}")
    found = [*departures(before, after, "serving_default")]
    assert any(math.isnan(each) or each > 0.01 for each in found)


# --- the program, as a builder runs it ----------------------------------------------------------------------


def run(folder: Path, **request: Any) -> dict[str, Any]:
    """Run the program from its one file, and return its result."""
    archive, file = folder / "program.zip", folder / "request.json"
    archive.write_bytes(program.archive(program.OPTIMIZER))
    limits = {"memory_mb": 4096, "seconds": 600, "cpus": 1}
    file.write_text(json.dumps({"schema": 1, "server_version": "2.99.0", "limits": limits, **request}))
    done = subprocess.run(
        [sys.executable, "-B", "-m", "optimizer", str(file)],
        env={**os.environ, **QUIET, "PYTHONPATH": os.pathsep.join([str(archive), RUNTIME])},
        capture_output=True,
        check=True,
    )
    return json.loads(done.stdout)


def test_the_program_builds_a_candidate_in_its_confinement(written, tmp_path):
    found = run(
        tmp_path, task="build", model=str(written / "words"), out=str(tmp_path / "2"), recipe={"kind": "freeze"}
    )
    assert (found["built"], found["why"]) == (True, "")
    assert (found["server_flags"], found["lost_signatures"]) == ({}, [])
    assert found["confinement"]["network"] == "none"
    assert found["confinement"]["memory"] in ("cgroup", "data segment")
    assert 100 < found["peak_memory_mb"] < 4096
    assert sorted(path.name for path in (tmp_path / "2").iterdir()) == ["assets", "saved_model.pb"]


def test_the_program_runs_no_model_that_reads_files(written, tmp_path):
    (tmp_path / "requests.jsonl").write_text('{"inputs": {"x": [[1, 2, 3, 4]]}}\n')
    found = run(
        tmp_path,
        task="answer",
        model=str(written / "read"),
        out=str(tmp_path / "answers"),
        requests=str(tmp_path / "requests.jsonl"),
    )
    assert not found["answered"]
    assert found["why"] == "the model's graph reads or writes files, or runs Python (ReadFile), so it is not run here"
    assert not (tmp_path / "answers").exists()


def test_a_newer_tensorflow_than_the_servers_is_refused(written, tmp_path):
    found = run(tmp_path, task="survey", model=str(written / "words"), server_version="2.12.0")
    here = ".".join(found["tensorflow"].split(".")[:2])
    assert found["why"] == (
        f"the builder's TensorFlow is {here} and the server's 2.12, which reads no newer graphs: use the environment "
        "of 2.12"
    )
