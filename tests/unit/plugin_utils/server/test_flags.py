# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Flags become the command line that the server understands, or an error that says what to write."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.tfserving.fleet.plugins.filter.server_flags import FilterModule
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError, nearest
from ansible_collections.tfserving.fleet.plugins.plugin_utils.server.flags import arguments, check, known_flags
from ansible_collections.tfserving.fleet.plugins.plugin_utils.tables import surveyed
from hypothesis import given
from hypothesis import strategies as st

MODELS = {"model_config_file": "/etc/tfserving/ranker/models.config"}
NEWEST, OLDEST = surveyed.newest(), surveyed.oldest()


def refusal(flags, version=NEWEST, path="flags") -> str:
    """Return the sentence with which the flags are refused, whether they are to be written or not."""
    with pytest.raises(WishError) as caught:
        check(flags, version, path)
    with pytest.raises(WishError) as unwritten:
        arguments(flags, version, path)
    assert str(unwritten.value) == str(caught.value)
    return str(caught.value)


def test_flags_come_out_in_the_servers_order_whatever_order_they_came_in():
    flags = {"enable_profiler": False, **MODELS, "rest_api_port": 8501, "port": 8500}
    expected = [
        "--port=8500",
        "--rest_api_port=8501",
        "--model_config_file=/etc/tfserving/ranker/models.config",
        "--enable_profiler=false",
    ]
    assert arguments(flags, NEWEST) == expected
    assert arguments(dict(reversed(flags.items())), NEWEST) == expected


def test_a_null_leaves_the_flag_to_the_server():
    assert arguments({**MODELS, "port": None, "ssl_config_file": None}, NEWEST) == [
        "--model_config_file=/etc/tfserving/ranker/models.config"
    ]


@pytest.mark.parametrize(
    ("fraction", "text"), [(0.5, "0.5"), (0, "0.0"), (1, "1.0"), (1e-05, "0.00001"), (0.1 + 0.2, "0.30000000000000004")]
)
def test_fractions_never_show_an_exponent(fraction, text):
    assert f"--per_process_gpu_memory_fraction={text}" in arguments(
        {**MODELS, "per_process_gpu_memory_fraction": fraction}, NEWEST
    )


# A value for every type, and for each flag that needs one a value or a surrounding of its own.
SAMPLES = {"bool": True, "int32": 7, "int64": 7, "float": 0.25, "string": "/etc/file"}
VALUES = {
    "model_name": "ranker",
    "mixed_precision": "bfloat16",
    "grpc_channel_arguments": "grpc.max_connection_age_ms=9",
}
SURROUNDINGS = {
    "batching_parameters_file": {"enable_batching": True},
    "enable_per_model_batching_parameters": {"enable_batching": True},
    "monitoring_config_file": {"rest_api_port": 8501},
    "num_tflite_pools": {"prefer_tflite_model": True},
    "num_tflite_interpreters_per_pool": {"prefer_tflite_model": True},
    "model_name": {"model_base_path": "/models/ranker", "model_config_file": None},
    "model_base_path": {"model_config_file": None},
}
NEVER_USEFUL = {"version", "thread_pool_factory_config_file"}


@pytest.mark.parametrize("name", sorted(set(known_flags(NEWEST)) - NEVER_USEFUL))
def test_every_flag_can_be_set(name):
    value = VALUES.get(name, SAMPLES[known_flags(NEWEST)[name]["type"]])
    flags = {**MODELS, **SURROUNDINGS.get(name, {}), name: value}
    text = str(value).lower() if isinstance(value, bool) else str(value)
    assert f"--{name}={text}" in arguments(flags, NEWEST)


@pytest.mark.parametrize("name", sorted(set(known_flags(NEWEST)) - set(known_flags(OLDEST))))
def test_a_flag_newer_than_the_server_names_the_release_it_needs(name):
    since = known_flags(NEWEST)[name]["since"]
    value = SAMPLES[known_flags(NEWEST)[name]["type"]]
    assert refusal({**MODELS, name: value}, "2.10.0") == (
        f"flags.{name}: needs {since} or newer, this host gets 2.10.0; leave it out or raise tfserving_version"
    )


def test_a_flag_is_there_from_the_first_release_of_its_line():
    # The survey saw 2.14.1 and 2.15.1, and found the flag in the first candidate of 2.15.0.
    flags = {**MODELS, "mixed_precision": "bfloat16"}
    assert arguments(flags, "2.15.0") == arguments(flags, "2.15.1") == arguments(flags, "2.15.0-rc0")
    assert refusal(flags, "2.14.1").startswith("flags.mixed_precision: needs 2.15.1 or newer, this host gets 2.14.1")


