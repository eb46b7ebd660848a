# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The batcher, as its callers and its metrics see it."""

import itertools
import random
from concurrent.futures import ThreadPoolExecutor

import grpc
import harness
import numpy as np
import pytest
from tensorflow_serving.apis import (
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)
from tfs_reference import tensors

RUNS = ":tensorflow:serving:batching_session:wrapped_run_count"
PROCESSED = ":tensorflow:serving:batching_session:processed_batch_size"
PADDING = ":tensorflow:serving:batching_session:padding_size"
# An hour: batches run when they are full, however slowly requests come.
UNTIL_FULL = "batch_timeout_micros { value: 3600000000 }"


@pytest.fixture
def batching(start, tmp_path, models, monitoring):
    """batching(parameters) starts a server with plus, busy and rowsum behind a batcher."""

    def starter(parameters, *flags):
        (tmp_path / "batching.config").write_text(parameters)
        names = ("plus", "busy", "rowsum")
        config = harness.write_config(
            tmp_path / "models.config", *(harness.model_config(name, models / name) for name in names)
        )
        return start(
            f"--model_config_file={config}",
            f"--monitoring_config_file={monitoring}",
            "--enable_batching",
            f"--batching_parameters_file={tmp_path}/batching.config",
            "--rest_api_num_threads=20",
            *flags,
        )

    return starter


def ask_together(server, model, requests):
    """Send all requests at once; the answers in the order of the requests."""
    with ThreadPoolExecutor(len(requests)) as pool:
        return list(pool.map(lambda rows: server.predict(model, {"instances": rows}), requests))


def test_concurrent_requests_run_as_one_batch_and_get_their_own_rows_back(batching):
    server = batching(f"max_batch_size {{ value: 8 }} {UNTIL_FULL} num_batch_threads {{ value: 1 }}")
    answers = ask_together(server, "plus", [[2.0 * number] for number in range(8)])
    assert answers == [(200, {"predictions": [number + 3.0]}) for number in range(8)]
    assert server.metric(RUNS) == 1
    assert server.metric(f"{PROCESSED}_sum") == 8
    assert server.metric(":tensorflow:serving:batching_session:input_batch_size_count") == 8
    assert server.metric(":tensorflow:serving:batching_session:queuing_latency_count", thread_pool_name="") == 8
    # Each of the three models was restored and initialised by a run.
    assert server.metric(":tensorflow:core:graph_runs") == 1 + 3 * 2


def test_batches_are_padded_to_an_allowed_size_and_the_padding_is_not_answered(batching):
    server = batching("max_batch_size { value: 8 } allowed_batch_sizes: 4 allowed_batch_sizes: 8")
    assert server.predict("plus", {"instances": [0.0] * 3}) == (200, {"predictions": [3.0] * 3})
    assert server.predict("plus", {"instances": [0.0] * 5}) == (200, {"predictions": [3.0] * 5})
    assert server.metric(f"{PADDING}_sum", execution_batch_size="4") == 1
    assert server.metric(f"{PADDING}_sum", execution_batch_size="8") == 3


def test_the_row_metrics_appear_with_the_first_batch(batching):
    server = batching("max_batch_size { value: 8 }")
    assert PROCESSED not in server.metrics()
    server.predict("plus", {"instances": [0.0]})
    assert f"# TYPE {PROCESSED} histogram" in server.metrics()


def test_a_request_above_the_limit_is_refused_unless_it_may_be_split(batching):
    server = batching("max_batch_size { value: 4 }")
    status, answer = server.predict("plus", {"instances": [0.0] * 5})
    assert status == 400
    assert answer["error"] == "Task size 5 is larger than maximum input batch size 4"
    server.stop()
    server = batching(
        "max_batch_size { value: 16 } max_execution_batch_size { value: 4 } "
        "enable_large_batch_splitting { value: true }"
    )
    rows = [2.0 * number for number in range(10)]
    assert server.predict("plus", {"instances": rows}) == (200, {"predictions": [row / 2 + 3 for row in rows]})
    assert server.metric(RUNS) == 3


def test_the_batches_of_a_large_request_are_padded_to_the_size_of_a_batch_and_no_further(batching):
    server = batching(
        "max_batch_size { value: 16 } max_execution_batch_size { value: 4 } "
        "enable_large_batch_splitting { value: true } "
        "allowed_batch_sizes: 2 allowed_batch_sizes: 4 allowed_batch_sizes: 16"
    )
    rows = [2.0 * number for number in range(11)]
    assert server.predict("plus", {"instances": rows}) == (200, {"predictions": [row / 2 + 3 for row in rows]})
    assert server.metric(f"{PROCESSED}_sum") == 12
    assert server.metric(f"{PADDING}_sum", execution_batch_size="4") == 1


