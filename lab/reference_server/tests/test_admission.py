# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""How many gRPC calls a thread quota admits: one fewer than its threads."""

import signal

import grpc
import harness
import numpy as np
import pytest
from ports import free_port
from tensorflow_serving.apis import prediction_service_pb2_grpc
from test_grpc import predict_request
from tfs_reference import tensors

COUNT = ":tensorflow:serving:request_count"


def stub_of(server):
    stub = prediction_service_pb2_grpc.PredictionServiceStub(server.channel)
    grpc.channel_ready_future(server.channel).result(timeout=harness.PATIENCE)
    return stub


def counted(server, model, status):
    return server.metric(COUNT, model_name=model, status=status)


def endless_call(stub):
    """A call that keeps its thread for days."""
    request = predict_request("busy")
    request.inputs["rounds"].CopyFrom(tensors.to_proto(np.array([2**31 - 1], "int32")))
    return stub.Predict.future(request)


def ended(calls):
    return [call for call in calls if call.done()]


@pytest.mark.parametrize(("threads", "admitted"), [(1, 0), (2, 1), (4, 3)])
def test_one_thread_polls_and_the_others_run_calls(threads, admitted, start, models, monitoring):
    server = start(
        "--model_name=busy",
        f"--model_base_path={models}/busy",
        f"--grpc_max_threads={threads}",
        f"--monitoring_config_file={monitoring}",
    )
    stub = stub_of(server)
    calls = [endless_call(stub) for _ in range(threads + 2)]
    harness.eventually(lambda: len(ended(calls)) == len(calls) - admitted, f"all but {admitted} calls refused")
    # Nor is there a thread left for one more.
    calls.append(endless_call(stub))
    assert calls[-1].exception(timeout=harness.PATIENCE)
    assert len(ended(calls)) == len(calls) - admitted
    assert {(call.code(), call.details()) for call in ended(calls)} == {
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "Server Threadpool Exhausted")
    }
    # What was refused reached no service.
    assert counted(server, "busy", "RESOURCE_EXHAUSTED") == 0


def test_a_thread_is_free_again_once_its_call_is_answered(start, models, monitoring):
    server = start(
        "--model_name=plus",
        f"--model_base_path={models}/plus",
        "--grpc_max_threads=2",
        f"--monitoring_config_file={monitoring}",
    )
    stub = stub_of(server)
    for _ in range(50):
        stub.Predict(predict_request("plus", x=np.array([1.0], "float32")))
    assert counted(server, "plus", "OK") == 50


def test_no_thread_at_all_ends_the_server_once_the_models_are_loaded(models):
    result = harness.run_to_end(f"--port={free_port()}", f"--model_base_path={models}/plus", "--grpc_max_threads=0")
    assert result.returncode == -signal.SIGABRT
    assert "No thread quota available to even create the minimum required polling threads" in result.stderr