def test_a_release_newer_than_the_survey_has_the_flags_of_the_newest_one():
    assert known_flags("2.31.4") == known_flags(NEWEST)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "frobnicate",
            f"flags.frobnicate: 2.31.4 was not surveyed, and {NEWEST}, the newest release that was, has no such flag;"
            " leave it out, or set host_plan_policy.allow_unsurveyed_release to true if 2.31.4 has it",
        ),
        (
            "rest_api_prot",
            f"flags.rest_api_prot: 2.31.4 was not surveyed, and {NEWEST}, the newest release that was, has no such"
            " flag; did you mean 'rest_api_port'? Otherwise, set host_plan_policy.allow_unsurveyed_release to true if"
            " 2.31.4 has it",
        ),
        (
            "rest_api_timeout_ms",
            "flags.rest_api_timeout_ms: no surveyed release of the server has this flag; the flag is"
            " 'rest_api_timeout_in_ms'",
        ),
    ],
)
def test_a_flag_of_a_newer_release_is_refused_as_not_surveyed(name, sentence):
    assert refusal({**MODELS, name: 1}, "2.31.4") == sentence


def test_a_patch_release_of_a_surveyed_line_has_no_flags_of_its_own():
    major, minor, patch = surveyed.numbers(NEWEST)
    later = f"{major}.{minor}.{patch + 1}"
    assert refusal({**MODELS, "frobnicate": 1}, later).startswith("flags.frobnicate: the server has no such flag")
    assert arguments(MODELS, later) == arguments(MODELS, NEWEST)


def test_what_nobody_surveyed_is_written_as_it_is_where_that_is_permitted():
    flags = {"zeal": 0.5, "frobnicate": True, "name_of_it": "a b", "count_of_it": 7, "rest_api_timeout_ms": 5, **MODELS}
    assert arguments({**flags, "left_out": None}, "2.31.4", allow_unsurveyed=True) == [
        "--model_config_file=/etc/tfserving/ranker/models.config",
        "--count_of_it=7",
        "--frobnicate=true",
        "--name_of_it=a b",
        "--rest_api_timeout_ms=5",
        "--zeal=0.5",
    ]


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ({"port": "8500"}, "flags.port: needs a whole number, not the string '8500'; "),
        ({"--frobnicate": 1}, "flags.--frobnicate: the name carries its dashes; write 'frobnicate'"),
        ({"a=1 --b": 1}, "flags.(a key): 2.31.4 was not surveyed, "),
        ({"frobnicate": [1]}, "flags.frobnicate: is a list; write a boolean, a number or a string"),
        ({"frobnicate": "a\nb"}, "flags.frobnicate: holds a line break or another control character; "),
        ({"frobnicate": 2**64}, "flags.frobnicate: "),
    ],
)
def test_the_permission_is_for_names_alone(flags, sentence):
    with pytest.raises(WishError) as caught:
        arguments({**MODELS, **flags}, "2.31.4", allow_unsurveyed=True)
    assert str(caught.value).startswith(sentence)


def test_the_permission_means_nothing_to_a_surveyed_release():
    with pytest.raises(WishError, match="the server has no such flag and would go on without it"):
        arguments({**MODELS, "frobnicate": 1}, NEWEST, allow_unsurveyed=True)


@pytest.mark.parametrize(
    ("version", "message"),
    [
        ("latest", "version: the string 'latest' is not a release of the server; "),
        ("2.19", "version: the string '2.19' is not a release of the server; "),
        (2.19, "version: the fraction 2.19 is not a release of the server; "),
        (None, "version: nothing is not a release of the server; "),
    ],
)
def test_a_version_that_is_no_release_is_refused(version, message):
    assert refusal(MODELS, version) == message + 'write three numbers in quotes, such as "2.19.1"'


def test_a_release_older_than_the_survey_is_refused():
    assert refusal(MODELS, "2.7.4") == f"version: the flags of 2.7.4 were never surveyed; use {OLDEST} or newer"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("rest_api_prot", "the server has no such flag and would go on without it; did you mean 'rest_api_port'?"),
        ("frobnicate", "the server has no such flag and would go on without it; leave it out"),
        (8500, "the server has no such flag and would go on without it; leave it out"),
        ("rest_api_timeout_ms", "no release of the server has this flag; the flag is 'rest_api_timeout_in_ms'"),
        (
            "enable_per_model_metrics",
            "no release of the server has this flag; leave it out: request metrics always carry the model's name",
        ),
        ("--port", "the name carries its dashes; write 'port'"),
    ],
)
def test_a_name_that_is_no_flag_is_refused_with_the_true_one(name, message):
    assert refusal({name: 1}) == f"flags.{name}: {message}"


