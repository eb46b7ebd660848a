# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Bounds of all wishes, checked before anything reads them: plain data of limited depth and size that JSON can hold."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Any, Union

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError, key_path, kind

# A probe with a batch of small images has some 100,000 numbers.
MOST_VALUES = 200_000
# A chain of certificates has some 10,000 characters.
LONGEST_TEXT = 262_144


@dataclass(frozen=True)
class Bounds:
    """What a value may hold at most: levels, values, characters of a text, and the largest number."""

    deepest: int
    values: int
    text: int
    largest: int


# Deeper than any tensor in a probe. Recursive YAML (an alias to its own parent) has no end at all.
WISH = Bounds(32, MOST_VALUES, LONGEST_TEXT, 2**63 - 1)
# What hosts have recorded holds wishes some levels deeper, and golden requests, which wishes have in files and which go
# up to DT_UINT64. A refusal of it could not be mended by a wish. It is read up to 16 MiB.
RECORD = Bounds(48, 40 * MOST_VALUES, 40 * LONGEST_TEXT, 2**64 - 1)

# Most values are of these types, and checking for them is far cheaper than for an abstract class such as Mapping.
_LEAVES = (str, int, float, type(None))
# A NUL, or half of a surrogate pair.
_SUSPICIOUS = re.compile(r"[\0\ud800-\udfff]")

# The place of a value: the variable, or the enclosing place, the function that formats the path, and the key or index.
# Paths are only formatted for a refusal, since most values need none.
_Place = Union[str, tuple[Any, Callable[[str, Any], str], Any]]


def check(path: str, value: Any, bounds: Bounds = WISH) -> None:
    """Raise WishError for anything, even deep inside ``value``, that no variable may hold; never show its text."""
    for count, (place, depth, each) in enumerate(_all(path, value), 1):
        if count > bounds.values:
            raise WishError(path, f"holds more than {bounds.values} values", "make it smaller")
        if depth > bounds.deepest:
            words = f"is nested deeper than {bounds.deepest} levels"
            raise WishError(path, words, "look for an alias to what it stands in")
        fault = _fault(each, bounds)
        if fault:
            raise WishError(_path(place), *fault)


def check_texts(path: str, value: Any, remedy: str) -> None:
    """Raise WishError for a text, even deep inside ``value`` or as a key, that no variable may hold at any length."""
    for place, _depth, each in _all(path, value):
        if isinstance(each, str) and _SUSPICIOUS.search(each):
            raise WishError(_path(place), _text_fault(each, len(each))[0], remedy)


def _all(path: str, value: Any) -> Iterator[tuple[_Place, int, Any]]:
    """Yield a value and everything inside it, each with its place and depth."""
    pending: list[tuple[_Place, int, Any]] = [(path, 0, value)]
    while pending:
        place, depth, each = pending.pop()
        yield place, depth, each
        if not isinstance(each, _LEAVES):
            pending += _inside(place, depth + 1, each)


def _inside(place: _Place, depth: int, value: Any) -> list[tuple[_Place, int, Any]]:
    """Return the parts of a value, each with its place and depth."""
    if isinstance(value, (list, tuple)):
        return [((place, _item, number), depth, entry) for number, entry in enumerate(value)]
    # Keys are checked like values: they may be just as odd, and just as long.
    keys = [(place, depth, key) for key in value]
    return keys + [((place, key_path, key), depth, entry) for key, entry in value.items()]


def _item(path: str, number: int) -> str:
    return f"{path}[{number}]"


def _path(place: _Place) -> str:
    if isinstance(place, str):
        return place
    outer, written, key = place
    return written(_path(outer), key)


def _fault(value: Any, bounds: Bounds) -> tuple[str, str] | None:
    """Return what is wrong with a value by itself, and the remedy, or None."""
    if isinstance(value, str):
        is_odd = len(value) > bounds.text or _SUSPICIOUS.search(value)
        return _text_fault(value, bounds.text) if is_odd else None
    if value is None or isinstance(value, (bool, list, tuple, dict)):
        return None
    if isinstance(value, int):
        is_large = abs(value) > bounds.largest
        return ("is a number beyond 64 bits", f"stay within ±{bounds.largest}") if is_large else None
    if isinstance(value, float):
        return None if math.isfinite(value) else ("is not a finite number", "write a number that JSON knows")
    if isinstance(value, Mapping):
        return None
    return f"is {kind(value)}", "write it as a list" if isinstance(value, Set) else "write it in quotes, as text"


def _text_fault(value: str, longest: int) -> tuple[str, str]:
    if len(value) > longest:
        return f"is a text of {len(value)} characters", f"stay within {longest}"
    if "\0" in value:
        return "holds a NUL, which no file and no program can", "remove it"
    return "holds half a character (a surrogate)", "write the character itself"
