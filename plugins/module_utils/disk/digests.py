# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""SHA-256 digests: their notation, and the digest of a file that anybody may have written."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from typing import IO, BinaryIO

from ..errors import RefusalError
from ..visible_text import told

CHUNK = 1024 * 1024
# The notation of everything we write. Users may write capitals: lower-case before comparing.
SHA256 = re.compile(r"[0-9a-f]{64}")

_MOST_SHOWN_LETTERS = 255


def is_sha256(text: object) -> bool:
    """Return whether a text is the 64 hexadecimal digits of a SHA-256, in lower or upper case."""
    return isinstance(text, str) and bool(SHA256.fullmatch(text.lower()))


def file_digest(path: str) -> str:
    """Return the SHA-256 of a regular file. Raises RefusalError for anything else, or if it grows meanwhile."""
    with opened(path) as content:
        return content_digest(content)


def content_digest(content: IO[bytes]) -> str:
    """Return the SHA-256 of an open file, reading no further than its present size."""
    digest = hashlib.sha256()
    left = os.fstat(content.fileno()).st_size
    while chunk := content.read(CHUNK):
        left -= len(chunk)
        if left < 0:
            raise RefusalError("it grows while it is read", "wait until it is whole")
        digest.update(chunk)
    return digest.hexdigest()


def compare(wished: str, found: str) -> None:
    """Refuse a source whose checksum is not the wished one."""
    if wished != found:
        raise RefusalError(
            f"its checksum is {found}, not the wished {wished}",
            "check what changed the source, or correct the wish",
            "source.sha256",
        )


def opened(path: str, directory: int | None = None, flags: int = 0) -> BinaryIO:
    """Open a regular file for reading. Refuse anything else without blocking on a writer."""
    follow = not flags & os.O_NOFOLLOW
    _require_regular(path, os.stat(path, dir_fd=directory, follow_symlinks=follow).st_mode)
    # Non-blocking, and checked again: the file may have been swapped since.
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC | flags, dir_fd=directory)
    try:
        _require_regular(path, os.fstat(handle).st_mode)
    except RefusalError:
        os.close(handle)
        raise
    return os.fdopen(handle, "rb")


def _require_regular(path: str, mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise RefusalError(f"{told(path, _MOST_SHOWN_LETTERS)} is a {_special(mode)}", "give the archive itself")


def _special(mode: int) -> str:
    kinds = {stat.S_IFDIR: "directory", stat.S_IFIFO: "named pipe", stat.S_IFSOCK: "socket"}
    return kinds.get(stat.S_IFMT(mode), "device")
