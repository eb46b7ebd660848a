# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What any wish may be made of, before anything reads it: plain data of bounded depth and size that JSON can hold."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Set
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError, key_path, kind

# Deeper than any tensor of a probe; recursive YAML (an alias to what it stands in) has no end at all.
DEEPEST = 32
# A probe with a batch of small images holds some 100,000 numbers.
MOST_VALUES = 200_000
# A chain of certificates has some 10,000 characters.
LONGEST_TEXT = 262_144
LARGEST = 2**63 - 1

# Most values are one of these, and asking that costs a fraction of asking for an abstract class such as Mapping.
_LEAVES = (str, int, float)
_SURROGATE = re.compile(r"[\ud800-\udfff]")


def check(path: str, value: Any) -> None:
    """Raise WishError for what no variable may hold, be it deep inside of ``value``; never shows any of it."""
    for count, (place, depth, each) in enumerate(_walk(path, value)):
        if count >= MOST_VALUES:
            raise WishError(path, f"holds more than {MOST_VALUES} values", "make it smaller")
        if depth > DEEPEST:
            raise WishError(path, f"is nested deeper than {DEEPEST} levels", "look for an alias to what it stands in")
        _check_one(place, each)


def _walk(path: str, value: Any) -> Iterator[tuple[str, int, Any]]:
    """Yield every value with its path and depth, one level of nesting at a time."""
    pending = [(path, 0, value)]
    while pending:
        place, depth, each = pending.pop()
        yield place, depth, each
        if each is None or isinstance(each, _LEAVES):
            continue
        if isinstance(each, Mapping):
            # Keys count as values: they may be anything, and as long.
            pending += [(place, depth + 1, key) for key in each]
            pending += [(key_path(place, key), depth + 1, entry) for key, entry in each.items()]
        elif isinstance(each, (list, tuple)):
            pending += [(f"{place}[{number}]", depth + 1, entry) for number, entry in enumerate(each)]


def _check_one(place: str, value: Any) -> None:
    if isinstance(value, str):
        _check_text(place, value)
    elif value is None or isinstance(value, (bool, list, tuple, dict)):
        return
    elif isinstance(value, int):
        if abs(value) > LARGEST:
            raise WishError(place, "is a number beyond 64 bits", f"stay within ±{LARGEST}")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise WishError(place, "is no finite number", "write a number that JSON knows")
    elif not isinstance(value, Mapping):
        remedy = "write it as a list" if isinstance(value, Set) else "write it in quotes, as text"
        raise WishError(place, f"is {kind(value)}", remedy)


def _check_text(place: str, value: str) -> None:
    if len(value) > LONGEST_TEXT:
        raise WishError(place, f"is a text of {len(value)} characters", f"stay within {LONGEST_TEXT}")
    if "\0" in value:
        raise WishError(place, "holds a NUL, which no file and no program can", "remove it")
    if _SURROGATE.search(value):
        raise WishError(place, "holds half a character (a surrogate)", "write the character itself")
