# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Text-format protocol buffer files of TensorFlow Serving, from plain data."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from ..tables.read import table
from .textproto_check import check
from .textproto_fields import ROOTS, WRAPPERS, Field, fields


def render(
    data: Mapping[str, Any], message: str, path: str = "", version: str = "", *, allow_unsurveyed: bool = False
) -> str:
    """Return ``data`` as the text format of ``message``.

    The parameters are those of ``check``, which is called first.

    :returns: the file: a comment first (the server refuses an empty file), fields in the order of the table,
        map keys sorted, a line break at the end. Fields that are in no table come last in their message.
    :raises WishError: from ``check``.
    """
    check(data, message, path, version, allow_unsurveyed=allow_unsurveyed)
    header = f"# {message} of TensorFlow Serving, written by tfserving.fleet."
    return "\n".join([header, *_message_lines(data, ROOTS[message]), ""])


def _message_lines(data: Mapping[str, Any], message: str) -> list[str]:
    known = fields(message)
    given = {name: value for name, value in data.items() if value is not None}
    lines = [line for name, field in known.items() if name in given for line in _field_lines(field, given[name])]
    return lines + [line for name in sorted(set(given) - set(known)) for line in _plain_lines(name, given[name])]


def _plain_lines(name: str, value: Any) -> list[str]:
    """Return the lines of a field that is in no table, according to the type of its value."""
    if isinstance(value, Mapping):
        items = [(key, item) for key, item in value.items() if item is not None]
        return [f"{name} {{", *_indented(line for key, item in items for line in _plain_lines(key, item)), "}"]
    if isinstance(value, (list, tuple)):
        return [line for item in value for line in _plain_lines(name, item)]
    return [f"{name}: {_scalar(value)}"]


def _field_lines(field: Field, value: Any) -> list[str]:
    if field.label == "repeated":
        return [line for item in value for line in _value_lines(field, item)]
    if field.label == "map":
        return [line for key, item in sorted(value.items()) for line in _entry_lines(field, key, item)]
    return _value_lines(field, value)


def _entry_lines(field: Field, key: Any, value: Any) -> list[str]:
    entry = [f"key: {_scalar(key)}", *_value_lines(replace(field, name="value"), value)]
    return [f"{field.name} {{", *_indented(entry), "}"]


def _value_lines(field: Field, value: Any) -> list[str]:
    if field.type in WRAPPERS:
        return [f"{field.name} {{ value: {_scalar(value, WRAPPERS[field.type])} }}"]
    if field.type in table("messages")["messages"]:
        inner = _message_lines(value, field.type)
        return [f"{field.name} {{", *_indented(inner), "}"] if inner else [f"{field.name} {{ }}"]
    return [f"{field.name}: {_scalar(value, field.type)}"]


def _indented(lines: Iterable[str]) -> list[str]:
    return [f"  {line}" for line in lines]


def _scalar(value: Any, type_: str = "") -> str:
    """Return a value in the format of a field's type or, without one, of its own type."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return str(value) if type_ in table("messages")["enums"] else _string(value)
    if isinstance(value, float) or type_ in ("float", "double"):
        return repr(float(value))
    return str(int(value))


def _string(value: str) -> str:
    """Quote a string: escape anything that would end the quotes or the line, or is unreadable; the rest is UTF-8."""
    return '"' + re.sub(r'[\x00-\x1f\x7f"\\]', _escape, value) + '"'


NAMED_ESCAPES = {"\n": r"\n", "\r": r"\r", "\t": r"\t", '"': r"\"", "\\": r"\\"}


def _escape(found: re.Match[str]) -> str:
    # Always three octal digits: a shorter escape would swallow a digit that follows it.
    return NAMED_ESCAPES.get(found[0]) or f"\\{ord(found[0]):03o}"
