# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Faults of models and settings in a server that has them: the catalogue names each from the server's own pages."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import evidence_cases as hosts
import grpc
import harness
import numpy as np
import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.diagnosis import page, tasks
from ansible_collections.tfserving.fleet.plugins.module_utils.host import sysfs
from ansible_collections.tfserving.fleet.plugins.plugin_utils.diagnosis.case import Case
from ansible_collections.tfserving.fleet.plugins.plugin_utils.diagnosis.faults import faults
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc
from tfs_reference import tensors

MODELS = ("plus", "busy", "rowsum", "types")
OBJECTIVE = "plan/instances/0/objective_p99_ms"  # of ranker
WEIGHTS = {"cause": 3, "contributor": 2, "suspect": 1}


class Host:
    """A server of the lab in the place of the instance ranker of a healthy host, whose machine is in good order."""

    def __init__(self, server, flags, batching):
        self.server, self.flags, self.batching = server, flags, batching

    def diagnosed(self, send, objective_ms=0.001):
        """Return what is found while `send` sends its requests, the likeliest first, models and settings alone.

        No machine keeps the objective, and so none is quick enough to make a contributor of a cause.
        """
        first, began = page.parsed(self.server.metrics(), MODELS), time.monotonic()
        send(self.server)
        seconds = time.monotonic() - began
        evidence = hosts.put(hosts.healthy(with_gpus=False), OBJECTIVE, objective_ms)
        for sample, metrics in zip(
            evidence["samples"], (first, page.parsed(self.server.metrics(), MODELS)), strict=True
        ):
            sample["instances"]["ranker"]["metrics"] = metrics
        evidence["samples"][1]["at"] = evidence["samples"][0]["at"] + seconds
        evidence["instances"]["ranker"]["cmdline"] = ["/usr/bin/tensorflow_model_server", *self.flags]
        evidence["instances"]["ranker"]["files"]["batching.config"] = self.batching
        case = Case(evidence, peers=hosts.peers(with_gpus=False))
        found = [
            (WEIGHTS[each.verdict], each.confidence * max(each.share or 0.0, each.impact), fault.id, each.verdict)
            for fault in faults()
            for each in fault.judge(case)
            if fault.layer != "resources" and each.instance == "ranker" and each.verdict in WEIGHTS
        ]
        return [(fault, verdict) for _weight, _rest, fault, verdict in sorted(found, reverse=True)]


@pytest.fixture
def host(start, tmp_path, models, monitoring):
    """host(batching, *flags) starts a server with the models of MODELS."""

    def starter(batching="", *more):
        own = tmp_path / "models"
        if not own.exists():
            shutil.copytree(models, own)
        config = harness.write_config(
            tmp_path / "models.config", *(harness.model_config(name, own / name) for name in MODELS)
        )
        flags = [f"--model_config_file={config}", f"--monitoring_config_file={monitoring}", *more]
        if batching:
            (tmp_path / "batching.config").write_text(batching)
            flags += ["--enable_batching=true", f"--batching_parameters_file={tmp_path}/batching.config"]
        server = start(*flags)
        return Host(server, [*flags, f"--port={server.grpc_port}", f"--rest_api_port={server.rest_port}"], batching)

    return starter


def parameters(**fields):
    return "".join(f"{name} {{ value: {value} }}\n" for name, value in fields.items())


def in_turn(requests):
    return lambda server: [server.predict("plus", {"instances": rows}) for rows in requests]


def together(callers, calls, model="plus", value=1.0):
    """Let callers send one row each, one call after another, at the same time."""

    def call(server):
        return [server.predict(model, {"instances": [value]})[0] for _number in range(calls)]

    def send(server):
        with ThreadPoolExecutor(callers) as pool:
            return list(pool.map(call, itertools.repeat(server, callers)))

    return send


def by_grpc(rows, calls):
    def send(server):
        request = predict_pb2.PredictRequest()
        request.model_spec.name = "plus"
        request.inputs["x"].CopyFrom(tensors.to_proto(np.ones(rows, np.float32)))
        stub = prediction_service_pb2_grpc.PredictionServiceStub(server.channel)
        return [stub.Predict(request) for _number in range(calls)]

    return send


def test_a_time_out_that_is_too_long(host):
    server = host(parameters(max_batch_size=64, batch_timeout_micros=200_000, num_batch_threads=2))
    assert server.diagnosed(in_turn([[1.0]] * 20))[0] == ("batching.timeout_long", "cause")


def test_callers_too_few_to_fill_a_batch(host):
    few = ("--rest_api_num_threads=4", "--grpc_max_threads=4")
    server = host(parameters(max_batch_size=64, batch_timeout_micros=200_000, num_batch_threads=2), *few)
    found = server.diagnosed(together(8, 6))
    assert found[0] == ("batching.never_fill", "cause")
    assert ("batching.timeout_long", "contributor") in found


