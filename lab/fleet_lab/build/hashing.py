# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Keys by which finished work is found again, made from its inputs, never from a date."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

IGNORED = ("__pycache__", "tests")  # neither changes what is built
KEY_LENGTH = 12  # hex digits; short enough for an image tag, no clash among the few things of one cache


def key_of(*parts: str | bytes) -> str:
    """Return a short key for a list of texts; ("ab", "c") and ("a", "bc") differ."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big"))
        digest.update(data)
    return digest.hexdigest()[:KEY_LENGTH]


def key_of_files(paths: Iterable[Path], *parts: str) -> str:
    """Return a short key for files (folders are walked): names, contents and executable bits, plus further texts."""
    entries: list[str | bytes] = list(parts)
    for path in paths:
        for file in files_below(path):
            entries += [str(file.relative_to(path.parent)), str(file.stat().st_mode & 0o111), file.read_bytes()]
    return key_of(*entries)


def files_below(path: Path) -> list[Path]:
    """Return the file itself, or all files of a folder in a fixed order, without compiled Python and tests."""
    if path.is_file():
        return [path]
    found = (file for file in path.rglob("*") if file.is_file())
    return sorted(file for file in found if not set(IGNORED) & set(file.relative_to(path).parts))


def stamped(stamp: Path, key: str) -> bool:
    """Return whether a stamp file holds this key."""
    return stamp.is_file() and stamp.read_text().strip() == key
