# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Each kind of finding has a server on which it is found, in these words; a server without a fault has none."""

from __future__ import annotations

import adopted_servers as old
import pytest
from ansible_collections.tfserving.fleet.plugins.plugin_utils.adoption.case import cases
from ansible_collections.tfserving.fleet.plugins.plugin_utils.adoption.finding import SEVERITIES, rows
from ansible_collections.tfserving.fleet.plugins.plugin_utils.adoption.findings import findings
from hypothesis import given
from hypothesis import strategies as st

ONE = ("--port=9000", "--model_name=ranker", "--model_base_path=/models/ranker")
SAFE = [{"address": "127.0.0.1", "port": 9000, "kind": "grpc"}]


def by_flags(*words, **keys):
    """Return a server without a fault of its own, with more words."""
    return old.unit(*ONE, *words, listening=SAFE, **keys)


def by_file(content, *words, models=None, **keys):
    """Return a server with a models file of this content."""
    return old.unit(
        "--port=9000",
        old.CONFIGURED,
        "--model_config_file_poll_wait_seconds=5",
        "--num_load_threads=2",
        *words,
        files={"model_config_file": old.text("/models/models.config", content), **keys.pop("more", {})},
        models=[old.model()] if models is None else models,
        listening=SAFE,
        **keys,
    )


def with_batches(content):
    """Return a server that forms batches by a file of this content."""
    files = {"batching_parameters_file": old.text("/b", content)}
    return by_flags("--enable_batching", "--batching_parameters_file=/b", files=files)


def in_box(*words, **inside):
    """Return a server in a container."""
    return old.docker(old.CONFIGURED, *words, inside=inside, files=old.files())


LABELLED = old.config("ranker", more="version_labels { key: 'stable' value: 4 }")
ALLOWED = "--allow_version_labels_for_unavailable_models"
SESSION = {"tensorflow_session_config_file": old.text("/s", "gpu_options { per_process_gpu_memory_fraction: 0.5 }")}
SLOW = "max_enqueued_batches { value: 4 } batch_timeout_micros { value: 2000000 }"
ON_GPU = {"gpus": ["GPU-0000"], "listening": SAFE}

