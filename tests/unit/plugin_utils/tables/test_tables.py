# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The tables agree with the real messages, with the published counts and with each other."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest
import yaml
from ansible_collections.tfserving.fleet.plugins.plugin_utils.server.flag_rules import CONFLICTS, FORMS
from ansible_collections.tfserving.fleet.plugins.plugin_utils.server.flags import known_flags
from ansible_collections.tfserving.fleet.plugins.plugin_utils.server.textproto import ROOTS, SCALARS, WRAPPERS
from ansible_collections.tfserving.fleet.plugins.plugin_utils.server.textproto_rules import (
    CHECKS,
    NOT_FIELDS,
    REFUSED_FIELDS,
)
from ansible_collections.tfserving.fleet.plugins.plugin_utils.tables.read import TABLES, table
from repository import REPOSITORY

# Counted in main.cc of each tag.
PUBLISHED_COUNTS = {
    "2.8.0": 42,
    "2.9.0": 42,
    "2.10.0": 42,
    "2.11.0": 43,
    "2.12.1": 43,
    "2.13.0": 43,
    "2.14.1": 43,
    "2.15.1": 46,
    "2.16.1": 46,
    "2.17.0": 46,
    "2.18.0": 47,
    "2.19.0": 48,
    "2.19.1": 48,
    "2.20.0": 48,
}
GENERATOR = REPOSITORY / "tools" / "generate_tables.py"


@pytest.mark.parametrize(("version", "count"), PUBLISHED_COUNTS.items())
def test_each_release_has_as_many_flags_as_its_source(version, count):
    assert len(known_flags(version)) == count


def test_every_flag_has_a_default_of_its_own_type_or_one_that_depends_on_the_host():
    types = {"bool": bool, "int32": int, "int64": int, "float": float, "string": str}
    for name, row in known_flags("2.20.0").items():
        assert "computed" in row or type(row["default"]) is types[row["type"]], name


def test_limits_and_conflicts_name_real_flags_and_forms():
    flags, rules = known_flags("2.20.0"), table("flag_rules")
    assert set(rules["limits"]) <= set(flags)
    assert {limit["form"] for limit in rules["limits"].values() if "form" in limit} == set(FORMS)
    assert all("why" in limit for limit in rules["limits"].values() if "form" not in limit)
    assert {conflict.flag for conflict in CONFLICTS} <= set(flags)


def test_the_servers_own_defaults_are_within_the_limits():
    for name, limit in table("flag_rules")["limits"].items():
        default = known_flags("2.20.0")[name]["default"]
        if default is not None and "form" not in limit:
            assert limit.get("min", default) <= default <= limit.get("max", default)
            assert default in limit.get("choices", [default])


def test_names_listed_as_wrong_are_no_flags():
    assert not set(table("flag_rules")["not_flags"]) & set(known_flags("2.20.0"))


MESSAGES = table("messages")["messages"]
PACKAGES = (
    "tensorflow.serving.FileSystemStoragePathSourceConfig.",
    "tensorflow.serving.",
    "tensorflow.",
    "google.protobuf.",
)


def real_name(descriptor) -> str:
    """Return the name of a real message or enum in the words of the table."""
    name = descriptor.full_name
    if name == "google.protobuf.Any":
        return name
    return name.removeprefix(next(package for package in PACKAGES if name.startswith(package)))


def real_type(field) -> str:
    """Return the type of a real field in the words of the table."""
    from google.protobuf.descriptor import FieldDescriptor

    names = {
        FieldDescriptor.TYPE_BOOL: "bool",
        FieldDescriptor.TYPE_STRING: "string",
        FieldDescriptor.TYPE_BYTES: "bytes",
        FieldDescriptor.TYPE_FLOAT: "float",
        FieldDescriptor.TYPE_DOUBLE: "double",
        FieldDescriptor.TYPE_INT32: "int32",
        FieldDescriptor.TYPE_INT64: "int64",
        FieldDescriptor.TYPE_UINT32: "uint32",
        FieldDescriptor.TYPE_UINT64: "uint64",
    }
    if field.enum_type or (field.message_type and not field.message_type.GetOptions().map_entry):
        return real_name(field.enum_type or field.message_type)
    if not field.message_type:
        return names[field.type]
    inner = field.message_type
    return f"map<{real_type(inner.fields_by_name['key'])}, {real_type(inner.fields_by_name['value'])}>"


def real_row(field) -> dict:
    """Return a real field as a row of the table."""
    prefix = "repeated " if field.is_repeated and not real_type(field).startswith("map<") else ""
    row = {"name": field.name, "type": prefix + real_type(field)}
    return {**row, "oneof": field.containing_oneof.name} if field.containing_oneof else row


@pytest.mark.parametrize("message", MESSAGES)
def test_fields_types_labels_and_oneofs_are_those_of_the_real_message(message):
    real_protos = pytest.importorskip("real_protos")
    rows = {row["name"]: row for row in MESSAGES[message]}
    real = {field.name: real_row(field) for field in real_protos.descriptor(message).fields}
    assert rows == real


def test_enum_values_are_those_of_the_real_enums():
    real_protos = pytest.importorskip("real_protos")
    for message, rows in MESSAGES.items():
        for row in rows:
            if row["type"] in table("messages")["enums"]:
                real = real_protos.descriptor(message).fields_by_name[row["name"]].enum_type
                assert table("messages")["enums"][row["type"]] == [value.name for value in real.values], row


