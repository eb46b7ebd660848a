# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The command line, in process where the parser alone decides and as a process where manners show."""

import os
import shutil
import subprocess

import harness
import pytest
from tfs_reference import flags

NEWEST = "2.19.1"


def test_a_value_follows_an_equals_sign():
    assert flags.parse(["--port=9000"], NEWEST).port == 9000


def test_a_value_as_a_separate_word_is_not_understood():
    parsed = flags.parse(["--port", "9000"], NEWEST)
    assert parsed.port == 8500
    assert parsed.unknown == ["--port", "9000"]


def test_a_single_dash_is_not_understood():
    assert flags.parse(["-port=9000"], NEWEST).unknown == ["-port=9000"]


def test_the_last_of_repeated_flags_wins():
    assert flags.parse(["--port=1", "--port=2"], NEWEST).port == 2


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("--enable_batching", True),
        ("--enable_batching=TRUE", True),
        ("--enable_batching=1", True),
        ("--enable_batching=false", False),
        ("--enable_batching=0", False),
    ],
)
def test_a_bool_may_be_bare_a_word_or_a_digit(argument, value):
    assert flags.parse([argument], NEWEST).enable_batching is value


@pytest.mark.parametrize(
    "argument",
    ["--port=many", "--port=", "--port=99999999999", "--enable_batching=yes", "--per_process_gpu_memory_fraction=half"],
)
def test_a_value_of_the_wrong_type_is_refused(argument):
    with pytest.raises(flags.BadValueError):
        flags.parse([argument], NEWEST)


@pytest.mark.parametrize(
    ("name", "before", "since"),
    [
        ("enable_per_model_batching_parameters", "2.10.0", "2.11.0"),
        ("enable_grpc_healthcheck_service", "2.14.1", "2.15.1"),
        ("mixed_precision", "2.14.1", "2.15.1"),
        ("xla_gpu_compilation_enabled", "2.17.0", "2.18.0"),
        ("enable_serialization_as_tensor_content", "2.18.0", "2.19.0"),
    ],
)
def test_a_flag_is_unknown_to_versions_before_its_own(name, before, since):
    assert flags.parse([f"--{name}=1"], before).unknown
    assert not flags.parse([f"--{name}=1"], since).unknown


@pytest.mark.parametrize(("version", "count"), [("2.8.0", 42), ("2.11.0", 43), ("2.15.1", 46), ("2.19.1", 48)])
def test_a_version_knows_as_many_flags_as_upstream(version, count):
    assert len(flags.known_flags(version)) == count


def test_thread_defaults_follow_the_affinity_mask():
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        parsed = flags.parse([], NEWEST)
    finally:
        os.sched_setaffinity(0, allowed)
    assert (parsed.rest_api_num_threads, parsed.grpc_max_threads, parsed.num_tflite_pools) == (4, 4, 1)


def test_version_names_server_and_library():
    result = harness.run_to_end("--version")
    assert result.returncode == 0
    assert result.stdout.splitlines()[0] == "TensorFlow ModelServer: 2.19.1"
    assert result.stdout.splitlines()[1].startswith("TensorFlow Library: 2.")


def test_the_version_comes_from_the_file_beside_the_package(tmp_path):
    (tmp_path / "tfs_reference").symlink_to(harness.ROOT / "tfs_reference")
    (tmp_path / "VERSION").write_text("2.14.1\n")
    result = harness.run_to_end("--version", "--enable_grpc_healthcheck_service=true", lib=tmp_path)
    assert "TensorFlow ModelServer: 2.14.1" in result.stdout
    assert "unknown argument: --enable_grpc_healthcheck_service=true" in result.stdout


def test_the_first_unknown_flag_is_printed_with_the_usage_and_the_server_goes_on():
    result = harness.run_to_end("--rest_api_timeout_ms=5", "--enable_baching", "--version")
    assert result.returncode == 0
    assert "unknown argument: --rest_api_timeout_ms=5\nusage: " in result.stdout
    assert "--rest_api_timeout_in_ms=30000" in result.stdout
    assert "unknown argument: --enable_baching" not in result.stdout


@pytest.mark.parametrize("argument", ["--port=many", "--help"])
def test_a_bad_value_and_help_print_the_usage_and_exit_255(argument):
    result = harness.run_to_end(argument)
    assert result.returncode == 255
    assert result.stdout.startswith("usage: tensorflow_model_server")


def test_the_launcher_works_from_an_installed_layout(tmp_path):
    shutil.copytree(harness.ROOT / "tfs_reference", tmp_path / "lib" / "tfs_reference")
    shutil.copy(harness.ROOT / "VERSION", tmp_path / "lib" / "VERSION")
    binary = shutil.copy(harness.LAUNCHER, tmp_path / "tensorflow_model_server")
    result = subprocess.run(
        [binary, "--version"], env=harness.environment(tmp_path / "lib"), capture_output=True, text=True, check=True
    )
    assert "TensorFlow ModelServer" in result.stdout
