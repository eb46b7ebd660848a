# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The one error that users of the collection see, and the helpers that word it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

from ansible_collections.tfserving.fleet.plugins.module_utils.visible_text import visible

# How alike two names must be (difflib ratio, 0..1) before one is offered for the other. The library's own
# default of 0.6 finds transpositions, missing words and plural slips in snake_case names, and stays silent
# on words that merely share a suffix such as "_threads".
LIKENESS = 0.6

# Longest piece of a user's string repeated in a message: a whole path still fits, a pasted certificate does not.
SHOWN = 80


class WishError(ValueError):
    """A wish that cannot be granted: where it stands, what is wrong with it and what to write instead.

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


def nearest(word: object, known: Iterable[str]) -> str:
    """Return ``did you mean 'x'?`` for the known name most like ``word``, or an empty string."""
    found = difflib.get_close_matches(str(word), sorted(known), n=1, cutoff=LIKENESS)
    return f"did you mean '{found[0]}'?" if found else ""


def kind(value: object) -> str:
    """Name the kind of a value in the words of YAML, without showing the value (it may be a secret)."""
    if value is None:
        return "nothing"
    names = ((bool, "a boolean"), (int, "a number"), (float, "a fraction"), (str, "a string"), (Mapping, "a mapping"))
    for python_type, name in names:
        if isinstance(value, python_type):
            return name
    return "a list" if isinstance(value, (list, tuple)) else f"a {type(value).__name__}"


def described(value: object) -> str:
    """Name the kind of a value and show it where that helps: ``the string '8500'``, ``the number 3``, ``a list``."""
    if isinstance(value, bool):
        return f"the boolean {str(value).lower()}"
    if isinstance(value, (int, float)):
        return f"the {kind(value)[2:]} {value!r}"
    if isinstance(value, str):
        text = str(value)
        return f"the string {text!r}" if len(text) <= SHOWN else f"a string of {len(text)} characters"
    return kind(value)
