# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Writes plain data as a text-format protocol buffer file of TensorFlow Serving, or says why it cannot be one.

The server refuses a bad file as a whole ("Invalid protobuf file"; the position goes to its log), and some good-looking
files only fail after five minutes of load retries; so names, types and the documented rules are checked here. The
fields come from ``tables/messages.yml``, the rules from ``server/textproto_rules.py``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import (
    WishError,
    described,
    key_path,
    kind,
    nearest,
)

from ..tables import surveyed
from ..tables.read import table
from .textproto_rules import CHECKS, NOT_FIELDS, REFUSED_FIELDS, REFUSED_MESSAGES, SECRET_MESSAGES

# The files that flags of the server name. tensorflow.ConfigProto goes by either name.
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

INTEGERS = {
    "int32": range(-(2**31), 2**31),
    "int64": range(-(2**63), 2**63),
    "uint32": range(2**32),
    "uint64": range(2**64),
}

# The largest number of each type; the server would read a larger one as infinity.
LARGEST = {"float": 3.4028234663852886e38, "double": 1.7976931348623157e308}

# Of an enum with more values an error lists the first ones.
MAX_SHOWN_NAMES = 12

# A longer number is not repeated in an error.
MAX_SHOWN_DIGITS = 40

# Messages within messages: attributes of graph optimisers may hold functions, whose attributes may hold functions.
MAX_DEPTH = 50

# The name of a field that is in no table.
_NAME = re.compile(r"[a-z][a-z0-9_]{0,99}")


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


@dataclass(frozen=True)
class Reader:
    """The server that is to read a file: of which release, and whether to hand it fields that nobody surveyed."""

    version: str = ""
    allow_unsurveyed: bool = False

    @property
    def may_know_more(self) -> bool:
        """Whether the release is newer than the surveyed ones."""
        return bool(self.version) and surveyed.is_newer(self.version)


def render(
    data: Mapping[str, Any], message: str, path: str = "", version: str = "", *, allow_unsurveyed: bool = False
) -> str:
    """Return ``data`` as the text format of ``message``.

    :param data: field names and plain values: a mapping for a message or a map, a list for a repeated field, the
        bare value for a wrapped scalar (``max_batch_size: 32``). ``None`` leaves a field unset.
    :param message: one of ``ROOTS``.
    :param path: what to call ``data`` in errors; fields are named below it.
    :param version: the release that will read the file; without it, a surveyed one.
    :param allow_unsurveyed: write fields that no surveyed release has, where the release is a newer one: a mapping as a
        message, a list as a repeated field, anything else by its type.
    :returns: the file: a comment first (the server refuses an empty file), fields in the order of the table,
        map keys sorted, a line break at the end. Fields that are in no table come last in their message.
    :raises WishError: a field is unknown or of the wrong type, or the server would refuse the content.
    """
    root = _root(message, path)
    header = f"# {message} of TensorFlow Serving, written by tfserving.fleet."
    reader = Reader(version, allow_unsurveyed)
    return "\n".join([header, *_message_lines(data, root, path, reader, MAX_DEPTH), ""])


def _root(message: object, path: str) -> str:
    name = str(message)
    if name in REFUSED_MESSAGES:
        raise WishError(path, *REFUSED_MESSAGES[name])
    if name not in ROOTS:
        remedy = nearest(name, ROOTS) or f"use one of {', '.join(ROOTS)}"
        raise WishError(path, f"{described(message)} is not a message that the server reads from a file", remedy)
    return ROOTS[name]


@cache
def _fields(message: str) -> dict[str, Field]:
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


def _message_lines(data: object, message: str, path: str, reader: Reader, room: int) -> list[str]:
    """Return the lines of a message; ``room`` is how many messages may still stand within each other."""
    if not room:
        raise WishError(path, f"stands in more than {MAX_DEPTH} messages", "nest it less deeply")
    if not isinstance(data, Mapping):
        remedy = f"write the fields of {message}: {', '.join(_fields(message))}" if _fields(message) else "write {}"
        raise WishError(path, f"needs a mapping, not {described(data)}", remedy)
    given = {name: value for name, value in data.items() if value is not None}
    more = _unsurveyed(given, message) if reader.allow_unsurveyed and reader.may_know_more else []
    for name in given:
        if name not in more:
            _check_name(name, message, path, reader)
    _check_oneofs(given, message, path)
    lines = []
    for name, field in _fields(message).items():
        if name in given:
            lines += _field_lines(field, given[name], _below(path, name), reader, room)
    for name in more:
        lines += _lines_by_type(name, given[name], _below(path, name), room)
    if message in CHECKS:
        CHECKS[message](given, path)
    return lines


