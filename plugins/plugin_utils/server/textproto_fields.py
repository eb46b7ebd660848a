# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Fields of the messages that the server reads from files, from ``tables/messages.yml``."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from ..tables.read import table

# The messages of the files that the server's flags name. tensorflow.ConfigProto may be given by either name.
ROOTS = {
    "ModelServerConfig": "ModelServerConfig",
    "BatchingParameters": "BatchingParameters",
    "MonitoringConfig": "MonitoringConfig",
    "SSLConfig": "SSLConfig",
    "SessionConfigProto": "ConfigProto",
    "ConfigProto": "ConfigProto",
}

# google.protobuf wrappers: a message around one scalar, so that "unset" differs from zero.
WRAPPERS = {"Int64Value": "int64", "StringValue": "string", "BoolValue": "bool"}


@dataclass(frozen=True)
class Field:
    """A field of a message: ``type`` is a scalar, an enum or a message; ``label`` is '', 'repeated' or 'map'.

    ``key`` is the type of a map's keys.
    """

    message: str
    name: str
    type: str
    label: str
    oneof: str
    key: str


@cache
def fields(message: str) -> dict[str, Field]:
    """Return the fields of a message by name, in the order of the table."""
    fields = {}
    for row in table("messages")["messages"][message]:
        label, key, type_ = "", "", row["type"]
        if type_.startswith("repeated "):
            label, type_ = "repeated", type_.removeprefix("repeated ")
        elif type_.startswith("map<"):
            label, (key, type_) = "map", type_.removeprefix("map<")[:-1].split(", ")
        fields[row["name"]] = Field(message, row["name"], type_, label, row.get("oneof", ""), key)
    return fields
