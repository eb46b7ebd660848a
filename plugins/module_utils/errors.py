# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The error that users of the collection see, the error it is made from, and the helpers that word both."""

from __future__ import annotations

import datetime
import difflib
import re
from collections.abc import Iterable, Mapping, Set
from typing import Any

from .visible_text import visible

# The similarity (difflib ratio, 0..1) above which one name is suggested for another. difflib's default of 0.6 finds
# transpositions, missing words and plural slips in snake_case names, and ignores words that merely share a suffix such
# as "_threads".
LIKENESS = 0.6

# User text that a message may repeat: short words such as names, versions and choices. No address, header or line of a
# key matches; where a password could stand, nothing is repeated at all (``kind``).
SHOWN = re.compile(r"[A-Za-z0-9._/-]{0,24}")
# Mapping keys that a message may repeat: misspelt names. ``{TOKEN=abc}`` is a mapping too, with a secret as its key.
SHOWN_KEY = re.compile(r"[A-Za-z][A-Za-z_-]{0,39}")
# Names with a digit or two, such as slo_p99_ms, and versions such as 2.19.1.
_FIGURED = re.compile(r"[a-z_]+[0-9]{1,3}[a-z_]*|[0-9]+(\.[0-9]+){0,3}")
# Names are compared by their first characters only: the comparison is quadratic in their length.
LONGEST_NAME = 64


class WishError(ValueError):
    """A wish that cannot be granted: where it stands, what is wrong with it and what to write instead.

    ``str(error)`` is one sentence, ``path: problem; remedy``. An empty path or remedy is left out.
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
    """A problem with one artifact and its remedy: a WishError whose path only the caller knows.

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
    """Return ``did you mean 'x'?`` for the known name closest to ``word``, or an empty string."""
    if not isinstance(word, str):
        return ""
    found = difflib.get_close_matches(word[:LONGEST_NAME], sorted(known), n=1, cutoff=LIKENESS)
    return f"did you mean '{found[0]}'?" if found else ""


def key_path(path: str, key: object) -> str:
    """Return the path of a mapping's entry; a key that may be a misplaced secret is not shown."""
    return f"{path}.{key}" if is_shown(key) else f"{path}.(a key)"


def is_shown(key: object) -> bool:
    """Return whether a key may be repeated: a number, or text that looks like a name, since it almost always is one."""
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
    """Return the kind of a value in YAML's terms without showing the value, which may be a secret."""
    if value is None:
        return "nothing"
    # Checked with isinstance, not by type name: ansible-core has its own type for YAML's 2024-01-01.
    return next((name for python_type, name in _KINDS if isinstance(value, python_type)), "no plain value")


def described(value: object) -> str:
    """Return the kind of a value, with the value where that helps: ``the string '8500'``, ``the number 3``, ``a list``.

    Only for values of fields that are not expected to hold secrets.
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
    """Return a value in quotes where ``described`` would show it (``'8500'``), otherwise only its kind."""
    return repr(str(value)) if isinstance(value, str) and SHOWN.fullmatch(value) else described(value)


def shown(value: object) -> str:
    """Return ``described`` with the full text of a string: for the texts of role authors, which are not secret."""
    return f"the string {str(value)!r}" if isinstance(value, str) else described(value)


def unknown_key(path: str, key: object, of: str, known: Iterable[str]) -> WishError:
    """Return the refusal of an unknown key."""
    known = list(known)
    guess = nearest(key, known)
    remedy = guess or f"the keys of {of} are {', '.join(known)}"
    if not guess and not is_shown(key):
        return WishError(path, f"holds a key that is not one of {of}", remedy)
    return WishError(f"{path}.{key}", f"is not a key of {of}", remedy)
