# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Bounds of all wishes, checked before anything reads them: plain data of limited depth and size that JSON can hold."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Set
from typing import Any, Union

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError, key_path, kind

# Deeper than any tensor in a probe. Recursive YAML (an alias to its own parent) has no end at all.
DEEPEST = 32
# A probe with a batch of small images has some 100,000 numbers.
MOST_VALUES = 200_000
# A chain of certificates has some 10,000 characters.
LONGEST_TEXT = 262_144
LARGEST = 2**63 - 1
# A record of a host holds golden requests as well, which wishes have in files. It is read up to 16 MiB.
RECORD = 40

# Most values are of these types, and checking for them is far cheaper than for an abstract class such as Mapping.
_LEAVES = (str, int, float, type(None))
# A NUL, or half of a surrogate pair.
_SUSPICIOUS = re.compile(r"[\0\ud800-\udfff]")

# The place of a value: the variable, or the enclosing place, the function that formats the path, and the key or index.
# Paths are only formatted for a refusal, since most values need none.
_Place = Union[str, tuple[Any, Callable[[str, Any], str], Any]]


def check(path: str, value: Any, times: int = 1) -> None:
    """Raise WishError for anything, even deep inside ``value``, that no variable may hold; never show its text.

    ``times`` as many values as in a variable, and texts as long, may be in it.
    """
    pending: list[tuple[_Place, int, Any]] = [(path, 0, value)]
    count = 0
    while pending:
        place, depth, each = pending.pop()
        count += 1
        if count > MOST_VALUES * times:
            raise WishError(path, f"holds more than {MOST_VALUES * times} values", "make it smaller")
        if depth > DEEPEST:
            raise WishError(path, f"is nested deeper than {DEEPEST} levels", "look for an alias to what it stands in")
        fault = _fault(each, LONGEST_TEXT * times)
        if fault:
            raise WishError(_path(place), *fault)
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


def _fault(value: Any, longest: int) -> tuple[str, str] | None:
    """Return what is wrong with a value by itself, and the remedy, or None."""
    if isinstance(value, str):
        return _text_fault(value, longest) if len(value) > longest or _SUSPICIOUS.search(value) else None
    if value is None or isinstance(value, (bool, list, tuple, dict)):
        return None
    if isinstance(value, int):
        return ("is a number beyond 64 bits", f"stay within ±{LARGEST}") if abs(value) > LARGEST else None
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
