# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Golden requests, and the warm-up records that are made of them without TensorFlow, against TensorFlow itself."""

from __future__ import annotations

import shutil

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.golden import requests, warmup
from ansible_collections.tfserving.fleet.plugins.module_utils.saved_model import graph
from ansible_collections.tfserving.fleet.plugins.module_utils.serving import golden
from ansible_collections.tfserving.fleet.plugins.module_utils.serving.client import Client

# Of each type what tells it from others: signs, large numbers, bytes that are no text.
VALUES = {
    "float32": [0.1, -1e30],
    "float64": [0.1, 1e300],
    "half": [0.5, -2.0],
    "bfloat16": [1.5, -3.0],
    "int8": [-128, 127],
    "int16": [-(2**15), 1],
    "int32": [-(2**31), 1],
    "int64": [-(2**63), 2**53 + 1],
    "uint8": [0, 255],
    "uint16": [0, 2**16 - 1],
    "uint32": [0, 2**32 - 1],
    "uint64": [0, 2**64 - 1],
    "bool": [True, False],
    "serving_default": ["a", {"b64": "AP8="}],
}


def wish(*asked, sizes=(1,)):
    given = [{"name": str(at), "line": at, "rtol": 1e-6, "atol": 0.0, **one} for at, one in enumerate(asked, 1)]
    return warmup.Wish(tuple(given), sizes, "golden.jsonl")


def known(directory):
    return graph.read(str(directory / "saved_model.pb"), graphs=False).served().signatures


def warmed(models, target, name, given):
    """Copy the first version of a model, and add what the collection makes of the requests for its warm-up."""
    directory = target / name / "1"
    shutil.copytree(models / name / "1", directory)
    shutil.rmtree(directory / "assets.extra", ignore_errors=True)
    return warmup.add(str(directory), given, name, known(directory))


def test_tensorflow_replays_what_was_encoded_without_it_for_every_type(start, models, tmp_path, monitoring):
    asked = [
        {"inputs": {"inputs": values} if name == "serving_default" else values, "signature_name": name}
        for name, values in VALUES.items()
    ]
    made = warmed(models, tmp_path, "types", wish(*asked, sizes=(1, 3)))
    # The signatures of numbers are of unknown rank, so that their rows can be repeated.
    assert (made.records, made.sizes) == (2 * len(VALUES), [1, 3])
    flags = ["--model_name=types", f"--model_base_path={tmp_path}/types", "--max_num_load_retries=0"]
    server = start(*flags, f"--monitoring_config_file={monitoring}")
    assert f"Number of warmup records read: {made.records}" in server.log()
    assert server.states("types") == {1: "AVAILABLE"}


def test_a_batching_server_is_warmed_for_each_batch_size(start, models, tmp_path, monitoring):
    batching = tmp_path / "batching.config"
    batching.write_text("max_batch_size { value: 8 } allowed_batch_sizes: 2 allowed_batch_sizes: 8")
    made = warmed(models, tmp_path, "plus", wish({"inputs": {"x": [1.0]}}, sizes=(2, 8)))
    flags = ["--model_name=plus", f"--model_base_path={tmp_path}/plus", "--enable_batching"]
    server = start(*flags, f"--batching_parameters_file={batching}", f"--monitoring_config_file={monitoring}")
    assert made.records == 2
    assert f"Number of warmup records read: {made.records}" in server.log()


EXACT = [name for name in VALUES if name not in ("half", "bfloat16", "uint16", "serving_default")]


def test_golden_requests_get_the_same_judgement_over_rest_and_grpc(server, models):
    asked = [{"inputs": VALUES[name], "signature_name": name, "expect": {"y": VALUES[name]}} for name in EXACT]
    given = wish(*asked).requests
    found = golden.ask(Client(server.rest_port), "types", {"file": "golden.jsonl", "requests": given})
    assert found.note == ""
    call = server.channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
    signatures = known(models / "types" / "1")
    for request in given:
        body = requests.grpc_body(request, "types", signatures[requests.signature_name(request)])
        assert requests.faults(request, requests.of_grpc(call(body))) == []


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"inputs": {"x": [1.0]}, "expect": {"y": [5.0]}}, "expected 5 ("),
        ({"inputs": {"x": [1.0]}, "must_fail": True}, "it was answered, and must fail"),
        ({"inputs": {"x": ["a"]}, "must_fail": True}, ""),
        ({"inputs": {"x": ["a"]}}, "JSON Value"),
    ],
)
def test_wrong_answers_are_told(server, request_, words):
    (given,) = wish(request_).requests
    found = golden.ask(Client(server.rest_port), "plus", {"file": "golden.jsonl", "requests": [given]})
    assert words in found.note
    assert bool(found.note) == bool(words)
