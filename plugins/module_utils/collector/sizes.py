# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The size of each version on disk. A version never changes once it is published, so each is measured once."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping

from .host import Host

# Room for models of many thousands of small files; what is larger has no size here.
MOST_ENTRIES = 20_000
MOST_VERSIONS = 20
_VERSION = re.compile(r"[0-9]{1,19}")
_KEPT = {str: {"inode": int, "changed": int, "bytes": int}}


def of(host: Host) -> Mapping[str, int]:
    """Return the bytes of each version of the plan's models, by MODEL/VERSION."""
    found: Mapping[str, int] = host.shared("sizes", lambda: _measured(host))
    return found


def _measured(host: Host) -> dict[str, int]:
    before = host.state.section("sizes", _KEPT)
    kept = {}
    for name, path in _versions(host):
        try:
            entry = os.stat(path)
            mark = {"inode": entry.st_ino, "changed": entry.st_mtime_ns}
            known = before.get(name, {})
            same = all(known.get(key) == value for key, value in mark.items())
            kept[name] = known if same else {**mark, "bytes": _size(path)}
        except (OSError, OverflowError):
            continue  # gone meanwhile, or too much to count
    host.state.keep("sizes", kept)
    return {name: each["bytes"] for name, each in kept.items()}


def _versions(host: Host) -> Iterator[tuple[str, str]]:
    root = host.plan["paths"]["models"].lstrip("/")
    for model in sorted({model for each in host.instances for model in each["models"]}):
        names = [name for name in host.tree.names(f"{root}/{model}") if _VERSION.fullmatch(name)]
        for name in sorted(names, key=int)[-MOST_VERSIONS:]:
            yield f"{model}/{int(name)}", host.tree.path(f"{root}/{model}/{name}")


def _size(path: str) -> int:
    """Return the bytes of a directory. Raises OverflowError for more than MOST_ENTRIES."""
    total, count, folders = 0, 0, [path]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                count += 1
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                elif entry.is_file(follow_symlinks=False):
                    total += entry.stat(follow_symlinks=False).st_size
        if count > MOST_ENTRIES:
            raise OverflowError
    return total
