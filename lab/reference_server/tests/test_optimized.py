# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A server runs a frozen version as the one that it was made from, for every signature and with its warm-up file."""

import json
import os
import subprocess
import sys

import harness
import numpy as np
import pytest
from conftest import HERE, RUNTIME

SOURCES = HERE.parents[2] / "plugins" / "module_utils"


@pytest.fixture(scope="module")
def versions(models, tmp_path_factory):
    """A base path with version 1 of digits, and as version 2 what the optimizer made of it."""
    base = tmp_path_factory.mktemp("optimized") / "digits"
    base.mkdir()
    (base / "1").symlink_to(models / "digits" / "1")
    request = {
        "schema": 1,
        "task": "build",
        "model": str(models / "digits" / "1"),
        "out": str(base / "2"),
        "server_version": "2.99.0",
        "recipe": {"kind": "freeze"},
        "limits": {"memory_mb": 4096, "seconds": 600},
    }
    file = base.parent / "request.json"
    file.write_text(json.dumps(request))
    command = [sys.executable, "-B", "-m", "optimizer", str(file)]
    path = os.pathsep.join([str(SOURCES), RUNTIME])
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, check=True, capture_output=True)
    assert json.loads(done.stdout)["why"] == ""
    return base


@pytest.fixture(scope="module")
def answering(versions, tmp_path_factory):
    directory = tmp_path_factory.mktemp("server")
    both = harness.model_config("digits", versions, "model_version_policy { all {} }")
    config = harness.write_config(directory / "models.config", both)
    running = harness.Server(directory, f"--model_config_file={config}")
    running.await_states("digits", {1: "AVAILABLE", 2: "AVAILABLE"})
    yield running
    running.stop()


def rows(count):
    return (np.random.default_rng(count).integers(0, 256, (count, 784)) / 256).tolist()


def both(server, verb, body):
    answers = [server.json(f"/v1/models/digits/versions/{version}:{verb}", body) for version in (1, 2)]
    assert [status for status, _ in answers] == [200, 200]
    return [answer for _, answer in answers]


@pytest.mark.parametrize("count", [1, 3, 64, 65])
def test_a_frozen_version_predicts_as_its_original(answering, count):
    one, two = both(answering, "predict", {"instances": rows(count)})
    assert len(two["predictions"]) == count
    for first, second in zip(one["predictions"], two["predictions"]):
        assert second["class_id"] == first["class_id"]
        assert second["probabilities"] == pytest.approx(first["probabilities"], abs=5e-7)


@pytest.mark.parametrize("verb", ["classify", "regress"])
def test_a_frozen_version_reads_examples_as_its_original(answering, verb):
    body = {"signature_name": f"{verb}_digits", "examples": [{"x": row} for row in rows(3)]}
    one, two = (answer["results"] for answer in both(answering, verb, body))
    flat = [np.array([[float(cell) for cell in np.ravel(row)] for row in each]) for each in (one, two)]
    assert flat[0].shape == flat[1].shape
    assert flat[1] == pytest.approx(flat[0], rel=5e-7)


def test_a_frozen_version_has_the_metadata_of_its_original(answering):
    found = []
    for version in (1, 2):
        _, answer = answering.json(f"/v1/models/digits/versions/{version}/metadata")
        found.append(answer["metadata"])
    assert found[0]["signature_def"]["signature_def"].keys() >= {"serving_default"}
    for each in found:
        each["signature_def"]["signature_def"].pop("__saved_model_init_op", None)
    assert found[0] == found[1]
