# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The tables agree with the real messages, with the published counts and with each other."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.plugin_utils.server.flag_rules import CONFLICTS, FORMS
from ansible_collections.tfserving.fleet.plugins.plugin_utils.server.flags import known_flags
from ansible_collections.tfserving.fleet.plugins.plugin_utils.server.textproto_check import SCALARS
from ansible_collections.tfserving.fleet.plugins.plugin_utils.server.textproto_fields import ROOTS, WRAPPERS
from ansible_collections.tfserving.fleet.plugins.plugin_utils.server.textproto_rules import (
    CHECKS,
    NOT_FIELDS,
    REFUSED_FIELDS,
)
from ansible_collections.tfserving.fleet.plugins.plugin_utils.tables import surveyed
from ansible_collections.tfserving.fleet.plugins.plugin_utils.tables.read import table

NEWEST = surveyed.newest()


@pytest.mark.parametrize(("version", "count"), table("server_flags")["surveyed"].items())
def test_each_release_has_as_many_flags_as_its_source(version, count):
    assert len(known_flags(version)) == count


def test_every_flag_has_a_default_of_its_own_type_or_one_that_depends_on_the_host():
    types = {"bool": bool, "int32": int, "int64": int, "float": float, "string": str}
    for name, row in known_flags(NEWEST).items():
        assert "computed" in row or type(row["default"]) is types[row["type"]], name


def test_limits_and_conflicts_name_real_flags_and_forms():
    flags, rules = known_flags(NEWEST), table("flag_rules")
    assert set(rules["limits"]) <= set(flags)
    assert {limit["form"] for limit in rules["limits"].values() if "form" in limit} == set(FORMS)
    assert all("why" in limit for limit in rules["limits"].values() if "form" not in limit)
    assert {conflict.flag for conflict in CONFLICTS} <= set(flags)


def test_the_servers_own_defaults_are_within_the_limits():
    for name, limit in table("flag_rules")["limits"].items():
        default = known_flags(NEWEST)[name]["default"]
        if default is not None and "form" not in limit:
            assert limit.get("min", default) <= default <= limit.get("max", default)
            assert default in limit.get("choices", [default])


def test_names_listed_as_wrong_are_no_flags():
    assert not set(table("flag_rules")["not_flags"]) & set(known_flags(NEWEST))


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
