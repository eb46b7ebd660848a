# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""JSON as RapidJSON 1.1.0 reads it with upstream's flags (iterative, NaN and infinities, stop when done).

Python's scanner reads what both take alike; whatever it refuses, or would read differently, is read a second time by
the walk below, which knows RapidJSON's errors and offsets and has no limit of depth. Bytes that are no UTF-8 pass
through as surrogate escapes; a text with a lone surrogate of its own is refused, so the two are never confused.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

from tfs_reference.status import invalid_argument

INTEGERS = range(-(2**63), 2**64)  # larger ones are read as doubles

# Digits become 0, so that a long number and a large exponent are found as plain bytes; "+" is left out.
_SHAPE = bytes(ord("0") if chr(code).isdigit() and code < 128 else code for code in range(256)).replace(b"E", b"e")
_LONG_NUMBER, _LARGE_EXPONENT = b"0" * 200, b"e000"
_LONE_SURROGATE = re.compile(
    rb"\\u[dD](?:[89abAB]..(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89abAB]..\\u[dD])[c-fC-F])", re.DOTALL
)

_EMPTY = "The document is empty."
_INVALID = "Invalid value."
_NO_NAME = "Missing a name for object member."
_NO_COLON = "Missing a colon after a name of object member."
_NO_CURLY = "Missing a comma or '}' after an object member."
_NO_SQUARE = "Missing a comma or ']' after an array element."
_BAD_HEX = "Incorrect hex digit after \\u escape in string."
_BAD_SURROGATE = "The surrogate pair in string is invalid."
_BAD_ESCAPE = "Invalid escape character in string."
_NO_QUOTE = "Missing a closing quotation mark in string."
_TOO_BIG = "Number too big to be stored in double."
_NO_FRACTION = "Miss fraction part in number."
_NO_EXPONENT = "Miss exponent in number."