@pytest.mark.parametrize(("rows", "status"), [(8, 200), (9, 503), (17, 400)])
def test_not_even_an_idle_server_takes_a_request_of_more_batches_than_may_wait(batching, rows, status):
    server = batching(
        "max_batch_size { value: 16 } max_execution_batch_size { value: 4 } max_enqueued_batches { value: 2 } "
        "enable_large_batch_splitting { value: true }"
    )
    assert server.predict("plus", {"instances": [0.0] * rows})[0] == status


def test_a_full_queue_answers_503(batching):
    server = batching("max_batch_size { value: 1 } max_enqueued_batches { value: 1 } num_batch_threads { value: 1 }")
    answers = ask_together(server, "busy", [[2000]] * 6)
    refused = [answer for status, answer in answers if status == 503]
    assert 200 in [status for status, _ in answers]
    assert refused
    assert "The batch scheduling queue to which this task was submitted is full" in refused[0]["error"]


def test_a_request_that_waited_beyond_its_deadline_answers_429(batching):
    server = batching("max_batch_size { value: 1 } num_batch_threads { value: 1 }", "--rest_api_timeout_in_ms=500")
    statuses = sorted(status for status, _ in ask_together(server, "busy", [[10**7]] * 3))
    assert statuses[-1] == 504
    assert 429 in statuses


def test_rows_of_different_length_need_padding(batching):
    common = f"max_batch_size {{ value: 2 }} {UNTIL_FULL} "
    server = batching(common)
    answers = ask_together(server, "rowsum", [[[1.0, 2.0]], [[1.0]]])
    assert [status for status, _ in answers] == [400, 400]
    assert "padding is turned off" in answers[0][1]["error"]
    server.stop()
    server = batching(common + "pad_variable_length_inputs: true")
    answers = ask_together(server, "rowsum", [[[1.0, 2.0]], [[1.0]]])
    assert answers == [(200, {"predictions": [3.0]}), (200, {"predictions": [1.0]})]


def send(server, model, array):
    """Begin a prediction for the tensor "x"."""
    stub = prediction_service_pb2_grpc.PredictionServiceStub(server.channel)
    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    request.inputs["x"].CopyFrom(tensors.to_proto(array))
    return stub.Predict.future(request, timeout=harness.PATIENCE)


def outcome(call):
    """(code, message), once there is one."""
    return call.code(), call.details()


def test_types_do_not_mix_in_a_batch(batching):
    server = batching(f"max_batch_size {{ value: 2 }} {UNTIL_FULL}")
    for other in (np.array([b"a"], object), np.array([1], np.int8)):
        calls = [send(server, "plus", array) for array in (np.array([1.0], np.float32), other)]
        answers = [outcome(call) for call in calls]
        assert {code for code, _ in answers} == {grpc.StatusCode.INVALID_ARGUMENT}
        assert "Cannot concatenate tensors that have different data types. Got " in answers[0][1]


def test_an_empty_tensor_of_any_width_makes_no_other_that_wide(batching):
    server = batching(f"max_batch_size {{ value: 1 }} {UNTIL_FULL} pad_variable_length_inputs: true")
    empty = send(server, "rowsum", np.ones((0, 2**40), np.float32))
    # A batch is full with one row: those that come before the empty tensor run alone.
    rows = []
    while not empty.done():
        rows.append(outcome(send(server, "rowsum", np.ones((1, 1), np.float32))))
    refused = (grpc.StatusCode.RESOURCE_EXHAUSTED, "the reference server pads by 1073741824 bytes at most")
    assert outcome(empty) == refused
    assert refused in rows


# Of one tensor: its name and the types that its model takes.
HOSTILE = {"plus": ("x", np.float32), "busy": ("rounds", np.int32), "rowsum": ("x", np.float32)}


def hostile_tensor(choose, dtype):
    if choose.random() < 0.2:
        dtype = choose.choice([np.float32, np.float64, np.int8, np.complex64, np.bool_, object])
    shape = [choose.choice([0, 1, 2, 3, 9]) for _ in range(choose.choice([0, 1, 1, 1, 2, 2, 3]))]
    # No wider ones of no rows: a kernel that asks for more memory than there is waits ten seconds for it.
    shape = choose.choice([shape, shape, shape, [1] * 33, [1] * 64, [0, 2**10], [2**40, 0]])
    return np.full(shape, b"1" if dtype is object else 1, dtype)


def send_hostile(server, seed):
    """The codes of 25 requests, some of which are not waited for."""
    choose = random.Random(seed)
    codes = set()
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        for _ in range(25):
            request = predict_pb2.PredictRequest()
            request.model_spec.name = choose.choice(sorted(HOSTILE))
            name, dtype = HOSTILE[request.model_spec.name]
            request.inputs[name].CopyFrom(tensors.to_proto(hostile_tensor(choose, dtype), choose.random() < 0.5))
            codes.add(stub.Predict.future(request, timeout=choose.choice([0.002, 0.05, harness.PATIENCE])).code())
    return codes