def test_the_session_options_are_the_whole_of_the_real_message_and_all_below_it():
    real_protos = pytest.importorskip("real_protos")
    session = generator().session_table(real_protos.descriptor("ConfigProto"))
    assert len(session["messages"]) > 20
    for part in ("messages", "enums"):
        assert {name: table("messages")[part][name] for name in session[part]} == session[part]


def test_every_type_can_be_written_or_its_field_is_refused():
    writable = {
        *SCALARS,
        *WRAPPERS,
        *MESSAGES,
        *table("messages")["enums"],
    }
    for message, rows in MESSAGES.items():
        for row in rows:
            inner = row["type"].split(" ")[-1].rstrip(">")
            assert inner in writable or (message, row["name"]) in REFUSED_FIELDS, row


def test_rules_for_messages_name_what_the_table_holds():
    fields = {(message, row["name"]) for message, rows in MESSAGES.items() for row in rows}
    assert set(REFUSED_FIELDS) <= fields
    assert not set(NOT_FIELDS) & fields
    assert set(CHECKS) <= set(MESSAGES)
    assert set(ROOTS.values()) <= set(MESSAGES)


def generator():
    """Load tools/generate_tables.py, which is no part of a package."""
    spec = importlib.util.spec_from_file_location("generate_tables", GENERATOR)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_committed_tables_are_exactly_what_the_generator_writes():
    tool = generator()
    assert (TABLES / "server_flags.yml").read_text() == tool.flags_text(table("server_flags"))
    assert (TABLES / "messages.yml").read_text() == tool.messages_text(table("messages"))


SURVEY_FLAGS = {
    "meta": {"flag_count": {"2.8.0": 1, "2.9.0": 3, "HEAD": 3}},
    "flags": [
        {"name": "a", "type": "int32", "default": 4, "since": "<=2.8", "ignored_with_platform_config_file": True},
        {
            "name": "b",
            "type": "int32",
            "default": "2 x CPUs (computed)",
            "unit": "threads",
            "since": "2.9.0",
            "ignored_with_platform_config_file": False,
        },
        {
            "name": "c",
            "type": "float",
            "default": 0.5,
            "unit": "fraction 0.0-1.0",
            "since": "2.9.0",
            "ignored_with_platform_config_file": False,
        },
    ],
}
SURVEY_MESSAGES = {
    "messages": {
        "ModelServerConfig": {"fields": [{"name": "list", "type": "repeated Item", "oneof": "config"}]},
        "Item": {
            "oneof": "choice",
            "fields": [
                {"name": "none", "type": "empty message"},
                {"name": "some", "type": "message { numbers: repeated int64 }"},
                {"name": "kind", "type": "enum Kind", "values": ["A", "B"]},
            ],
        },
        "BatchingParameters": {
            "fields": [{"name": "x", "type": "Int64Value (wrapped)"}, {"name": "y", "type": "bool (plain)"}]
        },
        "MonitoringConfig": {"fields": []},
        "SSLConfig": {"fields": []},
    }
}


def test_the_generator_turns_a_survey_into_rows():
    tool = generator()
    flags = tool.flags_table(SURVEY_FLAGS)
    assert flags["surveyed"] == {"2.8.0": 1, "2.9.0": 3}
    assert flags["flags"] == [
        {"name": "a", "type": "int32", "since": "2.8.0", "default": 4, "unless": "platform_config_file"},
        {"name": "b", "type": "int32", "since": "2.9.0", "default": None, "computed": "2 x CPUs", "unit": "threads"},
        {"name": "c", "type": "float", "since": "2.9.0", "default": 0.5, "unit": "fraction"},
    ]
    messages = tool.messages_table(SURVEY_MESSAGES, {"messages": {"Session": []}, "enums": {}})
    assert messages["messages"]["Session"] == []
    assert messages["enums"]["Kind"] == ["A", "B"]
    assert messages["messages"]["ModelServerConfig"] == [{"name": "list", "type": "repeated Item", "oneof": "config"}]
    assert messages["messages"]["Item"] == [
        {"name": "none", "type": "Item.None", "oneof": "choice"},
        {"name": "some", "type": "Item.Some", "oneof": "choice"},
        {"name": "kind", "type": "Kind", "oneof": "choice"},
    ]
    assert messages["messages"]["Item.None"] == []
    assert messages["messages"]["Item.Some"] == [{"name": "numbers", "type": "repeated int64"}]
    assert messages["messages"]["BatchingParameters"] == [
        {"name": "x", "type": "Int64Value"},
        {"name": "y", "type": "bool"},
    ]


def test_the_generator_writes_tables_and_can_check_them(tmp_path):
    real_protos = pytest.importorskip("real_protos")
    (tmp_path / "tfs_flags.yml").write_text(yaml.safe_dump(SURVEY_FLAGS, sort_keys=False))
    (tmp_path / "tfs_textproto.yml").write_text(yaml.safe_dump(SURVEY_MESSAGES, sort_keys=False))

    def run(*options):
        places = [str(tmp_path), str(real_protos.RUNTIME), "--output", str(tmp_path)]
        command = [sys.executable, str(GENERATOR), *places, *options]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    missing = run("--check")
    assert (missing.returncode, missing.stdout) == (1, "server_flags.yml: out of date\nmessages.yml: out of date\n")
    assert run().stdout == "server_flags.yml: written\nmessages.yml: written\n"
    assert run("--check").returncode == 0
    assert yaml.safe_load((tmp_path / "server_flags.yml").read_text())["flags"][0]["default"] == 4