# kind -> a server, and what is said of it
KINDS = {
    "word.separate": (by_flags("--rest_api_port", "8501"), "so rest_api_port stays 0"),
    "word.switch": (by_flags("--enable_profiler", "false"), "--enable_profiler false turns enable_profiler on"),
    "word.repeated": (by_flags("--port=9001", "--port=9000"), "--port=9001 has no effect, because a later word"),
    "word.unknown": (by_flags("--rest_api_prot=8501"), "which goes on without it; did you mean 'rest_api_port'?"),
    "word.dash": (by_flags("-rest_api_port=8501"), "begins with two dashes, as --rest_api_port=..."),
    "word.newer": (
        by_flags("--xla_gpu_compilation_enabled", version="2.15.0"),
        "xla_gpu_compilation_enabled exists from 2.18.0 on, and this server is 2.15.0",
    ),
    "word.since": (by_flags("--skip_initialize_tpu"), "skip_initialize_tpu exists from 2.15.1 on"),
    "word.stray": (by_flags("\\ "), "is no flag, and the server does not read it"),
    "word.swallowed": (
        by_flags("--platform_config_file=/p", "--enable_batching"),
        "platform_config_file makes the server ignore enable_batching",
    ),
    "word.platform": (by_flags("--platform_config_file=/p"), "takes the place of 16 flags"),
    "word.unexpanded": (
        old.unit("--port=9000", "--model_base_path=$MODEL_DIR", listening=SAFE),
        "--model_base_path=$MODEL_DIR reaches the server as it stands",
    ),
    "word.quoted": (by_flags('--saved_model_tags="serve"'), '--saved_model_tags="serve" reaches the server with its'),
    "word.bad": (by_flags("--rest_api_port=eight"), "--rest_api_port=eight stops the server: it is no whole number"),
    "word.help": (by_flags("--version"), "--version makes the server print and leave"),
    "flag.range": (by_flags("--file_system_poll_wait_seconds=-1"), "file_system_poll_wait_seconds is -1, and 0 looks"),
    "flag.choice": (by_flags("--mixed_precision=fp16"), "mixed_precision is fp16: the server warns"),
    "flag.form": (
        old.unit("--port=9000", "--model_base_path=models", listening=SAFE),
        "model_base_path the string 'models' is relative, which the server refuses at start",
    ),
    "flag.stops": (old.unit("--port=9000", listening=SAFE, models=[]), "so the server does not start"),
    "flag.loses": (by_flags("--rest_api_port=9000"), "rest_api_port is the same as port"),
    "flag.idle": (by_flags("--num_tflite_pools=2"), "num_tflite_pools has no effect without prefer_tflite_model"),
    "channel.unknown": (by_flags("--grpc_channel_arguments=grpc.max_age=1"), "which gRPC does not know"),
    "channel.number": (
        by_flags("--grpc_channel_arguments=grpc.max_connection_age_ms=1h"),
        "sets grpc.max_connection_age_ms to 1h, which is no whole number",
    ),
    "path.version": (
        old.unit("--port=9000", "--model_base_path=/m/1", models=[old.model("default", "/m/1", ())], listening=SAFE),
        "the base path of default, /m/1, is the folder of a version",
    ),
    "path.missing": (
        by_flags(models=[old.model(versions=(), error="does not exist")]),
        "the base path of ranker, /models/ranker, does not exist",
    ),
    "path.empty": (by_flags(models=[old.model(versions=())]), "holds no version that the policy serves"),
    "path.scheme": (
        old.unit("--port=9000", "--model_base_path=s3://store/m", listening=SAFE, models=[]),
        "default is read from s3://store/m",
    ),
    "path.relative": (
        by_flags("--monitoring_config_file=m", "--rest_api_port=9001"),
        "monitoring_config_file names m, which is right only as long as the server is started in /",
    ),
    "file.unread": (
        by_flags("--ssl_config_file=/tls", files={"ssl_config_file": {"error": "Permission denied"}}),
        "denied",
    ),
    "file.broken": (by_file("model_config_list {"), "line 1 ends before its message is closed"),
    "file.idle": (
        by_flags("--tensorflow_session_config_file=/s", files=SESSION),
        "sets per_process_gpu_memory_fraction: the server overwrites this field with a flag",
    ),
    "file.refused": (with_batches("num_batch_threads { value: 0 }"), "num_batch_threads 0 is below 1"),
    "labels.refused": (by_file(LABELLED), "ranker has labels, and without allow_version_labels"),
    "labels.nowhere": (
        by_file(LABELLED.replace("value: 4", "value: 3"), ALLOWED),
        "the label stable of ranker is on version 3, which is not served",
    ),
    "batching.defaults": (by_flags("--enable_batching"), "batches of up to 1000, and only 10 may wait"),
    "batching.unbounded": (
        with_batches("max_enqueued_batches { value: 100000 }"),
        "max_enqueued_batches is 100000, so 100000000 requests may wait",
    ),
    "batching.slow": (with_batches(SLOW), "each request waits 2 s for others"),
    "config.once": (old.unit("--port=9000", old.CONFIGURED, files=old.files()), "is read once, at the start"),
    "loading.inline": (
        old.unit("--port=9000", old.CONFIGURED, files=old.files(("a", "b"))),
        "num_load_threads is 0, so a version that does not load holds back all others",
    ),
    "warmup.off": (by_flags("--enable_model_warmup=false"), "so the first requests of each version are slow"),
    "profiler.on": (by_flags(), "the profiler is on"),
    "env.name": (by_flags(environment={"TF_CPP_VMODULE ": "x"}), "is another one than TF_CPP_VMODULE"),
    "env.value": (
        by_flags(environment={"TF_FORCE_GPU_ALLOW_GROWTH": "True"}),
        'TF_FORCE_GPU_ALLOW_GROWTH is \'True\': only "true" and "false" in lower case count',
    ),
    "env.dead": (
        by_flags(environment={"TENSORFLOW_INTER_OP_PARALLELISM": "4"}),
        "nothing reads the variable TENSORFLOW_INTER_OP_PARALLELISM; the flag is tensorflow_inter_op_parallelism",
    ),
    "env.flag": (
        by_flags(other_environment=["TF_SERVING_GRPC_MAX_THREADS"]),
        "TF_SERVING_GRPC_MAX_THREADS sets nothing: the server reads grpc_max_threads from its command line",
    ),
    "env.near": (
        by_flags(environment={"TF_FORCE_GPU_ALOW_GROWTH": "true"}),
        "did you mean 'TF_FORCE_GPU_ALLOW_GROWTH'?",
    ),
    "env.model_name": (
        by_flags(environment={"MODEL_NAME": "other"}),
        "the variable MODEL_NAME has no effect: the flag model_name takes its place",
    ),
    "env.threads": (
        by_flags("--tensorflow_session_parallelism=2", environment={"TF_NUM_INTEROP_THREADS": "4"}),
        "TF_NUM_INTEROP_THREADS has no effect, because tensorflow_session_parallelism is 2",
    ),
    "env.xla": (by_flags(environment={"TF_XLA_FLAGS": "--tf_xla_auto_jit=2"}), "asks for clustering"),
    "release.unsurveyed": (in_box(image="tensorflow/serving:2.4.0"), "2.4.0 was not surveyed; its flags are judged as"),
    "image.floating": (in_box(image="tensorflow/serving", tag_floating=True), "is named by a tag that moves"),
    "image.undigested": (in_box(image="tensorflow/serving:2.15.0"), "is not pinned by a digest"),
    "container.privileged": (in_box(privileged=True), "the container is privileged"),
    "process.root": (by_flags(user="root"), "the server runs as root"),
    "memory.unlimited": (by_flags(cgroup={"memory_max_mb": None}), "nothing bounds the memory"),
    "network.exposed": (
        in_box(ports=old.published(8500, 8501, "0.0.0.0")),
        "its ports are open on all addresses (8500, 8501)",
    ),
    "ports.swapped": (
        in_box(
            ports=[{"host_ip": "", "host_port": 8500, "port": 8501}, {"host_ip": "", "host_port": 8501, "port": 8500}]
        ),
        "8500 leads to 8501, which is REST, and the usual port of REST leads elsewhere",
    ),
    "ports.nowhere": (in_box(ports=old.published(8500, 8501, p9999=9999)), "9999 leads to 9999 of the container"),
    "ports.unpublished": (in_box(ports=old.published(8500)), "REST listens on 8501 of the container, which is not"),
    "allocator.glibc": (by_flags(allocator="glibc"), "memory comes from glibc"),
    "cpus.quota": (
        by_flags(cgroup={"cpu_max": "150000 100000", "memory_max_mb": 1}),
        "a quota of 1.5 CPUs, and pools sized for 8 CPUs",
    ),
    "health.always": (
        in_box(healthcheck=["CMD-SHELL", "curl -f localhost:8501/v1/models/ranker || exit 1"]),
        "the health check asks localhost:8501/v1/models/ranker, which answers 200 while nothing is loaded",
    ),
    "health.passes": (
        in_box(healthcheck=["CMD-SHELL", "curl -f localhost:8501/metrics || true"]),
        "the health check ends with '|| true', so it never fails",
    ),
    "restart.none": (old.server(*ONE, listening=SAFE), "it was started by hand, so nothing is served after a crash"),
    "stop.undrained": (by_flags(), "a stop ends calls in flight"),
    "stop.shell": (in_box(), "a stop signal ends at the shell that started the server"),
    "serves.other": (
        by_flags(serves=old.serving("ranker", 3)),
        "ranker serves 3, and its policy picks 4 of what is on disk",
    ),
    "serves.failed": (
        by_flags(serves=[{"model": "ranker", "version": 4, "state": "END", "error": "out of memory"}]),
        "version 4 of ranker is END: out of memory",
    ),
    "serves.unasked": (by_flags(serves=None), "what it serves could not be asked"),
    "log.grows": (by_flags(log={"path": "/l", "rotated": False}), "/l grows forever"),
}
TOGETHER = {
    "ports.shared": ([by_flags(), by_flags()], "port 9000 is also that of ranker"),
    "gpu.fractions": (
        [by_flags("--per_process_gpu_memory_fraction=0.7", gpus=["G"]) for _each in range(2)],
        "on GPU G add up to 1.4",
    ),
    "gpu.greedy": ([by_flags(gpus=["G"]), by_flags(gpus=["G"])], "takes nearly all memory of GPU G, which"),
}