@pytest.mark.parametrize(
    "more",
    [
        "allowed_batch_sizes: 4 allowed_batch_sizes: 8 pad_variable_length_inputs: true",
        "enable_large_batch_splitting { value: true } max_execution_batch_size { value: 3 }",
    ],
)
def test_nothing_that_clients_send_ends_it_while_models_come_and_go(batching, models, more):
    server = batching(f"max_batch_size {{ value: 8 }} num_batch_threads {{ value: 3 }} {more}", "--grpc_max_threads=40")
    stub = model_service_pb2_grpc.ModelServiceStub(server.channel)
    with ThreadPoolExecutor(6) as pool:
        clients = [pool.submit(send_hostile, server, seed) for seed in range(6)]
        for name in itertools.cycle(sorted(HOSTILE)):
            request = model_management_pb2.ReloadConfigRequest()
            for kept in sorted(HOSTILE.keys() - {name}):
                request.config.model_config_list.config.add(
                    name=kept, base_path=str(models / kept), model_platform="tensorflow"
                )
            assert stub.HandleReloadConfigRequest(request, timeout=harness.PATIENCE).status.error_code == 0
            if all(client.done() for client in clients):
                break
    codes = set().union(*(client.result() for client in clients))
    assert grpc.StatusCode.OK in codes
    assert not codes & {grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL, grpc.StatusCode.CANCELLED}
    assert server.process.poll() is None
    assert "Traceback" not in server.log()


def test_the_pool_has_the_threads_and_the_name_that_the_file_gives(batching):
    server = batching("num_batch_threads { value: 5 } thread_pool_name { value: 'lab_batchers' }")
    assert server.threads().count("lab_batchers") == 5


def test_per_model_parameters_replace_the_global_ones_and_their_absence_means_no_batching(batching, models):
    file = models / "rowsum" / "1" / "batching_params.pbtxt"
    file.write_text("max_batch_size { value: 1 }")
    try:
        server = batching("max_batch_size { value: 8 }", "--enable_per_model_batching_parameters")
        assert server.predict("plus", {"instances": [0.0] * 9})[0] == 200
        assert server.metric(RUNS) == 0
        assert server.predict("rowsum", {"instances": [[0.0]] * 2})[0] == 400
    finally:
        file.unlink()


@pytest.fixture
def published(models, tmp_path):
    """published(number, parameters) puts a version of rowsum below a base path of the test's own."""
    base = tmp_path / "versions"

    def publish(number, parameters):
        staged = base / ".new"
        staged.mkdir(parents=True)
        for entry in (models / "rowsum" / "1").iterdir():
            (staged / entry.name).symlink_to(entry)
        (staged / "batching_params.pbtxt").write_text(parameters)
        staged.rename(base / str(number))

    publish.base = base
    return publish


@pytest.fixture
def swapping(start, published, monitoring, tmp_path):
    """A server of rowsum alone, whose versions say how they are batched; one batch thread for all."""
    published(1, "max_batch_size { value: 2 } num_batch_threads { value: 7 }")
    (tmp_path / "batching.config").write_text(
        "max_batch_size { value: 1 } num_batch_threads { value: 1 } thread_pool_name { value: 'lab_batchers' }"
    )
    config = harness.write_config(tmp_path / "models.config", harness.model_config("rowsum", published.base))
    return start(
        f"--model_config_file={config}",
        f"--monitoring_config_file={monitoring}",
        "--enable_batching",
        f"--batching_parameters_file={tmp_path}/batching.config",
        "--enable_per_model_batching_parameters",
        "--file_system_poll_wait_seconds=1",
        "--max_num_load_retries=0",
    )


def refusal(server, rows):
    status, answer = server.predict("rowsum", {"instances": [[0.0]] * rows})
    return status, answer.get("error")


def test_a_new_version_brings_its_own_parameters_into_a_running_server(swapping, published):
    assert refusal(swapping, 3) == (400, "Task size 3 is larger than maximum input batch size 2")
    published(2, "max_batch_size { value: 5 }")
    swapping.await_states("rowsum", {1: "END", 2: "AVAILABLE"})
    assert swapping.predict("rowsum", {"instances": [[0.0]] * 5})[0] == 200
    assert refusal(swapping, 6) == (400, "Task size 6 is larger than maximum input batch size 5")
    assert swapping.log().count("Wrapping session to perform batch processing") == 2


def test_the_threads_of_all_versions_are_those_of_the_global_file(swapping):
    assert swapping.threads().count("lab_batchers") == 1


@pytest.mark.parametrize(
    "parameters",
    ["max_batch_size: 5", "max_batch_size { value: 5 } allowed_batch_sizes: 4", "max_batch_size { value: 0 }"],
)
def test_a_version_with_bad_parameters_fails_to_load_and_the_one_before_serves_on(swapping, published, parameters):
    published(2, parameters)
    harness.eventually(lambda: swapping.states("rowsum").get(2) == "END", "the end of version 2")
    assert swapping.states("rowsum") == {1: "AVAILABLE", 2: "END"}
    assert refusal(swapping, 3) == (400, "Task size 3 is larger than maximum input batch size 2")
