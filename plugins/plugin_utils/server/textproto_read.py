# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Plain data from a text-format protocol buffer file of TensorFlow Serving, in the form ``textproto.render`` takes.

A file that this refuses, the server refuses as well: its parser knows no unknown fields, and neither does this one.
"""

from __future__ import annotations

import math
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError, nearest

from ..tables.read import table
from .textproto_check import INTEGERS, LARGEST, MAX_DEPTH
from .textproto_fields import ROOTS, WRAPPERS, Field, fields
from .textproto_tokens import Token, tokens, unquoted

_CLOSES = {"{": "}", "<": ">"}
_TRUE, _FALSE = ("true", "True", "t", "1"), ("false", "False", "f", "0")
_SIGNED = ("inf", "infinity", "nan")


def read(text: str, message: str, path: str = "") -> dict[str, Any]:
    """Return the fields of a file: a mapping for a message or a map, a list for a repeated field, the bare value for a
    wrapped scalar.

    :param message: one of ``ROOTS``.
    :param path: the name for the file in errors, which name the line too and never repeat a value.
    :raises WishError: the server would not read it as this message.
    """
    if not text:
        raise WishError(path, "is empty, and the server does not read an empty file", "write a comment at least")
    words = _Words(list(tokens(text, path)), path)
    return _message(words, ROOTS[message], "", MAX_DEPTH)


class _Words:
    """The words of a file, one after another."""

    def __init__(self, words: list[Token], path: str) -> None:
        self._words, self._at, self.path = words, 0, path

    @property
    def next(self) -> Token:
        """The word that follows."""
        return self._words[self._at]

    def take(self) -> Token:
        """Return the next word and go on."""
        word = self._words[self._at]
        self._at = min(self._at + 1, len(self._words) - 1)
        return word

    def taken(self, *signs: str) -> str:
        """Take one of these signs if it follows; return it, or an empty text."""
        if self.next.kind == "sign" and self.next.word in signs:
            return self.take().word
        return ""

    def refuse(self, token: Token, problem: str, remedy: str = "see the line") -> WishError:
        """Return the refusal of a word."""
        return WishError(self.path, f"line {token.line} {problem}", remedy)


def _message(words: _Words, message: str, closing: str, room: int) -> dict[str, Any]:
    """Return the fields up to the sign that closes the message, or up to the end."""
    if not room:
        raise words.refuse(words.next, f"stands in more than {MAX_DEPTH} messages", "nest it less deeply")
    found: dict[str, Any] = {}
    while True:
        token = words.take()
        if (token.kind == "sign" and token.word == closing) or (token.kind == "end" and not closing):
            return found
        if token.kind != "name":
            what = "ends before its message is closed" if token.kind == "end" else "needs the name of a field"
            raise words.refuse(token, what)
        field = _field(words, token, message)
        _refuse_second(words, token, field, found)
        _add(found, field, _values(words, field, room))
        words.taken(",", ";")


def _field(words: _Words, token: Token, message: str) -> Field:
    known = fields(message)
    if token.word not in known:
        remedy = nearest(token.word, known) or f"its fields are {', '.join(known) or 'none'}"
        raise words.refuse(token, f"names a field that {message} does not have, so the server refuses the file", remedy)
    return known[token.word]


def _refuse_second(words: _Words, token: Token, field: Field, found: dict[str, Any]) -> None:
    if field.label:
        return
    others = [name for name, each in fields(field.message).items() if field.oneof and each.oneof == field.oneof]
    if any(name in found for name in others or [field.name]):
        raise words.refuse(token, f"sets {field.name} where it or its alternative is set already", "keep one of them")


def _values(words: _Words, field: Field, room: int) -> list[Any]:
    """Return the values of a field: one, or those between brackets."""
    colon = words.taken(":")
    if field.label and colon and words.taken("["):
        return _listed(words, field, room)
    return [_value(words, field, room, bool(colon))]


def _listed(words: _Words, field: Field, room: int) -> list[Any]:
    found: list[Any] = []
    while not words.taken("]"):
        found.append(_value(words, field, room, True))
        if words.next.word != "]" and not words.taken(","):
            raise words.refuse(words.next, "needs a comma or the end of its list")
    return found


def _value(words: _Words, field: Field, room: int, colon: bool) -> Any:
    if field.label == "map":
        return _entry(words, field, room)
    if field.type in table("messages")["messages"] or field.type in WRAPPERS:
        return _inner(words, field.type, room)
    if not colon:
        raise words.refuse(words.next, "needs a colon before its value")
    return _scalar(words, field.type)


def _opened(words: _Words) -> str:
    """Take the sign that opens a message, and return the one that closes it."""
    opening = words.taken(*_CLOSES)
    if not opening:
        raise words.refuse(words.next, "needs a message between { and }")
    return _CLOSES[opening]


def _inner(words: _Words, type_: str, room: int) -> Any:
    closing = _opened(words)
    if type_ not in WRAPPERS:
        return _message(words, type_, closing, room - 1)
    value: Any = {"bool": False, "string": ""}.get(WRAPPERS[type_], 0)
    while not words.taken(closing):
        name = words.take()
        if name.word != "value" or not words.taken(":"):
            raise words.refuse(name, "needs 'value: ' and the value")
        value = _scalar(words, WRAPPERS[type_])
        words.taken(",", ";")
    return value


def _entry(words: _Words, field: Field, room: int) -> tuple[Any, Any]:
    """Return the key and the value of an entry of a map."""
    closing = _opened(words)
    found: dict[str, Any] = {}
    while not words.taken(closing):
        name = words.take()
        if name.word not in ("key", "value") or name.word in found:
            raise words.refuse(name, "needs one key and one value")
        colon = bool(words.taken(":"))
        type_ = field.key if name.word == "key" else field.type
        part = Field(field.message, name.word, type_, "", "", "")
        found[name.word] = _value(words, part, room, colon)
        words.taken(",", ";")
    return found.get("key", _empty(field.key)), found.get("value", _empty(field.type))


def _empty(type_: str) -> Any:
    return {"string": "", "bytes": "", "bool": False}.get(type_, {} if type_ in table("messages")["messages"] else 0)


def _scalar(words: _Words, type_: str) -> Any:
    if type_ in ("string", "bytes"):
        return _text(words)
    negative = bool(words.taken("-"))
    token = words.take()
    if type_ == "bool" and not negative and token.word in (*_TRUE, *_FALSE):
        return token.word in _TRUE
    if type_ in INTEGERS:
        return _integer(words, token, type_, negative)
    if type_ in LARGEST:
        return _fraction(words, token, negative)
    if type_ in table("messages")["enums"] and not negative and token.word in table("messages")["enums"][type_]:
        return token.word
    raise words.refuse(token, f"holds a value that is no {type_.rpartition('.')[2]}")


def _text(words: _Words) -> str:
    """Return a text; several that follow each other are one."""
    if words.next.kind != "text":
        raise words.refuse(words.next, "needs a text in quotes")
    parts = []
    while words.next.kind == "text":
        parts.append(unquoted(words.take(), words.path))
    return "".join(parts)


def _integer(words: _Words, token: Token, type_: str, negative: bool) -> int:
    try:
        number = int(token.word, 8 if len(token.word) > 1 and token.word.isdecimal() and token.word[0] == "0" else 0)
    except ValueError:
        raise words.refuse(token, f"holds a value that is no {type_}", "write a whole number") from None
    number = -number if negative else number
    if number not in INTEGERS[type_]:
        raise words.refuse(token, f"holds a number that does not fit into {type_}")
    return number


def _fraction(words: _Words, token: Token, negative: bool) -> float:
    word = token.word.lower()
    try:
        number = float(word if word in _SIGNED else word.rstrip("f") if token.kind == "number" else "")
    except ValueError:
        raise words.refuse(token, "holds a value that is no number") from None
    return math.copysign(number, -1) if negative else number


def _add(found: dict[str, Any], field: Field, values: list[Any]) -> None:
    if field.label == "repeated":
        found.setdefault(field.name, []).extend(values)
    elif field.label == "map":
        found.setdefault(field.name, {}).update(values)
    else:
        found[field.name] = values[0]
