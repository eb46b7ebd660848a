# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Checks of data for text-format protocol buffer files of TensorFlow Serving.

The server refuses a bad file as a whole ("Invalid protobuf file"; the position goes to its log), and some plausible
files only fail after five minutes of load retries, so names, types and the documented rules are checked here. The
fields come from ``tables/messages.yml``, the rules from ``server/textproto_rules.py``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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
from .textproto_fields import ROOTS, WRAPPERS, Field, fields
from .textproto_rules import CHECKS, NOT_FIELDS, REFUSED_FIELDS, REFUSED_MESSAGES, SECRET_MESSAGES

INTEGERS = {
    "int32": range(-(2**31), 2**31),
    "int64": range(-(2**63), 2**63),
    "uint32": range(2**32),
    "uint64": range(2**64),
}

# The largest number of each type; the server would read larger ones as infinity.
LARGEST = {"float": 3.4028234663852886e38, "double": 1.7976931348623157e308}

# An error lists only this many values of an enum.
MAX_SHOWN_NAMES = 12

# Longer numbers are not repeated in an error.
MAX_SHOWN_DIGITS = 40

# Messages may nest: attributes of graph optimisers may contain functions, whose attributes may contain functions.
MAX_DEPTH = 50

# The name of a field that is in no table.
_NAME = re.compile(r"[a-z][a-z0-9_]{0,99}")


@dataclass(frozen=True)
class Reader:
    """The server that will read a file: its release, and whether it may be given fields that were not surveyed."""

    version: str = ""
    allow_unsurveyed: bool = False

    @property
    def may_know_more(self) -> bool:
        """Whether the release is newer than the surveyed ones."""
        return bool(self.version) and surveyed.is_newer(self.version)


def check(
    data: Mapping[str, Any], message: str, path: str = "", version: str = "", *, allow_unsurveyed: bool = False
) -> None:
    """Refuse ``data`` that the server would not read as ``message``, or not as intended.

    :param data: field names and plain values: a mapping for a message or a map, a list for a repeated field, the
        bare value for a wrapped scalar (``max_batch_size: 32``). ``None`` leaves a field unset.
    :param message: one of ``ROOTS``.
    :param path: the name for ``data`` in errors; fields are named below it.
    :param version: the release that will read the file; if empty, a surveyed one.
    :param allow_unsurveyed: permit fields that no surveyed release has, if the release is newer: a mapping as a
        message, a list as a repeated field, anything else by its type.
    :raises WishError: a field is unknown or of the wrong type, or the server would refuse the content.
    """
    _check_message(data, _root(message, path), path, Reader(version, allow_unsurveyed), MAX_DEPTH)


def _root(message: object, path: str) -> str:
    name = str(message)
    if name in REFUSED_MESSAGES:
        raise WishError(path, *REFUSED_MESSAGES[name])
    if name not in ROOTS:
        remedy = nearest(name, ROOTS) or f"use one of {', '.join(ROOTS)}"
        raise WishError(path, f"{described(message)} is not a message that the server reads from a file", remedy)
    return ROOTS[name]


def _check_message(data: object, message: str, path: str, reader: Reader, room: int) -> None:
    """Refuse data that is not this message; ``room`` is how many more levels of messages may be nested."""
    if not room:
        raise WishError(path, f"stands in more than {MAX_DEPTH} messages", "nest it less deeply")
    if not isinstance(data, Mapping):
        remedy = f"write the fields of {message}: {', '.join(fields(message))}" if fields(message) else "write {}"
        raise WishError(path, f"needs a mapping, not {described(data)}", remedy)
    given = {name: value for name, value in data.items() if value is not None}
    more = _unsurveyed(given, message) if reader.allow_unsurveyed and reader.may_know_more else []
    for name in given:
        if name not in more:
            _check_name(name, message, path, reader)
    _check_oneofs(given, message, path)
    for name, field in fields(message).items():
        if name in given:
            _check_field(field, given[name], _below(path, name), reader, room)
    for name in more:
        _check_plain(name, given[name], _below(path, name), room)
    if message in CHECKS:
        CHECKS[message](given, path)


def _unsurveyed(given: Mapping[Any, Any], message: str) -> list[str]:
    """Return the fields that are in no table, sorted."""
    return sorted(name for name in given if _is_name(name) and name not in fields(message))


def _is_name(name: object) -> bool:
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def _check_plain(name: object, value: object, path: str, room: int) -> None:
    """Refuse a name or value that cannot be a field, for one in no table, which is written by the type of its value."""
    if not room:
        raise WishError(path, f"stands in more than {MAX_DEPTH} messages", "nest it less deep")
    if not _is_name(name):
        raise WishError(path, f"{described(name)} cannot name a field", "write names as in the .proto file")
    if isinstance(value, Mapping):
        for key, item in value.items():
            if item is not None:
                _check_plain(key, item, key_path(path, key), room - 1)
    elif isinstance(value, (list, tuple)):
        for item in value:
            _check_plain(name, item, path, room - 1)
    else:
        _check_plain_scalar(value, path)


def _check_plain_scalar(value: object, path: str) -> None:
    for type_ in ("bool", "string", "int64", "double"):
        fits, _wanted = SCALARS[type_]
        if fits(value):
            _check_range(type_, value, path)
            return
    raise WishError(path, f"is {described(value)}", "write a boolean, a number, a string, a list or a mapping")


