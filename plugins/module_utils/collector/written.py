# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Files that the collector replaces: complete at every moment, but not worth a wait for the disk."""

from __future__ import annotations

import os
from contextlib import suppress


def replace(path: str, content: bytes, mode: int) -> None:
    """Replace the file at ``path`` by a rename within its directory, which must exist. Raises OSError.

    Nothing is synced: after a power loss the next run writes it anew. The directory of the text files may lie in one
    that belongs to node exporter's account, so no link is followed there and the name of a staged file is never taken
    over from anybody.
    """
    folder, name = os.path.split(path)
    staged = f".{name}.new"
    place = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        with suppress(FileNotFoundError):
            os.unlink(staged, dir_fd=place)
        _stage(staged, content, mode, place)
        os.rename(staged, name, src_dir_fd=place, dst_dir_fd=place)
    finally:
        os.close(place)


def _stage(staged: str, content: bytes, mode: int, place: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(staged, flags, 0o600, dir_fd=place), "wb") as file:
        file.write(content)
        os.fchmod(file.fileno(), mode)
