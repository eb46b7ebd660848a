# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The models that a server's own words name: by its flags, or by its model config file."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Union

MOST_MODELS = 200
_MOST_TOKENS = 200_000
_DEEPEST = 40
_TOKEN = re.compile(
    r"""\s+|\#[^\n]*|(?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')|(?P<word>[\w.+/-]+)|(?P<sign>[][{}<>:,;])"""
)
_OPEN, _CLOSE = "{<", "}>"

Value = Union[str, "Message"]
Message = list[tuple[str, Value]]


class Model(NamedTuple):
    """A model, by the name that callers use, with the versions that its labels name."""

    name: str
    base_path: str
    labels: Mapping[str, int]


def of_flags(flags: Mapping[str, str], config: str | None) -> list[Model]:
    """Return the models of a server with these flags and this text of its model config file.

    The file wins over the flags (main.cc). Raises ValueError for a text that cannot be read.
    """
    if flags.get("model_config_file"):
        return [] if config is None else of_text(config)
    base = flags.get("model_base_path")
    return [Model(flags.get("model_name") or "default", base, {})] if base else []


def flags_of(argv: Sequence[str]) -> dict[str, str]:
    """Return the flags of a command line as the server takes them: ``--name=value``, the last one wins."""
    found = (word[2:].partition("=") for word in argv[1:] if word.startswith("--"))
    return {name: value if equals else "true" for name, equals, value in found}


def of_text(text: str) -> list[Model]:
    """Return the models of a model config file. Raises ValueError."""
    whole = parsed(text)
    lists = [inner for name, inner in whole if name == "model_config_list" and isinstance(inner, list)]
    configs = [inner for each in lists for name, inner in each if name == "config" and isinstance(inner, list)]
    return [_model(config) for config in configs[:MOST_MODELS]]


def _model(config: Message) -> Model:
    texts = {name: value for name, value in config if isinstance(value, str)}
    labels = {}
    for name, entry in config:
        if name == "version_labels" and isinstance(entry, list):
            pair = {key: value for key, value in entry if isinstance(value, str)}
            if pair.get("value", "").isdigit():
                labels[pair.get("key", "")] = int(pair["value"][:19])
    return Model(texts.get("name", ""), texts.get("base_path", ""), labels)


def parsed(text: str) -> Message:
    """Return a text protocol buffer as names and values, whatever its message. Raises ValueError."""
    tokens = list(_tokens(text))
    found, at = _message(tokens, 0, _DEEPEST)
    if at != len(tokens):
        raise ValueError("it is no text protocol buffer")
    return found


def _tokens(text: str) -> Iterator[str]:
    at = count = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if not match or count > _MOST_TOKENS:
            raise ValueError("it is no text protocol buffer")
        at, count = match.end(), count + 1
        if match.lastgroup:
            yield match[0]


def _message(tokens: Sequence[str], at: int, deepest: int) -> tuple[Message, int]:
    if not deepest:
        raise ValueError("it is nested too deeply")
    found: Message = []
    while at < len(tokens) and tokens[at] not in _CLOSE:
        if tokens[at] in ",;":
            at += 1
            continue
        name, at = tokens[at], at + 1
        at += at < len(tokens) and tokens[at] == ":"
        values, at = _values(tokens, at, deepest)
        found += [(name, value) for value in values]
    return found, at


def _values(tokens: Sequence[str], at: int, deepest: int) -> tuple[list[Value], int]:
    """Return the value that begins at a token, or all of those in brackets."""
    if at < len(tokens) and tokens[at] == "[":
        found: list[Value] = []
        at += 1
        while at < len(tokens) and tokens[at] != "]":
            if tokens[at] == ",":
                at += 1
                continue
            value, at = _value(tokens, at, deepest)
            found.append(value)
        return found, at + 1
    value, at = _value(tokens, at, deepest)
    return [value], at


def _value(tokens: Sequence[str], at: int, deepest: int) -> tuple[Value, int]:
    if at >= len(tokens) or tokens[at] in "}>]:,;":
        raise ValueError("it breaks off")
    if tokens[at] in _OPEN:
        inner, at = _message(tokens, at + 1, deepest - 1)
        if at >= len(tokens):
            raise ValueError("it breaks off")
        return inner, at + 1
    if tokens[at][0] not in "\"'":
        return tokens[at], at + 1
    parts = []
    while at < len(tokens) and tokens[at][0] in "\"'":
        parts.append(_unquoted(tokens[at]))
        at += 1
    return "".join(parts), at


def _unquoted(token: str) -> str:
    try:
        # The escapes of C, of which Python has all that occur in names and paths.
        return str(ast.literal_eval(token))
    except (SyntaxError, ValueError):
        return token[1:-1]
