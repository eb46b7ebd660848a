# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The tables of flags and messages are exactly what the survey of the server's source gives."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys

import pytest
import yaml
from ansible_collections.tfserving.fleet.plugins.plugin_utils.tables import surveyed
from repository import REPOSITORY

GENERATOR = REPOSITORY / "tools" / "generate_tables.py"
SURVEY = REPOSITORY / "tools" / "survey"


def tool(path):
    """Load a program of tools/, which is no part of a package."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GENERATE = tool(GENERATOR)

FLAGS = {
    "releases": {"2.8.0": {"flags": 1}, "2.9.0": {"flags": 3, "new": ["b", "c"]}, "2.10.0": {"flags": 3}},
    "flags": [
        {"name": "a", "type": "int32", "default": 4, "unless": "platform_config_file"},
        {"name": "b", "type": "int32", "computed": "2 x CPUs", "unit": "threads"},
        {"name": "c", "type": "float", "default": 0.5, "unit": "fraction"},
    ],
}


def test_flags_get_the_release_they_came_with():
    assert GENERATE.flags_table(FLAGS) == {
        "surveyed": {"2.8.0": 1, "2.9.0": 3, "2.10.0": 3},
        "flags": [
            {"name": "a", "type": "int32", "since": "2.8.0", "default": 4, "unless": "platform_config_file"},
            {
                "name": "b",
                "type": "int32",
                "since": "2.9.0",
                "default": None,
                "computed": "2 x CPUs",
                "unit": "threads",
            },
            {"name": "c", "type": "float", "since": "2.9.0", "default": 0.5, "unit": "fraction"},
        ],
    }


@pytest.mark.parametrize(
    ("releases", "sentence"),
    [
        ({"2.8.0": {"flags": 2}, "2.9.0": {"flags": 3, "new": ["b"]}, "2.10.0": {"flags": 4}},
         "flags.yml: 2.10.0 has 4 flags, and 3 are described"),
        ({"2.8.0": {"flags": 2}, "2.9.0": {"flags": 3, "new": ["d"]}},
         "flags.yml: d is new in a release, and not in flags"),
    ],
)  # fmt: skip
def test_a_survey_that_contradicts_itself_is_refused(releases, sentence):
    with pytest.raises(GENERATE.SurveyError) as caught:
        GENERATE.flags_table({**FLAGS, "releases": releases})
    assert str(caught.value) == sentence


def test_messages_of_the_server_come_before_those_of_a_session():
    serving = {"messages": {"Root": [{"name": "kind", "type": "Kind"}]}, "enums": {"Kind": ["A", "B"]}}
    session = {"source": "TensorFlow 9", "messages": {"ConfigProto": []}, "enums": {"Toggle": ["ON", "OFF"]}}
    text = GENERATE.messages_body(GENERATE.messages_table(serving, session))
    assert text == (
        "messages:\n  Root:\n    - {name: kind, type: Kind}\n  ConfigProto: []\n"
        "enums:\n  Kind: [A, B]\n  Toggle: ['ON', 'OFF']\n"
    )


def run(*options):
    command = [sys.executable, str(GENERATOR), *map(str, options)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_the_committed_tables_are_those_of_the_committed_survey():
    done = run("--check")
    assert (done.returncode, done.stdout) == (0, "")


def test_a_table_out_of_date_is_named_and_written(tmp_path):
    missing = run("--check", "--output", tmp_path)
    stale = "server_flags.yml: out of date, run make tables\nmessages.yml: out of date, run make tables\n"
    assert (missing.returncode, missing.stdout) == (1, stale)
    assert run("--output", tmp_path).stdout == "server_flags.yml: written\nmessages.yml: written\n"
    assert run("--check", "--output", tmp_path).returncode == 0
    assert yaml.safe_load((tmp_path / "server_flags.yml").read_text())["flags"][0]["name"] == "port"


def test_a_change_of_the_survey_changes_the_table(tmp_path):
    shutil.copytree(SURVEY, tmp_path / "survey")
    flags = tmp_path / "survey" / "flags.yml"
    flags.write_text(
        flags.read_text().replace("{name: port, type: int32, default: 8500", "{name: port, type: int32, default: 1")
    )
    before, after = GENERATE.texts(SURVEY), GENERATE.texts(tmp_path / "survey")
    assert "- {name: port, type: int32, since: 2.8.0, default: 1, unit: port}\n" in after["server_flags.yml"]
    assert before["messages.yml"] == after["messages.yml"]


def test_the_session_options_are_the_whole_of_the_real_message_and_all_below_it():
    real_protos = pytest.importorskip("real_protos")
    reader = tool(SURVEY / "read_session_options.py")
    session = yaml.safe_load((SURVEY / "session_options.yml").read_text())
    assert len(session["messages"]) > 20
    assert reader.session_table(real_protos.descriptor("ConfigProto")) == {
        part: session[part] for part in ("messages", "enums")
    }
    assert session["source"] == reader.source(real_protos.RUNTIME)


def test_the_range_of_surveyed_releases_is_written_in_no_other_place():
    both = f"{surveyed.oldest()} to {surveyed.newest()}"
    folders = ("plugins", "roles", "docs", "tools", "tests", "lab")
    texts = [path for folder in folders for path in (REPOSITORY / folder).rglob("*") if path.suffix in SUFFIXES]
    assert texts
    assert [path for path in texts if both in " ".join(path.read_text().replace("#", " ").split())] == []


SUFFIXES = (".py", ".yml", ".md", ".j2")