def test_a_guess_is_never_a_flag_that_the_release_lacks():
    assert "xla_gpu_compilation_enabled" not in refusal({"xla_gpu_compilation_enable": True}, "2.17.0")


@pytest.mark.parametrize(
    ("flag", "value", "message"),
    [
        (
            "port",
            "8500",
            "needs a whole number, not the string '8500'; "
            "write 8500 without quotes, and let a template end in '| int' or '| float'",
        ),
        ("port", True, "needs a whole number, not the boolean true; write a number"),
        ("port", 8500.5, "needs a whole number, not the fraction 8500.5; write a number"),
        ("port", [8500], "needs a whole number, not a list; write a number"),
        ("enable_batching", "true", "needs a boolean, not the string 'true'; write true or false without quotes"),
        ("enable_batching", 1, "needs a boolean, not the number 1; write true or false without quotes"),
        ("model_name", 7, "needs a string, not the number 7; put the value in quotes"),
        (
            "per_process_gpu_memory_fraction",
            "0.5",
            "needs a number, not the string '0.5'; "
            "write 0.5 without quotes, and let a template end in '| int' or '| float'",
        ),
        (
            "per_process_gpu_memory_fraction",
            float("nan"),
            "needs a number, not the fraction nan; write a finite number",
        ),
        (
            "saved_model_tags",
            "serve\n--port=1",
            "holds a line break or another control character; write one line of plain text",
        ),
        ("ssl_config_file", "/a\0b", "holds a line break or another control character; write one line of plain text"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused(flag, value, message):
    assert refusal({flag: value}) == f"flags.{flag}: {message}"


@pytest.mark.parametrize(
    ("flag", "value", "message"),
    [
        ("rest_api_timeout_in_ms", 2**31, "2147483648 does not fit into 32 bits; stay within ±2147483647"),
        ("rest_api_timeout_in_ms", -(2**31) - 1, "-2147483649 does not fit into 32 bits; stay within ±2147483647"),
        (
            "load_retry_interval_micros",
            2**63,
            "9223372036854775808 does not fit into 64 bits; stay within ±9223372036854775807",
        ),
        ("port", -1, "-1 is below 0, and TCP ports end at 65535; write 0 to 65535"),
        ("port", 65536, "65536 is above 65535, and TCP ports end at 65535; write 0 to 65535"),
        ("rest_api_port", 65536, "65536 is above 65535, and TCP ports end at 65535; write 0 to 65535"),
        (
            "rest_api_num_threads",
            1,
            "1 is below 2, and the event loop keeps one of these threads for itself, "
            "so with a single one every REST call hangs; write 2 or more",
        ),
        (
            "grpc_max_threads",
            1,
            "1 is below 2, and gRPC keeps one of these threads polling, so with a single one every call is refused"
            " (RESOURCE_EXHAUSTED); write 2 or more",
        ),
        (
            "file_system_poll_wait_seconds",
            0,
            "0 is below 1, and 0 looks for versions only once, at the start, and a negative period never does, "
            "so the start waits forever; write 1 or more",
        ),
        (
            "model_config_file_poll_wait_seconds",
            -1,
            "-1 is below 0, and a negative period is reserved for the server's own tests; write 0 or more",
        ),
        ("num_load_threads", -1, "-1 is below 0, and the server counts threads without a sign; write 0 or more"),
        ("num_unload_threads", -1, "-1 is below 0, and the server counts threads without a sign; write 0 or more"),
        ("max_num_load_retries", -1, "-1 is below 0, and the server counts retries without a sign; write 0 or more"),
        (
            "tensorflow_intra_op_parallelism",
            2**31,
            "2147483648 is above 2147483647, and the session stores threads in 32 bits; write 0 to 2147483647",
        ),
        (
            "per_process_gpu_memory_fraction",
            1.5,
            "1.5 is above 1, and beyond 1 TensorFlow silently turns to unified memory, which pages over PCIe; "
            "write 0 to 1",
        ),
        (
            "num_request_iterations_for_warmup",
            -1,
            "-1 is below 0, and the server ignores a negative count; write 0 or more",
        ),
        ("num_tflite_pools", 0, "0 is below 1, and a session needs a pool to run in; write 1 or more"),
        (
            "num_tflite_interpreters_per_pool",
            0,
            "0 is below 1, and a pool needs an interpreter to run; write 1 or more",
        ),
        (
            "mixed_precision",
            "float16",
            "the string 'float16' has no effect: the server warns at load and ignores every other value; "
            "write 'bfloat16', or leave it out",
        ),
        (
            "grpc_channel_arguments",
            "a=1,b",
            "an item has no key=value; write 'key=value,key=value'",
        ),
        ("grpc_channel_arguments", "a=1,", "an item has no key=value; write 'key=value,key=value'"),
        ("grpc_channel_arguments", "=1", "an item has no key=value; write 'key=value,key=value'"),
        (
            "grpc_channel_arguments",
            "a=b=c",
            "an item has two equals signs, the server cuts it at the second; write 'key=value,key=value'",
        ),
        (
            "model_base_path",
            "models/ranker",
            "the string 'models/ranker' is relative, which the server refuses at start; "
            "write an absolute path such as /var/lib/tfserving/models/NAME, or a URI",
        ),
        ("model_name", "", "a model needs a name; write one, or leave the key out"),
        (
            "grpc_socket_path",
            "/run/" + "x" * 103,
            "a path of 108 bytes is too long for a UNIX socket; "
            "use at most 107 bytes, such as /run/tfserving/NAME/grpc.sock",
        ),
    ],
)
def test_a_value_out_of_bounds_is_refused_with_the_reason(flag, value, message):
    assert refusal({**MODELS, flag: value}) == f"flags.{flag}: {message}"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            {"port": 0},
            "port: 0 turns the TCP listener off and no grpc_socket_path is set, so the server does not start; "
            "set grpc_socket_path or a port",
        ),
        (
            {"port": 9000, "rest_api_port": 9000},
            "rest_api_port: is the same as port, so the server would run without REST and without metrics; "
            "give each its own port",
        ),
        (
            {"rest_api_port": 8500},
            "rest_api_port: is the same as port, so the server would run without REST and without metrics; "
            "give each its own port",
        ),
        (
            {"use_alts_credentials": True, "ssl_config_file": "/x"},
            "use_alts_credentials: excludes ssl_config_file, and the server does not start with both; keep one of them",
        ),
        (
            {"monitoring_config_file": "/x"},
            "monitoring_config_file: is read only when REST is on, and rest_api_port is 0, "
            "so there would be no metrics; set rest_api_port",
        ),
        (
            {"thread_pool_factory_config_file": "/x"},
            "thread_pool_factory_config_file: names a factory, and the released servers register none, "
            "so they leave after loading every model; leave it out",
        ),
        (
            {"version": True},
            "version: makes the server print its version and leave, so nothing would be served; leave it out",
        ),
        (
            {"model_config_file": None},
            "model_config_file: is not set and neither is model_base_path, so the server does not start; "
            "set one of them",
        ),
        (
            {"model_base_path": "/models/x"},
            "model_base_path: is ignored once model_config_file is set; keep one of them",
        ),
        (
            {"model_name": "x"},
            "model_name: is ignored once model_config_file is set; leave it out and name the models in the file",
        ),
        (
            {"model_config_file": None, "model_base_path": "/m", "model_config_file_poll_wait_seconds": 5},
            "model_config_file_poll_wait_seconds: reads model_config_file again, which is not set; "
            "set model_config_file or leave this out",
        ),
        (
            {
                "model_config_file": None,
                "model_base_path": "/m",
                "allow_version_labels_for_unavailable_models": True,
            },
            "allow_version_labels_for_unavailable_models: concerns version labels, which only model_config_file "
            "can give; set model_config_file or leave this out",
        ),
        (
            {"batching_parameters_file": "/x"},
            "batching_parameters_file: needs enable_batching, and the server does not start without; "
            "set enable_batching to true or leave this out",
        ),
        (
            {"enable_per_model_batching_parameters": True, "enable_batching": False},
            "enable_per_model_batching_parameters: has no effect without enable_batching; "
            "set enable_batching to true or leave this out",
        ),
        (
            {
                "tensorflow_session_parallelism": 1,
                "tensorflow_intra_op_parallelism": 1,
                "tensorflow_inter_op_parallelism": 1,
            },
            "tensorflow_session_parallelism: cannot be set beside both tensorflow_intra_op_parallelism and "
            "tensorflow_inter_op_parallelism: the server does not start; leave it out",
        ),
        (
            {"tensorflow_session_parallelism": 1, "tensorflow_inter_op_parallelism": 1},
            "tensorflow_session_parallelism: is ignored once tensorflow_intra_op_parallelism or "
            "tensorflow_inter_op_parallelism is set; leave it out, and set both of the others",
        ),
        (
            {"num_tflite_pools": 2},
            "num_tflite_pools: has no effect without prefer_tflite_model; "
            "set prefer_tflite_model to true or leave this out",
        ),
        (
            {"num_tflite_interpreters_per_pool": 2},
            "num_tflite_interpreters_per_pool: has no effect without prefer_tflite_model; "
            "set prefer_tflite_model to true or leave this out",
        ),
        (
            {"platform_config_file": "/x", "enable_model_warmup": True, "enable_batching": True},
            "platform_config_file: makes the server ignore enable_batching, enable_model_warmup; "
            "set these to null and write their meaning into that file",
        ),
    ],
)
def test_flags_that_cannot_work_together_are_refused(flags, message):
    assert refusal({**MODELS, **flags}) == f"flags.{message}"