def _check_name(name: Any, message: str, path: str, reader: Reader) -> None:
    refused = REFUSED_FIELDS.get((message, name)) or NOT_FIELDS.get((message, name))
    if refused:
        raise WishError(_below(path, name), *refused)
    if name not in fields(message):
        guess = nearest(name, fields(message))
        if reader.may_know_more:
            raise surveyed.unknown(_below(path, name), f"field in {message}", reader.version, guess)
        remedy = guess or f"its fields are {', '.join(fields(message)) or 'none'}"
        raise WishError(_below(path, name), f"{message} has no such field", remedy)


def _check_oneofs(given: Mapping[str, Any], message: str, path: str) -> None:
    seen: dict[str, str] = {}
    for name, field in fields(message).items():
        if not field.oneof or name not in given:
            continue
        if field.oneof in seen:
            raise WishError(path, f"'{seen[field.oneof]}' and '{name}' exclude each other", "keep one of them")
        seen[field.oneof] = name


def _check_field(field: Field, value: object, path: str, reader: Reader, room: int) -> None:
    if field.label == "repeated":
        if not isinstance(value, Sequence) or isinstance(value, (str, bytes)):
            raise WishError(path, f"needs a list, not {_shown(field, value)}", "write it as a list, even of one")
        for index, item in enumerate(value):
            _check_value(field, item, f"{path}[{index}]", reader, room)
    elif field.label == "map":
        _check_map(field, value, path, reader, room)
    else:
        _check_value(field, value, path, reader, room)


def _check_map(field: Field, value: object, path: str, reader: Reader, room: int) -> None:
    if not isinstance(value, Mapping):
        raise WishError(path, f"needs a mapping, not {_shown(field, value)}", "write 'key: value' pairs")
    for key in value:
        _check_key(field, key, path)
    for key, item in sorted(value.items()):
        _check_range(field.key, key, f"{path}.{key}")
        _check_value(field, item, f"{path}.{key}", reader, room)


def _check_key(field: Field, key: object, path: str) -> None:
    if field.key == "string" and not isinstance(key, str):
        raise WishError(f"{path}.{key}", f"the key is {described(key)}, not a string", f"write '{key}' in quotes")
    if field.key != "string" and not _is_integer(key):
        problem = f"the key is {described(key)}, not a whole number"
        raise WishError(f"{path}.{key}", problem, "write the number without quotes")


def _check_value(field: Field, value: object, path: str, reader: Reader, room: int) -> None:
    if field.type in table("messages")["messages"] and field.type not in WRAPPERS:
        _check_message(value, field.type, path, reader, room - 1)
    else:
        _check_scalar(field, value, path)


def _below(path: str, name: object) -> str:
    return f"{path}.{name}" if path else str(name)


def _shown(field: Field, value: object) -> str:
    return kind(value) if field.message in SECRET_MESSAGES else described(value)


def _check_scalar(field: Field, value: object, path: str) -> None:
    type_ = WRAPPERS.get(field.type, field.type)
    if type_ in table("messages")["enums"]:
        _check_enum(type_, value, path)
        return
    fits, wanted = SCALARS[type_]
    if not fits(value):
        remedy = "write the plain value, it is wrapped here" if isinstance(value, Mapping) else f"write {wanted}"
        raise WishError(path, f"needs {wanted}, not {_shown(field, value)}", remedy)
    _check_range(type_, value, path)


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return _is_integer(value) or (isinstance(value, float) and math.isfinite(value))


# Type -> the check of a value, and its description. Booleans do not count as numbers here, although they do in Python.
SCALARS: dict[str, tuple[Callable[[object], bool], str]] = {
    "bool": (lambda value: isinstance(value, bool), "true or false without quotes"),
    "string": (lambda value: isinstance(value, str), "a string in quotes"),
    "bytes": (lambda value: isinstance(value, str), "a string in quotes"),
    "float": (_is_number, "a number without quotes"),
    "double": (_is_number, "a number without quotes"),
    **{name: (_is_integer, "a whole number without quotes") for name in INTEGERS},
}


def _check_range(type_: str, value: Any, path: str) -> None:
    """Refuse a value of the right type but out of its range."""
    if isinstance(value, str):
        _check_text(value, path)
    elif type_ in INTEGERS:
        _check_integer(type_, value, path)
    elif type_ in LARGEST and abs(value) > LARGEST[type_]:
        raise WishError(path, f"the number does not fit into {type_}", f"stay within {LARGEST[type_]:g}")


def _check_text(value: str, path: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise WishError(path, "holds bytes that are not UTF-8", "save the text as UTF-8") from None


def _check_integer(type_: str, value: int, path: str) -> None:
    allowed = INTEGERS[type_]
    # Ansible's integers have a class of their own, for which a range would be searched one by one.
    if int(value) not in allowed:
        remedy = f"stay within {allowed.start} and {allowed.stop - 1}"
        shown = str(value) if abs(value) < 10**MAX_SHOWN_DIGITS else "the number"
        raise WishError(path, f"{shown} does not fit into {type_}", remedy)


def _check_enum(type_: str, value: object, path: str) -> None:
    names = table("messages")["enums"][type_]
    if isinstance(value, str) and value in names:
        return
    if isinstance(value, bool) and {"ON", "OFF"} & set(names):
        word = "ON" if value else "OFF"
        raise WishError(path, f"YAML reads a bare {word} as {described(value)}", f"write '{word}' in quotes")
    short = type_.split(".")[-1]
    some = ", ".join(names[:MAX_SHOWN_NAMES]) + (", ..." if len(names) > MAX_SHOWN_NAMES else "")
    raise WishError(path, f"{described(value)} is no {short}", nearest(value, names) or f"write one of {some}")
