# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The models for measuring: what they answer, alone and in batches, and what the simulated device simulates."""

from __future__ import annotations

import json
import os
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import harness
import numpy as np
import pytest

PROGRAMS = Path(__file__).parents[2] / "models"
MODELS = ("dense", "sequence", "simulated_device", "wide_ranker")
DEVICE_SECONDS = 0.008
CALLS = 8


@pytest.fixture(scope="module")
def bench_models(tmp_path_factory):
    directory = tmp_path_factory.mktemp("bench-models")
    subprocess.run(
        ["/usr/bin/python3", str(PROGRAMS / "train_bench.py"), str(directory)],
        env={**os.environ, "PYTHONPATH": str(harness.RUNTIME)},
        check=True,
        capture_output=True,
    )
    return directory


@pytest.fixture(scope="module")
def servers(tmp_path_factory, bench_models):
    """Two servers of all models and versions: one that runs requests alone, one that batches them."""
    both = "model_version_policy { all {} }"
    running = {}
    for name, flags in (("alone", []), ("batching", ["--enable_batching"])):
        directory = tmp_path_factory.mktemp(name)
        config = harness.write_config(
            directory / "models.config", *(harness.model_config(model, bench_models / model, both) for model in MODELS)
        )
        running[name] = harness.Server(directory, f"--model_config_file={config}", *flags)
    yield running
    for server in running.values():
        server.stop()


@pytest.mark.parametrize("server", ["alone", "batching"])
@pytest.mark.parametrize("version", ["1", "2"])
@pytest.mark.parametrize("model", MODELS)
def test_a_server_answers_what_the_known_answers_say(servers, bench_models, server, model, version):
    known = json.loads((bench_models / model / "known_answers.json").read_text())
    status, answer = servers[server].predict(f"{model}/versions/{version}", known["request"])
    assert status == 200, answer
    wanted = np.array(known["answers"][version]["predictions"])
    assert np.array(answer["predictions"]) == pytest.approx(wanted, abs=1e-5)
    other = np.array(known["answers"]["2" if version == "1" else "1"]["predictions"])
    assert np.abs(wanted - other).max() > 1e-3


@pytest.mark.parametrize("model", MODELS)
def test_the_rows_of_a_request_have_answers_of_their_own(bench_models, model):
    known = json.loads((bench_models / model / "known_answers.json").read_text())
    rows = np.array(known["answers"]["1"]["predictions"])
    assert len({str(row) for row in rows}) == len(known["request"]["instances"])


def test_the_simulated_device_takes_one_call_at_a_time(servers, bench_models):
    """However slow the machine: calls that wait one after another cannot end sooner than half of their waits, and side
    by side they would take one. Half, since a wait on a virtual machine may end a little before its time."""
    known = json.loads((bench_models / "simulated_device" / "known_answers.json").read_text())
    started = time.monotonic()
    with ThreadPoolExecutor(CALLS) as pool:
        answers = list(pool.map(lambda _: servers["alone"].predict("simulated_device", known["request"]), range(CALLS)))
    assert {status for status, _ in answers} == {200}
    assert time.monotonic() - started >= CALLS * DEVICE_SECONDS / 2


def test_the_simulated_device_waits_after_a_pause_too(servers, bench_models):
    """The runtime must not have the next wait behind it already: a pause of two waits would hide them."""
    known = json.loads((bench_models / "simulated_device" / "known_answers.json").read_text())
    took = []
    for _ in range(CALLS):
        time.sleep(2 * DEVICE_SECONDS)
        started = time.monotonic()
        assert servers["alone"].predict("simulated_device", known["request"])[0] == 200
        took.append(time.monotonic() - started)
    assert min(took) >= DEVICE_SECONDS / 2


def test_the_dense_model_is_a_small_artefact_with_large_weights(bench_models):
    program = "from bench.dense import WEIGHTS_MB; print(WEIGHTS_MB)"
    done = subprocess.run(
        ["/usr/bin/python3", "-c", program],
        env={**os.environ, "PYTHONPATH": f"{harness.RUNTIME}:{PROGRAMS}"},
        check=True,
        capture_output=True,
        text=True,
    )
    files = sum(file.stat().st_size for file in (bench_models / "dense" / "1").rglob("*") if file.is_file())
    assert int(done.stdout) > 32
    assert files < 2**20