@pytest.mark.parametrize(
    "flags",
    [
        {"port": 0, "grpc_socket_path": "/run/tfserving/ranker/grpc.sock"},
        {"port": 0, "grpc_socket_path": "/run/x.sock", "rest_api_port": 0},
        {"platform_config_file": "/x", "enable_batching": None, "rest_api_port": 8501},
        {"tensorflow_intra_op_parallelism": 4, "tensorflow_inter_op_parallelism": 2},
        {"tensorflow_session_parallelism": 4, "tensorflow_intra_op_parallelism": 0},
        {"model_config_file": None, "model_base_path": "gs://bucket/ranker", "model_name": "ranker"},
        {"grpc_channel_arguments": ""},
        {"grpc_channel_arguments": "grpc.max_concurrent_streams=9,grpc.lb_policy_name="},
    ],
)
def test_combinations_that_only_look_wrong_are_accepted(flags):
    assert arguments({**MODELS, **flags}, NEWEST)


def test_errors_name_the_variable_of_the_user():
    assert refusal({"port": -1}, path="tfserving_instances[1].flags").startswith("tfserving_instances[1].flags.port: ")
    assert refusal(["port"]) == "flags: flags are a mapping of names to values, not a list; write 'name: value'"


def test_the_filter_speaks_in_one_sentence():
    server_flags = FilterModule().filters()["server_flags"]
    assert server_flags({**MODELS, "port": 8500}, NEWEST)[0] == "--port=8500"
    with pytest.raises(AnsibleFilterError, match=r"^wish\.prot: the server has no such flag"):
        server_flags({"prot": 1}, NEWEST, path="wish")


