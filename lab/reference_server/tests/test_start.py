# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What ends a start, and what goes wrong without a word."""

import re
import shutil
import signal
import socket
import subprocess
import urllib.error

import grpc
import harness
import pytest
from ports import free_port
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

QUICK_RETRIES = ("--max_num_load_retries=1", "--load_retry_interval_micros=1000")


def answers_grpc(server):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "plus"
    request.inputs["x"].dtype = 1
    request.inputs["x"].tensor_shape.dim.add(size=1)
    request.inputs["x"].float_val.append(2.0)
    stub = prediction_service_pb2_grpc.PredictionServiceStub(server.channel)
    return stub.Predict(request, timeout=harness.PATIENCE, wait_for_ready=True).outputs["y"].float_val[0]


def is_refused(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


BASE = "--model_base_path=/nowhere"
CASES = {
    "no listener": (["--port=0", BASE], "server_options.grpc_port is not set."),
    "two kinds of credentials": (["--use_alts_credentials", "--ssl_config_file=/x", BASE], "not both"),
    "nothing to serve": ([], "model_config_file are empty!"),
    "missing model config": (["--model_config_file=/nowhere"], "NOT_FOUND: /nowhere; No such file or directory"),
    "batching file without batching": (["--batching_parameters_file=/x", BASE], "without setting"),
    "missing batching file": (["--enable_batching", "--batching_parameters_file=/x", BASE], "/x; No such file"),
    "missing session config": (["--tensorflow_session_config_file=/x", BASE], "/x; No such file"),
    "three parallelisms": (
        [
            "--tensorflow_session_parallelism=1",
            "--tensorflow_intra_op_parallelism=1",
            "--tensorflow_inter_op_parallelism=1",
            BASE,
        ],
        "but not both",
    ),
    "relative base path": (["--model_base_path=models"], "to have an absolute path or URI; got base_path()=models"),
    "platform config": (["--platform_config_file=/x", BASE], "does not read platform_config_file"),
}


@pytest.mark.parametrize("case", CASES)
def test_wrong_flags_exit_255_and_say_why(case):
    flags, message = CASES[case]
    result = harness.run_to_end(*flags)
    assert result.returncode == 255
    assert result.stdout.startswith("Failed to start server. Error: ")
    assert message in result.stdout


CONFIGS = {
    "empty file": ("", "Invalid argument"),
    "misspelt field": ("model_config_list { config { nme: 'a' } }", "Invalid protobuf file"),
    "unwrapped policy": ("model_config_list { config { model_version_policy: ALL } }", "Invalid protobuf file"),
    "duplicate model": (
        "model_config_list { " + 2 * harness.model_config("a", "/a") + "}",
        "Illegal to list model a multiple times in config list",
    ),
    "no platform": ("model_config_list { config { name: 'a' base_path: '/a' } }", "Illegal setting neither"),
    "two platforms": (
        "model_config_list { " + harness.model_config("a", "/a", "model_type: TENSORFLOW") + "}",
        "Illegal setting both",
    ),
    "foreign platform": (
        "model_config_list { config { name: 'a' base_path: '/a' model_platform: 'pytorch' } }",
        "unsupported platform",
    ),
    "labels at start": (
        "model_config_list { " + harness.model_config("a", "/a", "version_labels { key: 'x' value: 1 }") + "}",
        "not currently available for inference",
    ),
}


@pytest.mark.parametrize("case", CONFIGS)
def test_wrong_model_configs_exit_255_and_say_why(case, tmp_path):
    content, message = CONFIGS[case]
    (tmp_path / "models.config").write_text(content)
    result = harness.run_to_end(f"--model_config_file={tmp_path}/models.config")
    assert result.returncode == 255
    assert message in result.stdout


PARSE_ERRORS = {
    "model_config_file": (
        "improper\n",
        '2:1: Message type "tensorflow.serving.ModelServerConfig" has no field named "improper".',
    ),
    "batching_parameters_file": (
        "# sizes\nmax_batch: 8",
        '2:10: Message type "tensorflow.serving.BatchingParameters" has no field named "max_batch".',
    ),
    "tensorflow_session_config_file": (
        "gpu_options { allow_growth: true } gpus { }",
        '1:41: Message type "tensorflow.ConfigProto" has no field named "gpus".',
    ),
}


@pytest.mark.parametrize("flag", PARSE_ERRORS)
def test_a_file_that_does_not_parse_tells_its_position_on_standard_error(flag, tmp_path):
    content, message = PARSE_ERRORS[flag]
    (tmp_path / "file").write_text(content)
    result = harness.run_to_end(f"--{flag}={tmp_path}/file", "--enable_batching", BASE)
    assert result.returncode == 255
    kind = re.search('type "([^"]*)"', message)[1]
    assert f"Error parsing text-format {kind}: {message}\n" in result.stderr
    assert (
        result.stdout == f"Failed to start server. Error: INVALID_ARGUMENT: Invalid protobuf file: '{tmp_path}/file'\n"
    )


def test_a_key_that_stands_where_it_should_not_is_not_printed(tmp_path, models):
    (tmp_path / "ssl.config").write_text('server_key: "VERY SECRET" server_cert: "x" client_verify: "VERY SECRET"')
    result = harness.run_to_end(
        f"--port={free_port()}", f"--model_base_path={models}/plus", f"--ssl_config_file={tmp_path}/ssl.config"
    )
    assert result.returncode == -signal.SIGABRT
    assert "Error parsing text-format tensorflow.serving.SSLConfig: 1:" in result.stderr
    assert "SECRET" not in result.stdout + result.stderr


def test_a_custom_model_config_aborts(tmp_path):
    (tmp_path / "models.config").write_text("custom_model_config { }")
    result = harness.run_to_end(f"--model_config_file={tmp_path}/models.config")
    assert result.returncode == -signal.SIGABRT


BATCHING = {
    "plain value in place of a wrapped one": ("max_batch_size: 8", "Invalid protobuf file"),
    "wrapped value in place of a plain one": ("pad_variable_length_inputs { value: true }", "Invalid protobuf file"),
    "a field given twice": ("max_batch_size { value: 8 } max_batch_size { value: 9 }", "Invalid protobuf file"),
    "no threads": ("num_batch_threads { value: 0 }", "num_batch_threads must be positive"),
    "sizes that end elsewhere": (
        "max_batch_size { value: 8 } allowed_batch_sizes: [2, 4]",
        "Last entry in allowed_batch_sizes must match max_batch_size; last entry was 4; expected 8",
    ),
    "execution above input": (
        "max_batch_size { value: 8 } max_execution_batch_size { value: 9 } "
        "enable_large_batch_splitting { value: true }",
        "max_execution_batch_size must be",
    ),
}


@pytest.mark.parametrize("case", BATCHING)
def test_wrong_batching_parameters_exit_255_and_say_why(case, tmp_path, models):
    content, message = BATCHING[case]
    (tmp_path / "batching.config").write_text(content)
    result = harness.run_to_end(
        "--enable_batching",
        f"--batching_parameters_file={tmp_path}/batching.config",
        f"--model_base_path={models}/plus",
        f"--port={free_port()}",
        *QUICK_RETRIES,
    )
    assert result.returncode == 255
    assert message in result.stdout


def test_a_broken_model_ends_the_server_after_its_retries(tmp_path, models):
    shutil.copytree(models / "plus" / "1", tmp_path / "broken" / "1")
    (tmp_path / "broken" / "1" / "saved_model.pb").write_bytes(b"not a model")
    config = harness.write_config(
        tmp_path / "models.config",
        harness.model_config("broken", tmp_path / "broken"),
        harness.model_config("plus", models / "plus"),
    )
    result = harness.run_to_end(
        f"--model_config_file={config}",
        f"--port={free_port()}",
        "--max_num_load_retries=2",
        "--load_retry_interval_micros=1000",
    )
    assert result.returncode == 255
    assert "1 model(s) did not become available: {{{name: broken version: 1} due to error: " in result.stdout
    assert result.stderr.count("Loading servable: {name: broken version: 1} failed") == 3


def test_request_logging_ends_the_server_after_the_load(tmp_path, models):
    config = harness.write_config(
        tmp_path / "models.config",
        harness.model_config("plus", models / "plus", "logging_config { sampling_config { sampling_rate: 0.1 } }"),
    )
    result = harness.run_to_end(f"--model_config_file={config}", f"--port={free_port()}")
    assert result.returncode == 255
    assert "Successfully loaded servable version {name: plus version: 3}" in result.stderr


@pytest.mark.parametrize("flag", ["--ssl_config_file=/nowhere", "--rest_api_num_threads=0"])
def test_fatal_checks_abort_once_the_models_are_loaded(flag, models):
    result = harness.run_to_end(
        f"--port={free_port()}",
        f"--rest_api_port={free_port()}",
        f"--model_base_path={models}/plus",
        flag,
    )
    assert result.returncode == -signal.SIGABRT
    assert "Successfully loaded servable version {name: default version: 3}" in result.stderr


def test_a_busy_grpc_port_exits_255(models):
    with socket.socket() as other:
        other.bind(("0.0.0.0", 0))
        other.listen()
        result = harness.run_to_end(f"--port={other.getsockname()[1]}", f"--model_base_path={models}/plus")
    assert result.returncode == 255
    assert "Failed to BuildAndStart gRPC server" in result.stdout


def test_equal_ports_lose_rest_without_ending_the_server(start, models):
    port = free_port()
    server = start(
        "--model_name=plus",
        f"--model_base_path={models}/plus",
        f"--port={port}",  # given again, and the last one wins
        f"--rest_api_port={port}",
        ready=False,
    )
    server.await_log("server_options.http_port cannot be same as grpc_port")
    assert server.process.poll() is None


def test_a_busy_rest_port_loses_rest_without_ending_the_server(start, models):
    with socket.socket(socket.AF_INET6) as other:
        other.bind(("::", 0))
        other.listen()
        server = start(
            "--model_name=plus", f"--model_base_path={models}/plus", ready=False, rest=other.getsockname()[1]
        )
        server.await_log("Failed to start HTTP Server at localhost:")
        assert answers_grpc(server) == 4.0


def test_a_single_rest_thread_accepts_but_never_answers(start, models):
    server = start("--model_name=plus", f"--model_base_path={models}/plus", "--rest_api_num_threads=1")
    assert not is_refused(server.rest_port)
    with pytest.raises((TimeoutError, urllib.error.URLError)):
        server.http("/v1/models/plus", timeout=1)


def test_a_missing_base_path_keeps_all_ports_shut_until_it_appears(start, tmp_path, models):
    config = harness.write_config(
        tmp_path / "models.config",
        harness.model_config("late", tmp_path / "late"),
        harness.model_config("plus", models / "plus"),
    )
    server = start(f"--model_config_file={config}", ready=False)
    server.await_log(f"Could not find base path {tmp_path}/late for servable late")
    assert is_refused(server.grpc_port)
    assert is_refused(server.rest_port)
    assert "Loading servable version {name: plus" not in server.log()
    shutil.copytree(models / "plus", tmp_path / "late")
    server.await_log("Exporting HTTP/REST API at:")
    assert server.states("late") == {3: "AVAILABLE"}


def test_a_base_path_without_versions_keeps_the_server_waiting(start, tmp_path):
    (tmp_path / "empty" / "v1").mkdir(parents=True)
    server = start(f"--model_base_path={tmp_path}/empty", ready=False)
    server.await_log("Did you forget to name your leaf directory as a number")
    assert is_refused(server.grpc_port)


def test_a_broken_monitoring_file_leaves_grpc_up_and_rest_down(start, tmp_path, models):
    (tmp_path / "monitoring.config").write_text("prometheus { }")
    server = start(
        "--model_name=plus",
        f"--model_base_path={models}/plus",
        f"--monitoring_config_file={tmp_path}/monitoring.config",
        ready=False,
    )
    server.await_log("Failed to start server. Error: INVALID_ARGUMENT: Invalid protobuf file")
    assert "Error parsing text-format tensorflow.serving.MonitoringConfig: 1:12: Message type" in server.log()
    assert answers_grpc(server) == 4.0
    assert is_refused(server.rest_port)


def test_a_config_without_models_starts_a_server_without_models(start, tmp_path):
    (tmp_path / "models.config").write_text("# nothing yet\n")
    server = start(f"--model_config_file={tmp_path}/models.config")
    assert server.http("/v1/models/plus")[0] == 404


def test_the_server_keeps_its_process_id_and_is_named_like_upstreams(start, models):
    server = start("--model_name=plus", f"--model_base_path={models}/plus")
    with open(f"/proc/{server.pid}/comm") as comm:
        assert comm.read().strip() == "tensorflow_mode"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_signals_end_the_server_at_once_even_with_a_request_at_work(number, start, models):
    server = start("--model_name=busy", f"--model_base_path={models}/busy", "--rest_api_timeout_in_ms=0")
    with socket.create_connection(("127.0.0.1", server.rest_port)) as client:
        body = b'{"instances": [100000000]}'
        head = f"POST /v1/models/busy:predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        client.sendall(head + body)
        idle = server.cpu_seconds()
        harness.eventually(lambda: server.cpu_seconds() > idle + 0.3, "the request at work")
        server.process.send_signal(number)
        assert server.process.wait(timeout=harness.PATIENCE) == -number
        assert client.recv(100) == b""  # not the answer, which would take longer


def test_thread_flags_reach_the_runtime(start, models):
    few = start(
        "--model_name=plus",
        f"--model_base_path={models}/plus",
        "--tensorflow_intra_op_parallelism=1",
        "--tensorflow_inter_op_parallelism=2",
        "--rest_api_num_threads=3",
    )
    many = start(
        "--model_name=plus",
        f"--model_base_path={models}/plus",
        "--tensorflow_intra_op_parallelism=6",
        "--tensorflow_inter_op_parallelism=7",
        "--rest_api_num_threads=9",
    )
    assert (few.threads().count("tf_Compute"), many.threads().count("tf_Compute")) == (2, 7)
    assert (few.threads().count("httprestserver"), many.threads().count("httprestserver")) == (3, 9)
    # The runtime's name for intra-op threads is too long for the kernel, so they carry the name of who started them.
    intra_op = [one.threads().count("AspiredVersions") for one in (few, many)]
    assert intra_op[1] - intra_op[0] == 5


def test_the_session_config_file_loses_its_thread_counts_but_not_its_pools(start, tmp_path, models):
    (tmp_path / "session.config").write_text(
        "intra_op_parallelism_threads: 9 inter_op_parallelism_threads: 9 "
        "session_inter_op_thread_pool { num_threads: 4 }"
    )
    server = start(
        "--model_name=plus",
        f"--model_base_path={models}/plus",
        f"--tensorflow_session_config_file={tmp_path}/session.config",
        "--tensorflow_session_parallelism=2",
    )
    assert len([name for name in server.threads() if name.startswith("tf_Compute")]) == 4


def test_grpc_speaks_tls_when_configured_and_rest_does_not(start, tmp_path, models):
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost", "-keyout", "key.pem", "-out", "cert.pem"],
        cwd=tmp_path, check=True, capture_output=True,
    )  # fmt: skip
    key, cert = ((tmp_path / name).read_text() for name in ("key.pem", "cert.pem"))
    escaped = [text.replace("\n", "\\n") for text in (key, cert)]
    (tmp_path / "ssl.config").write_text(f'server_key: "{escaped[0]}" server_cert: "{escaped[1]}" client_verify: false')
    server = start("--model_name=plus", f"--model_base_path={models}/plus", f"--ssl_config_file={tmp_path}/ssl.config")
    credentials = grpc.ssl_channel_credentials(cert.encode())
    server.channel = grpc.secure_channel(f"localhost:{server.grpc_port}", credentials)
    assert answers_grpc(server) == 4.0
    assert server.http("/v1/models/plus")[0] == 200
