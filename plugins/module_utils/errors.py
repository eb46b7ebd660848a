# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The error that users of the collection see, the one that becomes it, and the helpers that word both."""

from __future__ import annotations

import datetime
import difflib
import re
from collections.abc import Iterable, Mapping, Set
from typing import Any

from .visible_text import visible

# How alike two names must be (difflib ratio, 0..1) before one is offered for the other. The library's own
# default of 0.6 finds transpositions, missing words and plural slips in snake_case names, and stays silent
# on words that merely share a suffix such as "_threads".
LIKENESS = 0.6

# What of a user's text is repeated in a message: short words such as names, versions and choices. No address, header or
# line of a key looks like this; where a password could stand, nothing is repeated at all (``kind``).
SHOWN = re.compile(r"[A-Za-z0-9._/-]{0,24}")
# What of a mapping's key is: a misspelt name. ``{TOKEN=abc}`` is a mapping too, with a secret for its key.
SHOWN_KEY = re.compile(r"[A-Za-z][A-Za-z_-]{0,39}")
# Names with a figure or two, such as slo_p99_ms, and versions such as 2.19.1.
_FIGURED = re.compile(r"[a-z_]+[0-9]{1,3}[a-z_]*|[0-9]+(\.[0-9]+){0,3}")
# Names are compared by their beginnings: the comparison takes the square of their length.
LONGEST_NAME = 64


class WishError(ValueError):
    """A wish that cannot be granted: where it is, what is wrong with it and what to write instead.

    ``str(error)`` is one sentence, ``path: problem; remedy``. An empty path or remedy leaves its part out.
    """

    def __init__(self, path: str, problem: str, remedy: str) -> None:
        self.path = path
        self.problem = problem
        self.remedy = remedy
        super().__init__(path, problem, remedy)

    def __str__(self) -> str:
        where = f"{self.path}: " if self.path else ""
        cure = f"; {self.remedy}" if self.remedy else ""
        return visible(f"{where}{self.problem}{cure}")


class RefusalError(Exception):
    """What stands in the way of one artifact, and the remedy: a WishError whose path its caller knows.

    ``key`` is the part of the wish that it concerns.
    """

    def __init__(self, problem: str, remedy: str, key: str = "source") -> None:
        super().__init__(problem, remedy, key)
        self.problem = problem
        self.remedy = remedy
        self.key = key

    def __str__(self) -> str:
        return f"{self.problem}; {self.remedy}"


def nearest(word: object, known: Iterable[str]) -> str:
    """Return ``did you mean 'x'?`` for the known name most like ``word``, or an empty string."""
    if not isinstance(word, str):
        return ""
    found = difflib.get_close_matches(word[:LONGEST_NAME], sorted(known), n=1, cutoff=LIKENESS)
    return f"did you mean '{found[0]}'?" if found else ""


def key_path(path: str, key: object) -> str:
    """Return the path of a mapping's entry; a key that may be a secret by mistake is not shown."""
    return f"{path}.{key}" if is_shown(key) else f"{path}.(a key)"


def is_shown(key: object) -> bool:
    """Tell whether a key may be repeated: a number, or what looks like a name, for one that is almost always is one."""
    if isinstance(key, str):
        return bool(SHOWN_KEY.fullmatch(key) or _FIGURED.fullmatch(key))
    return isinstance(key, int) and not isinstance(key, bool) and abs(key) < 10**19


_KINDS: tuple[tuple[Any, str], ...] = (
    (bool, "a boolean"),
    (int, "a number"),
    (float, "a fraction"),
    (str, "a string"),
    (Mapping, "a mapping"),
    ((list, tuple), "a list"),
    (Set, "a set"),
    (datetime.datetime, "a date with a time"),
    (datetime.date, "a date"),
    ((bytes, bytearray), "binary data"),
)


def kind(value: object) -> str:
    """Name the kind of a value in the words of YAML, without showing the value (it may be a secret)."""
    if value is None:
        return "nothing"
    # By what a value is, not by its type's name: what YAML makes of 2024-01-01 has one of ansible-core's own.
    return next((name for python_type, name in _KINDS if isinstance(value, python_type)), "no plain value")


def described(value: object) -> str:
    """Name the kind of a value and show it where that helps: ``the string '8500'``, ``the number 3``, ``a list``.

    Only for values of fields in which no secret is to be expected.
    """
    if isinstance(value, bool):
        return f"the boolean {str(value).lower()}"
    if isinstance(value, float) or (isinstance(value, int) and abs(value) < 10**19):
        return f"the {kind(value)[2:]} {value!r}"
    if isinstance(value, int):
        return "a number beyond 64 bits"
    if isinstance(value, str) and SHOWN.fullmatch(value):
        return f"the string {str(value)!r}"
    return kind(value)


def quoted(value: object) -> str:
    """Return a value in quotes where ``described`` would show it: ``'8500'``; otherwise its kind alone."""
    return repr(str(value)) if isinstance(value, str) and SHOWN.fullmatch(value) else described(value)


def shown(value: object) -> str:
    """Return ``described``, with any text in full: for what the authors of roles write, which is no secret."""
    return f"the string {str(value)!r}" if isinstance(value, str) else described(value)


def unknown_key(path: str, key: object, of: str, known: Iterable[str]) -> WishError:
    """Return the refusal of an unknown key."""
    known = list(known)
    guess = nearest(key, known)
    remedy = guess or f"the keys of {of} are {', '.join(known)}"
    if not guess and not is_shown(key):
        return WishError(path, f"holds a key that is not one of {of}", remedy)
    return WishError(f"{path}.{key}", f"is not a key of {of}", remedy)
