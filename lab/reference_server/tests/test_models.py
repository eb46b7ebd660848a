# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Which versions are served, and how the set of models changes at run time."""

import json
import shutil
import threading

import grpc
import harness
import pytest
from google.protobuf import text_format
from ports import free_port
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import model_management_pb2, model_service_pb2_grpc
from tensorflow_serving.config import model_server_config_pb2
from tfs_reference import source


@pytest.fixture
def plus(tmp_path, models):
    """A base path of the test's own with version 1; publish(n) adds versions the way they should be: by rename."""
    base = tmp_path / "plus"
    base.mkdir()

    def publish(version, source=None):
        shutil.copytree(models / (source or f"plus/{version}"), base / ".incoming")
        (base / ".incoming").rename(base / str(version))

    publish(1)
    return base, publish


@pytest.fixture
def reloading(start, tmp_path, monitoring):
    """reloading(*models) starts a server that polls its config each second; .config(*models) replaces it."""

    def starter(*models, flags=()):
        path = harness.write_config(tmp_path / "models.config", *models)
        server = start(
            f"--model_config_file={path}",
            "--model_config_file_poll_wait_seconds=1",
            f"--monitoring_config_file={monitoring}",
            "--max_num_load_retries=0",
            *flags,
        )
        server.config = lambda *new: harness.write_config(path, *new)
        return server

    return starter


def answer(server, path="plus"):
    status, body = server.predict(path, {"instances": [0.0]})
    return body["predictions"][0] if status == 200 else status


def test_a_new_version_replaces_the_old_one_without_a_gap(start, plus):
    base, publish = plus
    server = start("--model_name=plus", f"--model_base_path={base}")
    answers, stop = [], threading.Event()

    def ask():
        while not stop.is_set():
            answers.append(answer(server))

    asking = threading.Thread(target=ask)
    asking.start()
    publish(3)
    server.await_states("plus", {3: "AVAILABLE", 1: "END"})
    harness.eventually(lambda: answers[-1] == 3.0, "answers of version 3")
    stop.set()
    asking.join()
    assert set(answers) == {1.0, 3.0}
    shutil.rmtree(base / "3")
    server.await_states("plus", {3: "END", 1: "AVAILABLE"})
    assert answer(server) == 1.0


def test_a_failing_version_leaves_the_old_one_serving_and_tells_its_error(start, plus, tmp_path):
    base, _ = plus
    server = start("--model_name=plus", f"--model_base_path={base}", "--max_num_load_retries=0")
    (base / "2").mkdir()
    server.await_states("plus", {2: "END", 1: "AVAILABLE"})
    entry = server.json("/v1/models/plus/versions/2")[1]["model_version_status"][0]
    assert entry["status"] == {
        "error_code": "NOT_FOUND",
        "error_message": f"Could not find SavedModel .pb or .pbtxt at supplied export directory path: {base}/2",
    }
    assert answer(server) == 1.0
    assert "Quiescing" not in server.log()


def test_policies_select_versions_and_follow_the_config(reloading, models):
    base = models / "plus"
    server = reloading(harness.model_config("plus", base, "model_version_policy { latest { num_versions: 2 } }"))
    server.await_states("plus", {3: "AVAILABLE", 2: "AVAILABLE"})
    server.config(harness.model_config("plus", base, "model_version_policy { specific { versions: [1, 7] } }"))
    server.await_states("plus", {3: "END", 2: "END", 1: "AVAILABLE"})
    server.await_log("Version 7 of servable plus, which was requested to be served as a 'specific' version")
    server.config(harness.model_config("plus", base, "model_version_policy { all { } }"))
    server.await_states("plus", {3: "AVAILABLE", 2: "AVAILABLE", 1: "AVAILABLE"})


def test_models_come_and_go_with_the_config_and_a_bad_config_changes_nothing(reloading, models):
    plus = harness.model_config("plus", models / "plus")
    server = reloading(plus)
    server.config(plus, harness.model_config("rowsum", models / "rowsum"))
    server.await_states("rowsum", {1: "AVAILABLE"})
    server.config("nonsense")
    server.await_log("PollFilesystemAndReloadConfig failed")
    assert "Error parsing text-format tensorflow.serving.ModelServerConfig: " in server.log()
    assert server.states("rowsum") == {1: "AVAILABLE"}
    server.config(plus)
    server.await_states("rowsum", {1: "END"})
    assert server.predict("rowsum", {"instances": [[1.0]]})[0] == 404
    server.config()
    server.await_states("plus", {3: "END"})


