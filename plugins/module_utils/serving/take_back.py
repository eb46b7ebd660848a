# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The sentence that ends a failed run: what is in force now, instance by instance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

# The states of an instance afterwards.
SERVES = "serves"  # as before this run
KEPT = "kept"  # serves with its new files; it did not serve before
IDLE = "idle"  # did not serve before either
REMOVED = "removed"  # did not exist before this run
FAILED = "failed"  # has its previous files but does not serve


def sentence(outcomes: Sequence[Mapping[str, str]]) -> str:
    """Return what is in force. ``outcomes``: name, state and, for failed instances, the problem."""
    states = (SERVES, KEPT, IDLE, REMOVED)
    named = {state: [one["name"] for one in outcomes if one["state"] == state] for state in states}
    failed = [one for one in outcomes if one["state"] == FAILED]
    parts = [
        _about(named[SERVES], "serves as before this run", "serve as before this run"),
        *(f"{one['name']} has its previous files but does not serve: {one['problem']}" for one in failed),
        _about(
            named[KEPT],
            "keeps its new files and serves with them, which it did not before this run",
            "keep their new files and serve with them, which they did not before this run",
        ),
        _about(
            named[IDLE],
            "has its previous files, with which it did not serve before this run either",
            "have their previous files, with which they did not serve before this run either",
        ),
        _about(
            named[REMOVED],
            "was not there before this run: it is stopped and its files are gone",
            "were not there before this run: they are stopped and their files are gone",
        ),
    ]
    return f"{_head(named, failed)}: {'; '.join(filter(None, parts))}." if outcomes else f"{_NOTHING}."


_NOTHING = "Nothing served before this run, and nothing is left running"


def _head(named: Mapping[str, Sequence[str]], failed: Sequence[object]) -> str:
    if failed:
        return "The previous configuration is back in place but not wholly in force"
    if named[SERVES] or named[IDLE]:
        return "The previous configuration is back in force" if not named[KEPT] else "In force is"
    return "In force is" if named[KEPT] else _NOTHING


def _about(names: Sequence[str], one: str, many: str) -> str:
    if not names:
        return ""
    listed = " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
    return f"{listed} {one if len(names) == 1 else many}"
