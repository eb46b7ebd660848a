# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The messages in clients/protos mean the same on the wire as upstream's."""

from __future__ import annotations

import re

import pytest
from real_protos import descriptor
from repository import REPOSITORY

FIELD = re.compile(r"^\s*(repeated )?(map<string, )?([\w.]+)>? (\w+) = (\d+)", re.MULTILINE)
MESSAGE = re.compile(r"^message (\w+) \{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
ENUM_VALUE = re.compile(r"^  (DT_\w+) = (\d+);", re.MULTILINE)
SCALARS = {"int32": 5, "int64": 3, "uint32": 13, "uint64": 4, "float": 2, "double": 1, "bool": 8, "string": 9}
SCALARS["bytes"] = 12
TEXTS = {path.name: path.read_text(encoding="utf-8") for path in (REPOSITORY / "clients" / "protos").glob("*.proto")}
MESSAGES = {name: body for text in TEXTS.values() for name, body in MESSAGE.findall(text)}


def fields(name):
    """Return the fields that we declare of a message: number, whether repeated, whether a map, and type by name."""
    # The one inner message has fields of its own.
    body = re.sub(r"  message Dim \{.*?\}\n", "", MESSAGES[name], flags=re.DOTALL)
    return {
        field: (int(number), bool(many), bool(map_), type_) for many, map_, type_, field, number in FIELD.findall(body)
    }


def upstream(name, field):
    """Return the same of upstream's message."""
    found = descriptor(name).fields_by_name[field]
    entry = found.message_type
    is_map = entry is not None and entry.GetOptions().map_entry
    value = entry.fields_by_name["value"] if is_map else found
    kind = value.message_type or value.enum_type
    named = kind.name if kind is not None else next((each for each, code in SCALARS.items() if code == value.type), "?")
    return found.number, found.is_repeated and not is_map, is_map, named


@pytest.mark.parametrize("name", MESSAGES)
def test_fields_have_upstreams_numbers_and_types(name):
    ours = fields(name)
    assert ours
    for field, (number, many, is_map, type_) in ours.items():
        assert upstream(name, field) == (number, many, is_map, type_.rpartition(".")[2]), field


def test_types_of_tensors_have_upstreams_numbers():
    values = descriptor("TensorProto").fields_by_name["dtype"].enum_type.values_by_name
    ours = {name: int(number) for name, number in ENUM_VALUE.findall(TEXTS["tensorflow.proto"])}
    assert ours == {name: values[name].number for name in ours}
    assert len(ours) == 17