def test_labels_move_only_onto_versions_that_are_available(reloading, plus):
    base, publish = plus
    publish(2)

    def config(versions, stable):
        policy = f"model_version_policy {{ specific {{ versions: {versions} }} }}"
        return harness.model_config("plus", base, f"{policy} version_labels {{ key: 'stable' value: {stable} }}")

    server = reloading(config([1], 1), flags=["--allow_version_labels_for_unavailable_models"])
    assert answer(server, "plus/labels/stable") == 1.0
    server.config(config([1, 2], 2))  # load and move in one step: refused, and nothing is loaded
    server.await_log("which is not currently available for inference")
    assert server.states("plus") == {1: "AVAILABLE"}
    assert answer(server, "plus/labels/stable") == 1.0
    server.config(config([1, 2], 1))
    server.await_states("plus", {2: "AVAILABLE", 1: "AVAILABLE"})
    server.config(config([1, 2], 2))
    harness.eventually(lambda: answer(server, "plus/labels/stable") == 2.0, "the label on version 2")


def test_one_missing_base_path_freezes_the_discovery_of_all_models(reloading, plus, tmp_path):
    base, publish = plus
    other = tmp_path / "other"
    shutil.copytree(base, other)
    server = reloading(harness.model_config("plus", base), harness.model_config("other", other))
    other.rename(tmp_path / "gone")
    server.await_log(f"Could not find base path {other}")
    publish(2)
    passes = server.log().count("Could not find base path")
    harness.eventually(lambda: server.log().count("Could not find base path") > passes + 1, "two more passes")
    assert server.states("plus") == {1: "AVAILABLE"}
    assert server.states("other") == {1: "AVAILABLE"}
    (tmp_path / "gone").rename(other)
    server.await_states("plus", {2: "AVAILABLE", 1: "END"})


def test_a_reload_over_grpc_replaces_the_list_and_tells_metrics(start, models, tmp_path):
    path = harness.write_config(tmp_path / "models.config", harness.model_config("plus", models / "plus"))
    server = start(f"--model_config_file={path}", "--max_num_load_retries=0")
    stub = model_service_pb2_grpc.ModelServiceStub(server.channel)
    names = ["/tensorflow/core/direct_session_runs", "/no/such/metric"]
    request = model_management_pb2.ReloadConfigRequest(metric_names=names)
    request.config.model_config_list.config.add(
        name="rowsum", base_path=str(models / "rowsum"), model_platform="tensorflow"
    )
    response = stub.HandleReloadConfigRequest(request, timeout=harness.PATIENCE)
    assert response.status.error_code == 0
    # The load restores the variables and runs the initialiser; unknown metrics are answered with 0.
    assert [(metric.name, metric.int64_value_increase) for metric in response.metric] == list(zip(names, (2, 0)))
    assert server.states("rowsum") == {1: "AVAILABLE"}
    server.await_states("plus", {3: "END"})
    with pytest.raises(grpc.RpcError) as raised:
        stub.HandleReloadConfigRequest(model_management_pb2.ReloadConfigRequest(), timeout=5)
    assert raised.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_unloading_waits_for_the_requests_that_hold_the_version(reloading, models):
    busy, plus = harness.model_config("busy", models / "busy"), harness.model_config("plus", models / "plus")
    server = reloading(busy, plus, flags=["--rest_api_timeout_in_ms=0"])
    result = []
    asking = threading.Thread(target=lambda: result.append(server.predict("busy", {"instances": [8000]})))
    asking.start()
    idle = server.cpu_seconds()
    harness.eventually(lambda: server.cpu_seconds() > idle + 0.3, "the request at work")
    server.config(plus)
    server.await_states("busy", {1: "UNLOADING"})
    assert asking.is_alive()
    asking.join(timeout=harness.PATIENCE)
    server.await_states("busy", {1: "END"})
    assert result[0][0] == 200
    assert server.predict("busy", {"instances": [1]})[0] == 404


