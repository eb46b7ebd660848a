# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Where a server writes its log, and which release it is. The server's program is never run for that: what has its name
may be a script that starts a server.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from ..diagnosis.command import Ask
from ..host.sysfs import Tree
from ..visible_text import told
from .inside import Inside

# Standard output and error, to which the server logs.
_STREAMS = (1, 2)
_ROTATION = ("etc/logrotate.conf", "etc/logrotate.d")
_MOST_FILES = 500
_MOST_BYTES = 256 << 10
# A pattern of files stands at the beginning of a section, and before its brace.
_PATTERNS = re.compile(r"[\"']?(/[^\s\"'{}]+)[\"']?")


def log(tree: Tree, inside: Inside) -> dict[str, Any] | None:
    """Return the file that a server logs to, and whether logrotate knows it; None where it logs to no file."""
    for stream in _STREAMS:
        path = _file(tree, inside.pid, stream)
        if path:
            place = path if inside.is_host else inside.on_host(path)
            return {"path": told(path, 1000), "rotated": bool(place) and is_rotated(tree, place or "")}
    return None


def _file(tree: Tree, pid: int, stream: int) -> str:
    """Return the path of the file that a stream goes to; empty for a pipe, a socket, a terminal or nothing."""
    place = tree.path(f"proc/{pid}/fd/{stream}")
    try:
        # The kernel opens what the link stands for, even where nothing has that name any more.
        return os.readlink(place) if stat.S_ISREG(os.stat(place).st_mode) else ""
    except OSError:
        return ""


def is_rotated(tree: Tree, path: str) -> bool:
    """Return whether a section of logrotate is about a file."""
    return any(PurePosixPath(path).match(pattern) for pattern in _patterns(tree))


def _patterns(tree: Tree) -> Iterator[str]:
    one, folder = _ROTATION
    names = [f"{folder}/{name}" for name in tree.names(folder)[:_MOST_FILES]]
    for file in (one, *names):
        content = (tree.data(file, _MOST_BYTES) or b"").decode("utf-8", "replace")
        lines = [line.partition("#")[0].strip() for line in content.splitlines()]
        for line in lines:
            yield from _PATTERNS.findall(line) if line.startswith(("/", '"/', "'/")) else ()


def version(ask: Ask, tree: Tree, inside: Inside) -> str:
    """Return the version of the package that a server's program belongs to; empty where that is unknown."""
    if not inside.is_host:
        return ""
    try:
        exe = os.readlink(tree.path(f"proc/{inside.pid}/exe"))
        owner = (ask(["dpkg-query", "--search", "--", exe]) or "").partition(":")[0].strip()
        found = ask(["dpkg-query", "--show", "--showformat=${Version}", "--", owner]) if owner else ""
    except (OSError, RuntimeError):
        # It has ended, or belongs to no package.
        return ""
    return told((found or "").strip(), 100)
