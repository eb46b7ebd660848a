# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Whether plain data has the shape of a TypedDict: one check for every key, so that types and checks cannot differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Literal, get_args, get_origin, get_type_hints

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import kind

# Sentences and versions are far shorter; a file of settings is the longest text.
LONGEST_TEXT = 100_000
# An hour has 3,600 seconds, a histogram at most 4,096 counters.
MOST_ENTRIES = 100_000
# The largest count that a JSON reader of any language keeps exactly.
LARGEST = 2**53
# What host samples hold as they please is a few levels deep.
DEEPEST = 12

WORDS = {int: "a whole number", float: "a number", str: "a text", bool: "true or false", type(None): "null"}


def misfit(value: object, hint: Any, path: str = "") -> str:
    """Return what is wrong with ``value``, beginning with its path, or an empty text; ``hint`` is a type."""
    return next(_misfits(value, hint, path), "")


def _misfits(value: object, hint: Any, path: str) -> Iterator[str]:
    origin = get_origin(hint)
    if hint is Any:
        yield from _anything(value, path, DEEPEST)
    elif type(None) in get_args(hint):
        if value is not None:
            yield from _misfits(value, next(each for each in get_args(hint) if each is not type(None)), path)
    elif origin is Literal:
        if value not in get_args(hint):
            yield f"{path} is not one of {', '.join(get_args(hint))}"
    elif hasattr(hint, "__required_keys__"):
        yield from _keys(value, hint, path)
    elif origin is list:
        yield from _list(value, get_args(hint)[0], path)
    elif origin is dict:
        yield from _mapping(value, get_args(hint)[1], path)
    elif not _plain(value, hint):
        yield f"{path} is {kind(value)}, not {WORDS[hint]}" if _wrong_kind(value, hint) else f"{path} is out of bounds"


def _keys(value: object, hint: Any, path: str) -> Iterator[str]:
    if not isinstance(value, Mapping):
        yield f"{path or 'it'} is {kind(value)}, not a mapping"
        return
    for key, (inner, required) in fields(hint).items():
        if key in value:
            yield from _misfits(value[key], inner, f"{path}.{key}".lstrip("."))
        elif required:
            yield f"{f'{path}.{key}'.lstrip('.')} is missing"


@cache
def fields(hint: Any) -> dict[str, tuple[Any, bool]]:
    """Return the keys of a TypedDict with their types, and whether each is required."""
    return {key: (inner, key in hint.__required_keys__) for key, inner in get_type_hints(hint).items()}


def _list(value: object, inner: Any, path: str) -> Iterator[str]:
    if not isinstance(value, list):
        yield f"{path} is {kind(value)}, not a list"
    elif len(value) > MOST_ENTRIES:
        yield f"{path} has more than {MOST_ENTRIES} entries"
    else:
        for number, each in enumerate(value):
            yield from _misfits(each, inner, f"{path}[{number}]")


def _mapping(value: object, inner: Any, path: str) -> Iterator[str]:
    if not isinstance(value, Mapping):
        yield f"{path} is {kind(value)}, not a mapping"
    elif len(value) > MOST_ENTRIES or not all(_plain(key, str) for key in value):
        yield f"{path} has more than {MOST_ENTRIES} entries, or keys that are no texts"
    else:
        for each in value.values():
            yield from _misfits(each, inner, path)


def _anything(value: object, path: str, depth: int) -> Iterator[str]:
    if depth == 0:
        yield f"{path} is nested too deeply"
    elif isinstance(value, Mapping):
        for each in (*value, *value.values()):
            yield from _anything(each, path, depth - 1)
    elif isinstance(value, list):
        for each in value:
            yield from _anything(each, path, depth - 1)
    elif value is not None and not any(_plain(value, each) for each in (bool, float, str)):
        yield f"{path} is out of bounds"


def _wrong_kind(value: object, hint: Any) -> bool:
    if isinstance(value, bool) or hint is bool:
        return True
    return not isinstance(value, (int, float) if hint in (int, float) else hint) or (
        hint is int and isinstance(value, float)
    )


def _plain(value: object, hint: Any) -> bool:
    if hint is bool or isinstance(value, bool):
        return hint is bool and isinstance(value, bool)
    if hint is str:
        return isinstance(value, str) and len(value) <= LONGEST_TEXT
    allowed = int if hint is int else (int, float)
    return isinstance(value, allowed) and abs(value) <= LARGEST
