# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A command line is read as the server reads it: one form counts, the last word wins, the rest is forgotten."""

from __future__ import annotations

import importlib
import sys

import pytest
from ansible_collections.tfserving.fleet.plugins.plugin_utils.adoption import command_line, launch
from ansible_collections.tfserving.fleet.plugins.plugin_utils.server import flags
from hypothesis import given
from hypothesis import strategies as st
from repository import REPOSITORY


def reference_flags():
    """Return the reference server's own reader of a command line."""
    folder = str(REPOSITORY / "lab" / "reference_server")
    if folder not in sys.path:
        sys.path.append(folder)
    return importlib.import_module("tfs_reference.flags")


def fates(*words, version="2.19.1", entrypoint=0):
    return [word.fate for word in command_line.read(words, version, entrypoint).words]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--port=9000"], ["counts"]),
        (["--port", "9000"], ["separate", "separate"]),
        (["--model_name", "--port=1"], ["separate", "counts"]),
        (["--enable_batching"], ["counts"]),
        (["--enable_batching", "false"], ["counts", "separate"]),
        (["--enable_batching", "ranker"], ["counts", "stray"]),
        (["--enable_batching=False"], ["counts"]),
        (["--enable_batching=yes"], ["bad"]),
        (["--enable_batching="], ["bad"]),
        (["--port=80a"], ["bad"]),
        (["--port="], ["bad"]),
        (["--port= 010"], ["counts"]),
        (["--port=3000000000"], ["bad"]),
        (["--load_retry_interval_micros=3000000000"], ["counts"]),
        (["--per_process_gpu_memory_fraction=.5"], ["counts"]),
        (["--per_process_gpu_memory_fraction=half"], ["bad"]),
        (["--port=1", "--port=2"], ["overridden", "counts"]),
        (["--model_config_file=a", "--model_config_file="], ["overridden", "counts"]),
        (["-port=1"], ["dash"]),
        (["-port", "1"], ["dash", "separate"]),
        (["port=1"], ["dash"]),
        (["\u2013port=1"], ["dash"]),
        (["\u2014port", "1"], ["dash", "stray"]),
        (["--port", "=", "9000"], ["separate", "separate", "separate"]),
        (["port"], ["stray"]),
        (["--rest-api-port=1"], ["unknown"]),
        (["--rest_api_prot=1"], ["unknown"]),
        (["--rest_api_prot", "1"], ["unknown", "separate"]),
        ([" "], ["stray"]),
        ([""], ["stray"]),
        (["\\"], ["stray"]),
        (["--", "--port=1"], ["stray", "stray"]),
        (["--help"], ["help"]),
        (["--version"], ["help"]),
        (["--version=false"], ["counts"]),
        (["--platform_config_file=/p", "--enable_batching", "--port=1"], ["counts", "swallowed", "counts"]),
        (
            ["--platform_config_file=/p", "--platform_config_file=", "--enable_batching"],
            ["overridden", "counts", "counts"],
        ),
    ],
)
def test_each_form_has_its_fate(words, expected):
    assert fates(*words) == expected


def test_a_flag_of_a_later_release_has_no_effect_in_an_older_one():
    assert fates("--xla_gpu_compilation_enabled=true", version="2.17.0") == ["newer"]
    assert fates("--xla_gpu_compilation_enabled=true", version="2.18.1") == ["counts"]


@pytest.mark.parametrize(
    ("version", "judged"),
    [("2.4.0", "2.8.0"), ("2.12.0", "2.12.0"), ("3.1.0", "2.20.0"), (None, "2.20.0"), ("latest", "2.20.0")],
)
def test_a_release_that_was_not_surveyed_is_judged_by_the_nearest(version, judged):
    assert command_line.judged_as(version) == judged


def test_what_nobody_wrote_has_the_default_of_the_table():
    line = command_line.read(["--port=9000", "--port=9001"])
    assert (line["port"], line["rest_api_port"], line["rest_api_num_threads"]) == (9001, 0, None)
    assert line.chosen("port")
    assert not line.chosen("rest_api_port")


def test_an_unknown_flag_is_told_with_the_name_that_was_meant():
    (word,) = command_line.read(["--rest_api_prot=1"]).words
    assert word.guess == "did you mean 'rest_api_port'?"
    (known,) = command_line.read(["--rest_api_timeout_ms=1"]).words
    assert known.guess == "the flag is 'rest_api_timeout_in_ms'"


def test_words_of_the_entrypoint_are_nobodys_choice():
    started = launch.of_process(
        [
            "x",
            "--port=8500",
            "--rest_api_port=8501",
            "--model_name=model",
            "--model_base_path=/models/model",
            "--port=9",
        ],
        in_container=True,
    )
    line = command_line.read(started.arguments, None, started.entrypoint)
    assert not line.chosen("model_name")
    assert line["port"] == 9
    assert line.chosen("port")


@pytest.mark.parametrize(
    ("words", "environment", "arguments"),
    [
        (["/usr/bin/tensorflow_model_server", "--port=1"], {}, ["--port=1"]),
        (["nohup", "tensorflow_model_server-universal", "--port=1"], {}, ["--port=1"]),
        (["sh", "-c", "exec tensorflow_model_server --port=$PORT  # why"], {"PORT": "7"}, ["--port=7"]),
        (
            ["/bin/bash", "-c", "tensorflow_model_server --port=${PORT:-5} --model_name=$X"],
            {},
            ["--port=5", "--model_name=$X"],
        ),
        (
            ["/usr/bin/tf_serving_entrypoint.sh", "--port=2"],
            {"MODEL_NAME": "ranker"},
            [
                "--port=8500",
                "--rest_api_port=8501",
                "--model_name=ranker",
                "--model_base_path=/models/ranker",
                "--port=2",
            ],
        ),
    ],
)
def test_a_launcher_gives_the_server_these_words(words, environment, arguments):
    assert list(launch.of_launcher(words, environment).arguments) == arguments


@pytest.mark.parametrize("words", [[], ["/app/start"], ["sh", "-c", "exec 'x"], ["sh", "-c", "sh -c"]])
def test_what_a_launcher_hides_is_not_guessed(words):
    assert launch.of_launcher(words, {}) is None


VALUES = {
    "bool": st.sampled_from(["true", "false", "1", "0", "TRUE", "False"]),
    "int32": st.integers(-5, 2**31 - 1).map(str),
    "int64": st.integers(-5, 2**40).map(str),
    "float": st.floats(0, 1).map(lambda value: f"{value:.3f}"),
    "string": st.text("ab=/,. ", max_size=5),
}


@st.composite
def words(draw):
    """Draw a word of a command line, as often in a form that counts as in one that does not."""
    name, row = draw(st.sampled_from(sorted(flags.known_flags("2.19.1").items())))
    forms = [f"--{name}={draw(VALUES[row['type']])}", f"--{name}", f"-{name}=1", f"--{name}x=1", "8501", "stray"]
    return draw(st.sampled_from(forms[:1] * 5 + forms))


@given(st.lists(words().filter(lambda word: not word.startswith("--version")), max_size=8))
def test_the_reference_server_reads_the_same(drawn):
    line = command_line.read(drawn, "2.19.1")
    theirs = reference_flags().parse(drawn, "2.19.1")
    assert theirs.unknown == [word.text for word in line.words if word.fate not in command_line.READ]
    for word in line.of(*command_line.READ):
        if word.fate != "overridden":
            assert theirs.values[word.flag] == word.value