def found(*servers, **keys):
    return findings(cases(old.survey(*servers, **keys)))


@pytest.mark.parametrize("kind", rows())
def test_each_kind_is_found_in_its_words(kind):
    servers, says = ([KINDS[kind][0]], KINDS[kind][1]) if kind in KINDS else TOGETHER[kind]
    texts = [each.text for each in found(*servers) if each.id == kind]
    assert any(says in text for text in texts), texts


def test_a_server_without_a_fault_has_nothing_but_notes():
    server = by_flags("--enable_profiler=false")
    assert {each.severity for each in found(server)} <= {"note"}


@pytest.mark.parametrize(
    "server",
    [
        in_box(healthcheck=["CMD-SHELL", "curl -s localhost:8501/v1/models/ranker | grep AVAILABLE"]),
        in_box(healthcheck=["CMD-SHELL", "test -e /ready || exit 1"]),
        by_flags(environment={"TF_FORCE_GPU_ALLOW_GROWTH": "true"}),
        by_flags("--rest_api_port=9001", other_environment=["REST_API_PORT", "PATH", "VERSION"]),
        by_flags(cpus_allowed="0", cgroup={"cpu_max": "100000 100000", "memory_max_mb": 1}),
        by_flags(environment={"MODEL_NAME": "ranker"}),
        in_box("--rest_api_timeout_in_ms=100"),
        old.docker(old.CONFIGURED, "--port=8500", files=old.files()),
    ],
)
def test_what_looks_like_a_fault_and_is_none_is_not_told(server):
    assert [each.id for each in found(server) if each.severity != "note"] == []