def _unsurveyed(given: Mapping[Any, Any], message: str) -> list[str]:
    """Return the fields that are in no table, sorted."""
    return sorted(name for name in given if _is_name(name) and name not in _fields(message))


def _is_name(name: object) -> bool:
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def _lines_by_type(name: object, value: object, path: str, room: int) -> list[str]:
    """Return the lines of a field that is in no table, as the type of its value has it."""
    if not room:
        raise WishError(path, f"stands in more than {MAX_DEPTH} messages", "nest it less deep")
    if not _is_name(name):
        raise WishError(path, f"{described(name)} cannot name a field", "write names as in the .proto file")
    if isinstance(value, Mapping):
        items = [(key, item) for key, item in value.items() if item is not None]
        inner = [line for key, item in items for line in _lines_by_type(key, item, key_path(path, key), room - 1)]
        return [f"{name} {{", *_indented(inner), "}"]
    if isinstance(value, (list, tuple)):
        return [line for item in value for line in _lines_by_type(name, item, path, room - 1)]
    return [f"{name}: {_scalar_by_type(value, path)}"]


def _scalar_by_type(value: Any, path: str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _string(value, path)
    if _is_integer(value):
        return _integer("int64", int(value), path)
    if _is_number(value):
        return _decimal("double", value, path)
    raise WishError(path, f"is {described(value)}", "write a boolean, a number, a string, a list or a mapping")


def _check_name(name: Any, message: str, path: str, reader: Reader) -> None:
    refused = REFUSED_FIELDS.get((message, name)) or NOT_FIELDS.get((message, name))
    if refused:
        raise WishError(_below(path, name), *refused)
    if name not in _fields(message):
        guess = nearest(name, _fields(message))
        if reader.may_know_more:
            raise surveyed.unknown(_below(path, name), f"field in {message}", reader.version, guess)
        remedy = guess or f"its fields are {', '.join(_fields(message)) or 'none'}"
        raise WishError(_below(path, name), f"{message} has no such field", remedy)


def _check_oneofs(given: Mapping[str, Any], message: str, path: str) -> None:
    seen: dict[str, str] = {}
    for name, field in _fields(message).items():
        if not field.oneof or name not in given:
            continue
        if field.oneof in seen:
            raise WishError(path, f"'{seen[field.oneof]}' and '{name}' exclude each other", "keep one of them")
        seen[field.oneof] = name


def _field_lines(field: Field, value: object, path: str, reader: Reader, room: int) -> list[str]:
    if field.label == "repeated":
        if not isinstance(value, Sequence) or isinstance(value, (str, bytes)):
            raise WishError(path, f"needs a list, not {_shown(field, value)}", "write it as a list, even of one")
        each = enumerate(value)
        return [line for index, item in each for line in _value_lines(field, item, f"{path}[{index}]", reader, room)]
    if field.label == "map":
        if not isinstance(value, Mapping):
            raise WishError(path, f"needs a mapping, not {_shown(field, value)}", "write 'key: value' pairs")
        items = _sorted_items(field, value, path)
        return [line for key, item in items for line in _entry_lines(field, key, item, path, reader, room)]
    return _value_lines(field, value, path, reader, room)


def _sorted_items(field: Field, value: Mapping[Any, Any], path: str) -> list[tuple[Any, Any]]:
    for key in value:
        if field.key == "string" and not isinstance(key, str):
            raise WishError(f"{path}.{key}", f"the key is {described(key)}, not a string", f"write '{key}' in quotes")
        if field.key != "string" and not _is_integer(key):
            problem = f"the key is {described(key)}, not a whole number"
            raise WishError(f"{path}.{key}", problem, "write the number without quotes")
    return sorted(value.items())


def _entry_lines(field: Field, key: str | int, value: object, path: str, reader: Reader, room: int) -> list[str]:
    where = f"{path}.{key}"
    written = _string(key, where) if isinstance(key, str) else _integer(field.key, key, where)
    entry = [f"key: {written}", *_value_lines(replace(field, name="value"), value, where, reader, room)]
    return [f"{field.name} {{", *_indented(entry), "}"]


def _value_lines(field: Field, value: object, path: str, reader: Reader, room: int) -> list[str]:
    if field.type in WRAPPERS:
        return [f"{field.name} {{ value: {_scalar(field, value, path)} }}"]
    if field.type in table("messages")["messages"]:
        inner = _message_lines(value, field.type, path, reader, room - 1)
        return [f"{field.name} {{", *_indented(inner), "}"] if inner else [f"{field.name} {{ }}"]
    return [f"{field.name}: {_scalar(field, value, path)}"]


def _indented(lines: list[str]) -> list[str]:
    return [f"  {line}" for line in lines]


def _below(path: str, name: object) -> str:
    return f"{path}.{name}" if path else str(name)


def _shown(field: Field, value: object) -> str:
    return kind(value) if field.message in SECRET_MESSAGES else described(value)


def _scalar(field: Field, value: Any, path: str) -> str:
    type_ = WRAPPERS.get(field.type, field.type)
    if type_ in table("messages")["enums"]:
        return _enum(type_, value, path)
    fits, wanted = SCALARS[type_]
    if not fits(value):
        remedy = "write the plain value, it is wrapped here" if isinstance(value, Mapping) else f"write {wanted}"
        raise WishError(path, f"needs {wanted}, not {_shown(field, value)}", remedy)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _string(value, path)
    if type_ in INTEGERS:
        return _integer(type_, int(value), path)
    return _decimal(type_, value, path)


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return _is_integer(value) or (isinstance(value, float) and math.isfinite(value))


# Type -> what fits it, and how to say so. A boolean is no number here, although Python thinks it is.
SCALARS: dict[str, tuple[Callable[[object], bool], str]] = {
    "bool": (lambda value: isinstance(value, bool), "true or false without quotes"),
    "string": (lambda value: isinstance(value, str), "a string in quotes"),
    "bytes": (lambda value: isinstance(value, str), "a string in quotes"),
    "float": (_is_number, "a number without quotes"),
    "double": (_is_number, "a number without quotes"),
    **{name: (_is_integer, "a whole number without quotes") for name in INTEGERS},
}


def _integer(type_: str, value: int, path: str) -> str:
    allowed = INTEGERS[type_]
    if value not in allowed:
        remedy = f"stay within {allowed.start} and {allowed.stop - 1}"
        shown = str(value) if abs(value) < 10**MAX_SHOWN_DIGITS else "the number"
        raise WishError(path, f"{shown} does not fit into {type_}", remedy)
    return str(value)


def _decimal(type_: str, value: int | float, path: str) -> str:
    if abs(value) > LARGEST[type_]:
        raise WishError(path, f"the number does not fit into {type_}", f"stay within {LARGEST[type_]:g}")
    return repr(float(value))


def _enum(type_: str, value: object, path: str) -> str:
    names = table("messages")["enums"][type_]
    if isinstance(value, str) and value in names:
        return str(value)
    if isinstance(value, bool) and {"ON", "OFF"} & set(names):
        word = "ON" if value else "OFF"
        raise WishError(path, f"YAML reads a bare {word} as {described(value)}", f"write '{word}' in quotes")
    short = type_.split(".")[-1]
    some = ", ".join(names[:MAX_SHOWN_NAMES]) + (", ..." if len(names) > MAX_SHOWN_NAMES else "")
    raise WishError(path, f"{described(value)} is no {short}", nearest(value, names) or f"write one of {some}")


def _string(value: str, path: str) -> str:
    """Quote a string: what would end the quotes, the line or the file's readability is escaped, the rest is UTF-8."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise WishError(path, "holds bytes that are not UTF-8", "save the text as UTF-8") from None
    return '"' + re.sub(r'[\x00-\x1f\x7f"\\]', _escape, value) + '"'


NAMED_ESCAPES = {"\n": r"\n", "\r": r"\r", "\t": r"\t", '"': r"\"", "\\": r"\\"}


def _escape(found: re.Match[str]) -> str:
    # Three octal digits always: a shorter escape would swallow a digit that follows it.
    return NAMED_ESCAPES.get(found[0]) or f"\\{ord(found[0]):03o}"