def test_an_error_keeps_its_parts():
    error = WishError("a.b", "is wrong", "write it right")
    assert (error.path, error.problem, error.remedy) == ("a.b", "is wrong", "write it right")
    assert str(error) == "a.b: is wrong; write it right"
    assert str(WishError("", "is wrong", "")) == "is wrong"


def test_a_guess_is_made_only_for_a_likely_name():
    assert nearest("max_batchsize", ["max_batch_size", "path"]) == "did you mean 'max_batch_size'?"
    assert nearest("zebra", ["max_batch_size", "path"]) == ""


TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1)
STRATEGIES = {
    "port": st.integers(1, 8999),
    "rest_api_port": st.integers(9000, 65535),
    "rest_api_num_threads": st.integers(2, 2**31 - 1),
    "enable_batching": st.booleans(),
    "load_retry_interval_micros": st.integers(-(2**63), 2**63 - 1),
    "per_process_gpu_memory_fraction": st.floats(0, 1),
    "saved_model_tags": TEXT,
    "ssl_config_file": TEXT,
    "enable_profiler": st.booleans(),
}


def read_back(argument: str) -> tuple[str, object]:
    """Read an argument as the server does: everything after the first equals sign, by the flag's type."""
    name, text = argument[2:].split("=", 1)
    readers = {"bool": lambda word: word == "true", "int32": int, "int64": int, "float": float, "string": str}
    return name, readers[known_flags(NEWEST)[name]["type"]](text)


@given(st.fixed_dictionaries({}, optional=STRATEGIES))
def test_the_server_reads_back_what_was_wished(flags):
    assert dict(map(read_back, arguments({**MODELS, **flags}, NEWEST))) == {**MODELS, **flags}