def test_the_worst_comes_first():
    order = [SEVERITIES.index(each.severity) for each in found(KINDS["word.bad"][0], KINDS["word.dash"][0])]
    assert order == sorted(order)


def test_a_stopped_launcher_is_judged_like_a_server():
    launcher = {
        "kind": "systemd",
        "name": "old.service",
        "argv": ["/usr/bin/tensorflow_model_server", "--port", "9000", "--model_base_path=/m"],
        "unit": {"Restart": "always"},
    }
    told = found(launchers=[launcher, {"kind": "systemd", "name": "other", "argv": ["/bin/true"]}])
    assert [each.server for each in told if each.id == "word.separate"] == ["old"]


def test_instances_of_the_collection_are_not_adopted():
    assert found(by_flags("--port", name="tfserving@ranker.service")) == []


def test_the_words_of_an_interpreter_are_not_those_of_the_server():
    server = by_flags(exe="/usr/bin/python3.11")
    server["argv"] = [server["argv"][0], "-s", "-m", "server", *server["argv"][1:]]
    assert [each.id for each in found(server) if each.severity != "note"] == []


def test_text_of_a_host_is_one_printable_line():
    evil = old.unit("--port=9000", "--model_base_path=/m", "--x\x1b[31m\nFAKE: all is well\u202e", listening=SAFE)
    assert all(each.text.isprintable() for each in found(evil))


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6) | st.floats(allow_nan=True),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from([*old.server(), "origin", "version", "log"]), PLAIN, max_size=6))
def test_whatever_a_survey_holds_is_judged_without_an_error(broken):
    for each in found({**old.server(*ONE), **broken}):
        assert each.severity in SEVERITIES


@given(st.dictionaries(st.sampled_from(sorted(old.container())), PLAIN, max_size=6))
def test_whatever_a_container_holds_is_judged_without_an_error(broken):
    server = old.docker(*ONE, inside=broken if "entrypoint" not in broken else {})
    server["origin"]["container"].update(broken)
    for each in found(server):
        assert each.severity in SEVERITIES
