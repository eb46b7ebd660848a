# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""JSON as RapidJSON 1.1.0 writes it: strings, numbers, and the values that error messages quote."""

from __future__ import annotations

import contextlib
import math
import re
from decimal import Decimal
from json.encoder import encode_basestring
from typing import Any

from tfs_reference.json_reader import INTEGERS

MAX_QUOTED_BYTES = 256
_CONTROL = re.compile("[\x00-\x1f]")
_NAMED = "\b\t\n\f\r"
_MAX_PLAIN_DIGITS = 21  # more before the decimal point, and an exponent is written
_MAX_LEADING_ZEROS = 6


def string(text: str) -> str:
    """In quotes. Bytes that are no UTF-8 (surrogate escapes here) stay as they are."""
    quoted = encode_basestring(text)
    return _with_capital_hex(text) if "\\u00" in quoted else quoted


def _with_capital_hex(text: str) -> str:
    parts = re.split("([\x00-\x1f])", text)
    return "".join(
        f"\\u{ord(part):04X}" if _CONTROL.fullmatch(part) and part not in _NAMED else encode_basestring(part)[1:-1]
        for part in parts
    ).join('""')


def double(value: float) -> str:
    """The shortest digits that give the number back."""
    if value == 0:
        return "-0.0" if math.copysign(1, value) < 0 else "0.0"
    digits, point = _digits(abs(value))
    sign = "-" if value < 0 else ""
    if 0 < point <= _MAX_PLAIN_DIGITS:
        padded = digits.ljust(point, "0")
        return f"{sign}{padded[:point]}.{padded[point:] or '0'}"
    if -_MAX_LEADING_ZEROS < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    mantissa = digits if len(digits) == 1 else f"{digits[0]}.{digits[1:]}"
    return f"{sign}{mantissa}e{point - 1}"


def _digits(value: float) -> tuple[str, int]:
    """(digits, position of the decimal point): 0.0125 is ("125", -1)."""
    _, digits, exponent = Decimal(repr(value)).as_tuple()
    text = "".join(map(str, digits))
    return text.rstrip("0"), len(text) + exponent


class _FullError(Exception):
    """No more may be written."""


class _Quote:
    """A value as messages show it: objects over several lines, arrays on one, cut off after the event that fills it."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self._size = 0

    def put(self, text: str) -> None:
        if self._size >= MAX_QUOTED_BYTES:
            raise _FullError
        self.parts.append(text)
        self._size += len(text.encode(errors="surrogateescape"))

    def value(self, value: Any, depth: int, prefix: str = "") -> None:
        if isinstance(value, dict):
            self._object(value, depth, prefix)
        elif isinstance(value, list):
            self.put(f"{prefix}[")
            for index, element in enumerate(value):
                self.value(element, depth + 1, ", " if index else "")
            self.put("]")
        else:
            self._scalar(value, prefix)

    def _object(self, value: dict[str, Any], depth: int, prefix: str) -> None:
        self.put(f"{prefix}{{")
        indent = "\n" + "    " * (depth + 1)
        for index, (name, member) in enumerate(getattr(value, "pairs", value.items())):
            self.put(f"{',' if index else ''}{indent}{string(name)}")
            self.value(member, depth + 1, ": ")
        self.put("\n" + "    " * depth + "}" if value else "}")

    def _scalar(self, value: Any, prefix: str) -> None:
        if isinstance(value, float) and not math.isfinite(value):
            self.put(prefix)
            raise _FullError  # the writer knows no such number and stops
        self.put(prefix + _scalar_text(value))


def _scalar_text(value: Any) -> str:
    if isinstance(value, str):
        return string(value)
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value) if isinstance(value, int) and value in INTEGERS else double(float(value))


def quote(value: Any) -> str:
    """The value as a message quotes it, at most a few bytes over the limit and then cut off."""
    writer = _Quote()
    with contextlib.suppress(_FullError):
        writer.value(value, 0)
    return "".join(writer.parts)
