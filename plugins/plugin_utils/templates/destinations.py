# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Paths on the host that the templates of a tree produce."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError, nearest, shown
from ansible_collections.tfserving.fleet.plugins.module_utils.tree.change import (
    SAFE_NAME,
    SAFE_NAMES,
    matcher,
    parents,
)

SUFFIX = ".j2"

_PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}", re.ASCII)

Entry = Mapping[str, Any]

# By path on the host: its template, and the entry for each placeholder in the template's path.
Destinations = dict[str, tuple[str, dict[str, Entry]]]


def sources(root: str) -> Iterator[str]:
    """Yield every file below a directory by its path relative to it, in order."""
    for folder, folders, names in os.walk(root, onerror=_unreadable):
        folders.sort()
        for name in folders:
            if os.path.islink(os.path.join(folder, name)):
                path = os.path.join(folder, name)
                raise WishError(path, "is a link to a directory, which a tree does not follow", "make it a directory")
        for name in sorted(names):
            path = os.path.join(folder, name)
            if not os.path.isfile(path):
                raise WishError(path, "is neither a file nor a link to one", "remove it from the tree")
            yield os.path.relpath(path, root)


def expansions(source: str, expand: Mapping[str, list[Entry]]) -> Iterator[tuple[str, dict[str, Entry]]]:
    """Yield each path that a template produces, with the entry for every placeholder in it."""
    path = source[: -len(SUFFIX)] if source.endswith(SUFFIX) else source
    placeholders = sorted(set(_PLACEHOLDER.findall(path)))
    for placeholder in placeholders:
        if placeholder not in expand:
            remedy = nearest(placeholder, expand) or "add it there or rename the file"
            raise WishError(source, f"'expand' says nothing of {{{placeholder}}}", remedy)
    for chosen in itertools.product(*(expand[placeholder] for placeholder in placeholders)):
        entries = dict(zip(placeholders, chosen))
        yield _named(path, entries), entries


def _named(path: str, entries: Mapping[str, Entry]) -> str:
    return _PLACEHOLDER.sub(lambda found: str(entries[found[1]]["name"]), path)


def check_expand(expand: Mapping[str, Any]) -> None:
    """Refuse entries whose names cannot be part of a path."""
    for placeholder, entries in expand.items():
        where = f"expand.{placeholder}"
        if not _PLACEHOLDER.fullmatch(f"{{{placeholder}}}"):
            raise WishError(where, "is not the name of a variable", "use letters, digits and _")
        if not isinstance(entries, list):
            raise WishError(where, f"is {shown(entries)}", "give a list of mappings, each with a name")
        _check_entries(entries, where)


def _check_entries(entries: list[Any], where: str) -> None:
    known: set[str] = set()
    for number, entry in enumerate(entries):
        name = entry.get("name") if isinstance(entry, Mapping) else None
        if not isinstance(name, str) or not SAFE_NAME.fullmatch(name):
            problem = "is missing" if name is None else f"{shown(name)} cannot be part of a path"
            raise WishError(f"{where}[{number}].name", problem, f"use {SAFE_NAMES}")
        if name in known:
            raise WishError(f"{where}[{number}].name", f"'{name}' is there twice", "rename one of the two")
        known.add(name)


def destinations(root: str, expand: Mapping[str, list[Entry]], exclude: list[str]) -> Destinations:
    """Return the paths that the tree's templates produce."""
    excluded = [matcher(pattern) for pattern in exclude]
    found: Destinations = {}
    for source in sources(root):
        if any(matches(source) for matches in excluded):
            continue
        _check_text(source)
        for path, entries in expansions(source, expand):
            if any(matches(path) for matches in excluded):
                continue
            if path in found:
                raise WishError(source, f"makes {path}, as does {found[path][0]}", "keep one of the two")
            found[path] = (source, entries)
    for folder in parents(found):
        if folder in found:
            problem = f"makes the file {folder}, which other templates need as a directory"
            raise WishError(found[folder][0], problem, "rename it")
    return found


def _check_text(source: str) -> None:
    try:
        source.encode()
    except UnicodeEncodeError:
        raise WishError(repr(source), "is not a name in UTF-8", "rename the file") from None


def _unreadable(error: OSError) -> None:
    raise WishError(str(error.filename), f"cannot be read ({error.strerror})", "correct src or the rights") from error
