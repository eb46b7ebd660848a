# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Entries of HAProxy's maps, changed in the file and in the running process in one step.

The process knows nothing of the file until its next reload, and the file nothing of what was said to the process: one
without the other is a change that a reload takes back, or a boot brings.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from typing import Any

from ..disk import durable, plain_files
from ..errors import WishError
from ..visible_text import told
from . import runtime

# HAProxy separates commands by semicolons and words by blanks.
_WORD = re.compile(r"[A-Za-z0-9._:/@+=-]{1,200}")
_PATH = re.compile(r"/[A-Za-z0-9._/-]{1,200}")
MOST_BYTES = 16 << 20

Ask = Callable[[str], str]


def check(wanted: Mapping[str, Any]) -> None:
    """Refuse what cannot be the entries of maps, by path; raises WishError."""
    for path, pairs in wanted.items():
        if not _PATH.fullmatch(path):
            raise WishError("maps", "holds a key that is no path of a map", "write the map's path on the host")
        if not isinstance(pairs, Mapping):
            raise WishError(f"maps.{path}", "is no mapping", "write entries as KEY: VALUE")
        for key, value in pairs.items():
            if not all(_WORD.fullmatch(str(word)) for word in (key, value)):
                raise WishError(
                    f"maps.{path}",
                    "holds an entry that HAProxy would not take as two words",
                    "use A-Z a-z 0-9 ._:/@+=-",
                )


def put(wanted: Mapping[str, Mapping[str, Any]], ask: Ask, check_mode: bool = False) -> dict[str, dict[str, Any]]:
    """Set entries of maps, and return those that differed, by path: ``{key: {file, running, wanted}}``.

    Raises WishError for a map that does not exist, RuntimeError if HAProxy does not keep what it was told; the file is
    then as before.
    """
    check(wanted)
    changed = {}
    for path, pairs in wanted.items():
        entries = {str(key): str(value) for key, value in pairs.items()}
        text = _read(path)
        written, running = in_file(text), runtime.entries(ask(f"show map {path}"), path)
        differing = {
            key: {"file": written.get(key), "running": running.get(key), "wanted": value}
            for key, value in entries.items()
            if (written.get(key), running.get(key)) != (value, value)
        }
        if differing:
            changed[path] = differing
        if differing and not check_mode:
            _put(path, text, {key: entries[key] for key in differing}, running, ask)
    return changed


def in_file(text: str) -> dict[str, str]:
    """Return the entries of a map's file; the first of a key counts, as it does for HAProxy."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        key, _blank, value = line.strip().partition(" ")
        if key and not key.startswith("#"):
            found.setdefault(key, value.strip())
    return found


def with_entries(text: str, entries: Mapping[str, str]) -> str:
    """Return the text of a map's file with these entries: each in its place, and new ones at the end."""
    lines, left = [], dict(entries)
    for line in text.splitlines():
        key = line.strip().partition(" ")[0]
        lines.append(f"{key} {left.pop(key)}" if key in left else line)
    return "\n".join([*lines, *(f"{key} {value}" for key, value in left.items())]) + "\n"


def _put(path: str, text: str, entries: Mapping[str, str], running: Mapping[str, str], ask: Ask) -> None:
    kept = os.stat(path)
    owner, mode = (kept.st_uid, kept.st_gid), kept.st_mode & 0o7777
    durable.write(path, with_entries(text, entries).encode(), mode, owner)
    try:
        for key, value in entries.items():
            said = ask(f"{'set' if key in running else 'add'} map {path} {key} {value}").strip()
            if said:
                raise RuntimeError(f"{path}: HAProxy does not take {key} ({told(said, 200)})")
        now = runtime.entries(ask(f"show map {path}"), path)
        lost = sorted(key for key, value in entries.items() if now.get(key) != value)
        if lost:
            raise RuntimeError(f"{path}: HAProxy has not kept {', '.join(lost)} as it was told")
    except RuntimeError:
        durable.write(path, text.encode(), mode, owner)
        raise


def _read(path: str) -> str:
    try:
        return plain_files.read(path, MOST_BYTES).decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not text"
        raise WishError(
            path, f"the map cannot be read ({reason})", "apply the gateway with playbooks/gateway.yml"
        ) from None