def test_without_load_threads_one_failing_load_holds_back_the_others(start, plus, tmp_path, models):
    base, _ = plus
    other = tmp_path / "other"
    shutil.copytree(base, other)
    config = harness.write_config(
        tmp_path / "models.config", harness.model_config("plus", base), harness.model_config("other", other)
    )

    def versions_held_back(load_threads):
        server = start(
            f"--model_config_file={config}",
            f"--num_load_threads={load_threads}",
            "--max_num_load_retries=1",
            "--load_retry_interval_micros=60000000",
        )
        (base / "2").mkdir()  # broken: its retries take a minute
        server.await_log("Loading servable: {name: plus version: 2} failed")
        shutil.copytree(models / "plus" / "2", other / ".in")
        (other / ".in").rename(other / "2")
        if load_threads:
            server.await_states("other", {2: "AVAILABLE", 1: "END"})
        else:
            shown = server.log().count("failed")
            with pytest.raises(AssertionError, match="never happened"):
                harness.eventually(lambda: 2 in server.states("other"), "a second load", timeout=2)
            assert shown == 1
        server.stop()
        shutil.rmtree(base / "2")
        shutil.rmtree(other / "2")

    versions_held_back(0)
    versions_held_back(2)


def test_warmup_is_replayed_measured_and_can_fail_a_load(start, tmp_path, models, monitoring):
    shutil.copytree(models / "digits" / "1", tmp_path / "digits" / "1")
    flags = ["--model_name=digits", f"--model_base_path={tmp_path}/digits", "--max_num_load_retries=0"]
    server = start(*flags, f"--monitoring_config_file={monitoring}", "--num_request_iterations_for_warmup=4")
    path = f"{tmp_path}/digits/1"
    assert server.metric(":tensorflow:serving:model_warmup_latency_count", model_path=path, status="OK") == 1
    # The load restored the variables and ran the initialiser; each of these builds a graph, warm-up builds one.
    assert server.metric(":tensorflow:core:graph_runs") == 4 + 2
    assert server.metric(":tensorflow:core:graph_build_calls") == 1 + 2
    assert server.metric(":tensorflow:core:graph_build_time_usecs") > 0
    assert server.metric(":tensorflow:core:graph_run_input_tensor_bytes_count") == 4
    (tmp_path / "digits/1/assets.extra/tf_serving_warmup_requests").write_bytes(b"no records at all, really")
    failed = harness.run_to_end(*flags, f"--port={free_port()}")
    assert failed.returncode == 255
    assert "DATA_LOSS" in failed.stdout
    unwarmed = start(*flags, "--enable_model_warmup=false")
    assert json.loads(unwarmed.http("/v1/models/digits")[1])["model_version_status"][0]["state"] == "AVAILABLE"


def altered(models, target, change):
    """A copy of the first version of plus whose saved_model.pb was changed."""
    shutil.copytree(models / "plus" / "1", target)
    path = target / "saved_model.pb"
    model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    change(model.meta_graphs[0])
    path.write_bytes(model.SerializeToString())


def rename_tensors(kind):
    def change(graph):
        for info in getattr(graph.signature_def["serving_default"], kind).values():
            info.name = "nowhere:0"

    return change


def unknown_operation(graph):
    graph.graph_def.node.add(name="odd", op="NoSuchOperation")


def dangling_input(graph):
    graph.graph_def.node.add(name="odd", op="Identity", input=["nowhere"])


UNLOADABLE = {
    "unknown operation": (unknown_operation, "NOT_FOUND", "Op type not registered 'NoSuchOperation'"),
    "dangling input": (dangling_input, "INVALID_ARGUMENT", "odd"),
}


@pytest.mark.parametrize("case", UNLOADABLE)
def test_a_broken_graph_fails_its_load_with_a_status_and_no_name_of_pythons(case, tmp_path, models):
    change, code, words = UNLOADABLE[case]
    altered(models, tmp_path / "plus" / "1", change)
    flags = ["--model_name=plus", f"--model_base_path={tmp_path}/plus", "--max_num_load_retries=0"]
    failed = harness.run_to_end(*flags, f"--port={free_port()}")
    assert failed.returncode == 255
    assert f"due to error: {code}: " in failed.stdout
    assert words in failed.stdout
    assert "Error: " not in failed.stdout.removeprefix("Failed to start server. Error: ")


