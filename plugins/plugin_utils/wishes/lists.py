# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Common checks of the two lists of wishes: entries are mappings with a name, and names are unique."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils import errors
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError, kind, quoted
from ansible_collections.tfserving.fleet.plugins.module_utils.refusals import Refusals

from . import checks as fields


def entries(path: str, value: Any, refusals: Refusals) -> list[Any]:
    """Return the entries of a list of wishes; None counts as an empty list."""
    if value is None:
        return []
    if not isinstance(value, (list, tuple)):
        problem = f"is {kind(value)}"
        refusals.add(WishError(path, problem, "give a list of mappings, each beginning with '- name:'"))
        return []
    if len(value) > fields.MOST_ENTRIES:
        problem = f"holds {len(value)} entries"
        refusals.add(WishError(path, problem, f"give at most {fields.MOST_ENTRIES}"))
        return []
    _refuse_repeated_names(path, value, refusals)
    return list(value)


def _refuse_repeated_names(path: str, wishes: Any, refusals: Refusals) -> None:
    first: dict[str, int] = {}
    for position, wish in enumerate(wishes):
        name = wish.get("name") if isinstance(wish, Mapping) else None
        if isinstance(name, str) and first.setdefault(name, position) != position:
            problem = f"repeats {quoted(name)}, the name of {path}[{first[name]}]"
            refusals.add(WishError(f"{path}[{position}].name", problem, "give each a name of its own"))


def entry(
    path: str, wish: Any, of: str, known: Mapping[str, fields.Check], refusals: Refusals
) -> dict[str, Any] | None:
    """Check each key of one wish by itself, and return the given values, or None if the wish is not a mapping."""
    if not isinstance(wish, Mapping):
        refusals.add(WishError(path, f"is {kind(wish)}", f"give {of} as a mapping with a name"))
        return None
    result = {}
    for key, value in wish.items():
        if key not in known:
            refusals.add(errors.unknown_key(path, key, of, known))
        elif value is not None:
            checked = refusals.check(known[key], f"{path}.{key}", value)
            if checked is not None:
                result[str(key)] = checked
    if wish.get("name") is None:
        refusals.add(WishError(f"{path}.name", "is missing", f"give {of} a name"))
    return result