def test_a_batch_queue_that_is_full(host):
    server = host(parameters(max_batch_size=1, batch_timeout_micros=0, num_batch_threads=1, max_enqueued_batches=1))
    assert server.diagnosed(together(12, 10, "busy", 3))[0] == ("batching.queue_full", "cause")


def test_padding(host):
    server = host(parameters(max_batch_size=512) + "allowed_batch_sizes: 512\n")
    found = dict(server.diagnosed(in_turn([[1.0]] * 50)))
    assert "batching.padding" in found


def test_json_that_costs_more_than_the_model(host):
    server = host()
    rows = [1.25] * 30_000

    def send(running):
        in_turn([rows] * 10)(running)
        by_grpc(30_000, 10)(running)

    assert server.diagnosed(send)[0] == ("model.json", "cause")


def test_few_giant_requests(host):
    server = host()

    def send(running):
        for _round in range(5):
            by_grpc(900_000, 1)(running)
            by_grpc(1, 40)(running)

    assert "model.giant_requests" in dict(server.diagnosed(send))


def test_answers_that_callers_do_not_take(host):
    def send(running):
        in_turn([[1.0]] * 20)(running)
        with pytest.raises(grpc.RpcError, match="RESOURCE_EXHAUSTED"):
            by_grpc(2_000_000, 1)(running)

    assert ("client.message_limit", "suspect") in host().diagnosed(send)


def test_calls_by_rest_that_end_at_its_limit(host):
    def send(running):
        rounds, status = 10.0, 200
        while status != 504:
            status, _answer = running.predict("busy", {"instances": [int(rounds)]})
            rounds *= 1.2

    assert host("", "--rest_api_timeout_in_ms=200").diagnosed(send)[0] == ("rest.time_limit", "cause")


def test_graphs_that_are_built_for_every_new_signature(host):
    def send(running):
        signatures = running.json("/v1/models/types/metadata")[1]["metadata"]["signature_def"]["signature_def"]
        for name in signatures:
            running.predict("types", {"signature_name": name, "instances": [1]})

    assert "model.new_shapes" in dict(host().diagnosed(send))


def test_a_version_that_goes_and_comes_back(host, tmp_path):
    version, aside = tmp_path / "models" / "plus" / "3", tmp_path / "models" / "plus" / "aside"

    def send(running):
        for _time in range(3):
            version.rename(aside)
            running.await_states("plus", {2: "AVAILABLE", 3: "END"})
            aside.rename(version)
            harness.eventually(lambda: running.states("plus").get(3) == "AVAILABLE", "version 3 is back")

    assert host().diagnosed(send)[0] == ("models.reload_loop", "cause")


def test_a_process_that_was_stopped(start, models):
    server = start("--model_name=plus", f"--model_base_path={models}/plus")
    evidence = hosts.healthy()
    os.kill(server.pid, signal.SIGSTOP)
    for sample in evidence["samples"]:
        harness.eventually(lambda: "T" in {task["state"] for task in look(server.pid)}, "it stands still")
        sample["instances"]["ranker"]["tasks"] = look(server.pid)
    evidence = hosts.put(evidence, "instances/ranker/probe", {"error": "late", "grpc_error": "late"})
    (fault,) = (each for each in faults() if each.id == "model.stuck")
    (found,) = (each for each in fault.judge(Case(evidence)) if each.instance == "ranker")
    assert (found.verdict, found.words) == ("cause", "somebody stopped its process (SIGSTOP)")


def look(pid):
    running = tasks.read(sysfs.Tree(), pid)
    assert running
    return running.tasks


def test_a_healthy_server_under_load_has_no_cause(host):
    server = host(parameters(max_batch_size=16, batch_timeout_micros=0, num_batch_threads=2))
    # Any machine keeps this one: a slow machine is no fault of models and settings.
    assert "cause" not in dict(server.diagnosed(together(4, 100), objective_ms=10_000)).values()


def test_a_version_that_does_not_load(start, tmp_path, models):
    shutil.copytree(models / "plus" / "1", tmp_path / "plus" / "1")
    server = start("--model_name=plus", f"--model_base_path={tmp_path}/plus", "--max_num_load_retries=0")
    (tmp_path / "staged").mkdir()
    (tmp_path / "staged" / "saved_model.pb").write_bytes(b"no model")
    (tmp_path / "staged").rename(tmp_path / "plus" / "2")
    server.await_states("plus", {1: "AVAILABLE", 2: "END"})
    rows = [
        {"version": int(row["version"]), "state": row["state"], **row["status"]}
        for row in server.json("/v1/models/plus")[1]["model_version_status"]
    ]
    evidence = hosts.put(hosts.healthy(), "instances/ranker/models/ranker", {"states": rows, "error": ""})
    (fault,) = (each for each in faults() if each.id == "model.load_fails")
    (found,) = (each for each in fault.judge(Case(evidence)) if each.instance == "ranker")
    assert (found.verdict, found.words) == ("cause", "an older version serves")
    assert any("saved_model.pb" in proof.value or "SavedModel" in proof.value for proof in found.proofs)