class Repeated(dict):
    """An object with a name given twice: the first one is found, `pairs` holds all."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(reversed(pairs))
        self.pairs = pairs


def parse(body: bytes) -> Any:
    """The value that the body begins with; raises INVALID_ARGUMENT."""
    if not body:
        raise invalid_argument("JSON Parse error: The document is empty")
    if not _is_odd(body):
        try:
            return _SCANNER.raw_decode(body.decode(errors="surrogateescape").lstrip(" \t\r\n"))[0]
        except (ValueError, RecursionError):
            pass
    return _Walk(body).value()


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    return members if len(members) == len(pairs) else Repeated(pairs)


_SCANNER = json.JSONDecoder(object_pairs_hook=_object)


def _is_odd(body: bytes) -> bool:
    """Whether Python might take what RapidJSON refuses: numbers beyond a double, lone surrogates."""
    shape = body.translate(_SHAPE, b"+")
    if _LONG_NUMBER in shape or _LARGE_EXPONENT in shape:
        return True
    return (b"\\ud" in body or b"\\uD" in body) and _LONE_SURROGATE.search(body) is not None


# What may stand after what: the error where something else does.
_START, _FIRST_NAME, _NAME, _COLON, _MEMBER, _AFTER_MEMBER, _FIRST_ELEMENT, _ELEMENT, _AFTER_ELEMENT = range(9)
_ERRORS = {
    _START: _EMPTY,
    _FIRST_NAME: _NO_NAME,
    _NAME: _NO_NAME,
    _COLON: _NO_COLON,
    _MEMBER: _INVALID,
    _AFTER_MEMBER: _NO_CURLY,
    _FIRST_ELEMENT: _INVALID,
    _ELEMENT: _INVALID,
    _AFTER_ELEMENT: _NO_SQUARE,
}
# RapidJSON 1.1.0 takes a comma before a closing bracket.
_CLOSING = {
    _FIRST_NAME: b"}", _NAME: b"}", _AFTER_MEMBER: b"}", _FIRST_ELEMENT: b"]", _ELEMENT: b"]", _AFTER_ELEMENT: b"]",
}  # fmt: skip
_SEPARATORS = {
    (_COLON, b":"): _MEMBER,
    (_AFTER_MEMBER, b","): _NAME,
    (_AFTER_ELEMENT, b","): _ELEMENT,
}
_NO_VALUE = frozenset({b"", b"\0", b"}", b"]", b",", b":"})
_VALUES = frozenset({_START, _MEMBER, _FIRST_ELEMENT, _ELEMENT})
_WHITESPACE = re.compile(rb"[ \t\r\n]*")
_PLAIN = re.compile(rb'[^"\\\x00-\x1f]*')
_NUMBER = re.compile(rb"(-?(?:0|[1-9][0-9]*))(\.[0-9]*)?(?:[eE]([+-]?)([0-9]*))?")
_MAX_INTEGER_CHARS = 20
_SIGNIFICANT_DIGITS = 17
_TENTH_OF_LARGEST = 1.7976931348623157e307
_HEX = re.compile(rb"[0-9a-fA-F]{4}")
_ESCAPES = {
    b'"': b'"', b"/": b"/", b"\\": b"\\", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t",
}  # fmt: skip
_WORDS = {b"t": (b"true", True), b"f": (b"false", False), b"n": (b"null", None)}


class _Walk:
    """One pass over the bytes with a stack of its own."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = 0
        self._state = _START
        self._stack: list[tuple[list[Any], bool]] = []  # (pairs of an object or elements of an array, whether object)
        self._names: list[str] = []  # of the members whose values are being read
        self._root: list[Any] = []

    def value(self) -> Any:
        for byte in b"\xef\xbb\xbf":  # each byte of the mark is skipped where it stands, with or without the others
            self._at += self._body[self._at : self._at + 1] == bytes([byte])
        while not self._root:
            self._at = _WHITESPACE.match(self._body, self._at).end()
            self._step(self._body[self._at : self._at + 1])
        return self._root[0]

    def _step(self, token: bytes) -> None:
        state = self._state
        if token and token == _CLOSING.get(state):
            self._at += 1
            content, is_object = self._stack.pop()
            self._add(_object(content) if is_object else content)
        elif state in _VALUES and token in (b"{", b"["):
            self._at += 1
            self._stack.append(([], token == b"{"))
            self._state = _FIRST_NAME if token == b"{" else _FIRST_ELEMENT
        elif state in _VALUES and token not in _NO_VALUE:
            self._add(self._scalar(token))
        elif state in (_FIRST_NAME, _NAME) and token == b'"':
            self._names.append(self._string())
            self._state = _COLON
        elif (state, token) in _SEPARATORS:
            self._at += 1
            self._state = _SEPARATORS[state, token]
        else:
            self._fail(_ERRORS[state])

    def _add(self, value: Any) -> None:
        if not self._stack:
            self._root.append(value)
            return
        content, is_object = self._stack[-1]
        content.append((self._names.pop(), value) if is_object else value)
        self._state = _AFTER_MEMBER if is_object else _AFTER_ELEMENT

    def _scalar(self, token: bytes) -> Any:
        if token == b'"':
            return self._string()
        if token in _WORDS:
            word, value = _WORDS[token]
            self._expect(word)
            return value
        return self._number()

    def _expect(self, word: bytes) -> None:
        """Step over the word; where it is broken off, the error stands there."""
        for byte in word:
            if self._body[self._at : self._at + 1] != bytes([byte]):
                self._fail(_INVALID)
            self._at += 1

    # -- numbers -----------------------------------------------------------------------------------------------------

    def _number(self) -> float:
        found = _NUMBER.match(self._body, self._at)
        if not found:
            return self._named_number()
        whole, fraction, _, exponent = found.groups()
        if fraction == b".":
            self._fail(_NO_FRACTION, found.end(2))
        if exponent == b"":
            self._fail(_NO_EXPONENT, found.end())
        text = found.group().decode()
        if _is_too_big(whole.lstrip(b"-").decode(), (fraction or b"")[1:].decode(), found[3], exponent):
            self._fail(_TOO_BIG, self._at)
        self._at = found.end()
        if fraction is None and exponent is None and len(text) <= _MAX_INTEGER_CHARS and int(text) in INTEGERS:
            return int(text)
        return float(text)

    def _named_number(self) -> float:
        negative = self._body[self._at : self._at + 1] == b"-"
        self._at += negative
        if self._body[self._at : self._at + 1] == b"N":
            self._expect(b"NaN")
            return math.nan
        self._expect(b"Inf")
        if self._body[self._at : self._at + 1] == b"i":
            self._expect(b"inity")
        return -math.inf if negative else math.inf

    # -- strings -----------------------------------------------------------------------------------------------------

    def _string(self) -> str:
        self._at += 1
        parts = []
        while True:
            plain = _PLAIN.match(self._body, self._at)
            parts.append(plain.group())
            self._at = plain.end()
            token = self._body[self._at : self._at + 1]
            if token == b'"':
                self._at += 1
                return b"".join(parts).decode(errors="surrogateescape")
            if token != b"\\":
                self._fail(_NO_QUOTE if token in (b"", b"\0") else _BAD_ESCAPE)
            parts.append(self._escape())

    def _escape(self) -> bytes:
        start = self._at
        kind = self._body[start + 1 : start + 2]
        self._at += 2
        if kind in _ESCAPES:
            return _ESCAPES[kind]
        if kind != b"u":
            self._fail(_BAD_ESCAPE, start)
        code = self._hex(start)
        if 0xD800 <= code <= 0xDBFF:
            if self._body[self._at : self._at + 2] != b"\\u":
                self._fail(_BAD_SURROGATE, start)
            self._at += 2
            low = self._hex(start)
            if not 0xDC00 <= low <= 0xDFFF:
                self._fail(_BAD_SURROGATE, start)
            code = ((code - 0xD800) << 10 | (low - 0xDC00)) + 0x10000
        return chr(code).encode(errors="surrogatepass")  # a low one alone goes through

    def _hex(self, start: int) -> int:
        found = _HEX.match(self._body, self._at)
        if not found:
            self._fail(_BAD_HEX, start)
        self._at = found.end()
        return int(found.group(), 16)

    def _fail(self, error: str, offset: int | None = None) -> None:
        raise invalid_argument(f"JSON Parse error: {error} at offset: {self._at if offset is None else offset}")


def _is_too_big(whole: str, fraction: str, sign: bytes | None, exponent: bytes | None) -> bool:
    """RapidJSON's own test, by digits and exponent; some numbers above the largest double pass it as infinity."""
    if len(whole) > 1 and float(whole[:-1]) >= _TENTH_OF_LARGEST:
        return True
    if not exponent or sign == b"-":
        return False
    zeros = len(fraction) - len(fraction.lstrip("0")) if whole == "0" else 0
    counted = min(len(fraction), zeros + max(0, _SIGNIFICANT_DIGITS - len(whole)))
    digits = exponent.lstrip(b"0")
    return len(digits) > _MAX_INTEGER_CHARS or int(digits or b"0") > 308 + counted