def test_signatures_of_tensors_that_the_graph_lacks_are_told_as_the_runtime_tells_them(start, tmp_path, models):
    altered(models, tmp_path / "feed" / "1", rename_tensors("inputs"))
    altered(models, tmp_path / "fetch" / "1", rename_tensors("outputs"))
    named = [harness.model_config(name, tmp_path / name) for name in ("feed", "fetch")]
    server = start(f"--model_config_file={harness.write_config(tmp_path / 'models.config', *named)}")
    body = {"inputs": [1.0]}
    assert server.predict("feed", body) == (404, {"error": "FeedInputs: unable to find feed output nowhere:0"})
    assert server.predict("fetch", body) == (404, {"error": "FetchOutputs node nowhere:0: not found"})


def published(tmp_path, source, model="given"):
    """A copy of a version under a name of its own."""
    shutil.copytree(source, tmp_path / model / "1")
    return tmp_path / model / "1"


def without_variables(version):
    shutil.rmtree(version / "variables", ignore_errors=True)


def with_empty_variables(version):
    without_variables(version)
    (version / "variables").mkdir()


def as_text(version):
    without_variables(version)
    binary = version / "saved_model.pb"
    model = saved_model_pb2.SavedModel.FromString(binary.read_bytes())
    (version / "saved_model.pbtxt").write_text(text_format.MessageToString(model))
    binary.unlink()


STRIPPED = {"none": without_variables, "empty": with_empty_variables, "text": as_text}


def test_models_without_variables_need_no_files_of_them(start, tmp_path, models):
    """As TensorFlow 2 writes them with a checkpoint of nothing, and as TensorFlow 1 does."""
    body, named = {"instances": [[2.0, 4.0]]}, []
    for name, strip in STRIPPED.items():
        for model in ("rowsum", "frozen"):
            strip(published(tmp_path, models / model / "1", f"{model}-{name}"))
            named.append(harness.model_config(f"{model}-{name}", tmp_path / f"{model}-{name}"))
    server = start(f"--model_config_file={harness.write_config(tmp_path / 'models.config', *named)}")
    for name in STRIPPED:
        assert server.predict(f"rowsum-{name}", body) == (200, {"predictions": [6.0]})
        assert server.predict(f"frozen-{name}", body) == (200, {"predictions": [[2.0, 3.0]]})
    assert (
        "The specified SavedModel has no variables; no checkpoints were restored. "
        f"File does not exist: {tmp_path}/rowsum-none/1/variables/variables.index" in server.log()
    )


def test_variables_whose_files_are_gone_fail_the_first_request_as_upstream(start, tmp_path, models):
    without_variables(published(tmp_path, models / "plus" / "1"))
    server = start("--model_name=given", f"--model_base_path={tmp_path}/given", "--max_num_load_retries=0")
    assert server.states("given") == {1: "AVAILABLE"}
    status, told = server.predict("given", {"instances": [1.0]})
    assert status == 400
    assert "Could not find variable" in told["error"]


def test_half_a_checkpoint_fails_the_load(tmp_path, models):
    version = published(tmp_path, models / "plus" / "1")
    (version / "variables" / "variables.data-00000-of-00001").unlink()
    flags = ["--model_name=given", f"--model_base_path={tmp_path}/given", "--max_num_load_retries=0"]
    failed = harness.run_to_end(*flags, f"--port={free_port()}")
    assert failed.returncode == 255
    assert "due to error: " in failed.stdout


@pytest.mark.parametrize("content", [b"meta_graphs {", b"\xff\xfe"])
def test_a_damaged_text_model_fails_its_load(tmp_path, content):
    version = tmp_path / "given" / "1"
    version.mkdir(parents=True)
    (version / "saved_model.pbtxt").write_bytes(content)
    flags = ["--model_name=given", f"--model_base_path={tmp_path}/given", "--max_num_load_retries=0"]
    failed = harness.run_to_end(*flags, f"--port={free_port()}")
    assert failed.returncode == 255
    assert f"due to error: DATA_LOSS: Can't parse {version}/saved_model.pbtxt as text proto" in failed.stdout


def test_names_of_directories_are_read_as_64_bit_integers(tmp_path, models):
    names = ["99999999999999999999", "9223372036854775808", "+5", " 7", "007", "1_0", "\u0663", "-0x1", "8 ", "v9"]
    for name in names:
        (tmp_path / name).mkdir()
    config = model_server_config_pb2.ModelConfig(name="m", base_path=str(tmp_path))
    config.model_version_policy.all.SetInParent()
    found = {version: path.rsplit("/", 1)[1] for version, path in source.wanted_versions(config).items()}
    assert found == {5: "+5", 7: "007", 8: "8 "}
