# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Files that are either complete or absent, even after a power loss.

The order matters: the content reaches the disk before the name does, and the name before anybody is told of it.
"""

from __future__ import annotations

import ctypes
import errno
import os
from contextlib import suppress

# File systems that cannot sync a directory (fsync(2)).
_WITHOUT_SYNC = (errno.EINVAL, errno.EOPNOTSUPP)


def write(path: str, content: bytes, mode: int = 0o644, owner: tuple[int, int] = (-1, -1)) -> None:
    """Replace the file at ``path``, which stays complete until then. Raises OSError.

    ``owner`` is the numeric user and group, -1 for those of this process. The directory must exist.
    """
    folder, name = os.path.split(path)
    # A fixed name, so that the leftover of a killed run is overwritten by the next.
    staged = os.path.join(folder, f".{name}.new")
    with suppress(FileNotFoundError):
        os.unlink(staged)
    try:
        _stage(staged, content, mode, owner)
        os.rename(staged, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(staged)
        raise
    sync(folder or ".")


def _stage(staged: str, content: bytes, mode: int, owner: tuple[int, int]) -> None:
    # Nobody else can read it before it has its owner and mode.
    handle = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        if owner != (-1, -1):
            os.fchown(handle, *owner)
        os.fchmod(handle, mode)
        os.fsync(handle)


def remove(path: str) -> None:
    """Remove a file durably, if it exists. Raises OSError."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
    sync(os.path.dirname(path) or ".")


def sync(directory: str) -> None:
    """Sync the names in a directory to the disk. Raises OSError."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sync_opened(handle)
    finally:
        os.close(handle)


def sync_opened(directory: int) -> None:
    """Sync the names in an open directory to the disk, if its file system supports that. Raises OSError."""
    try:
        os.fsync(directory)
    except OSError as error:
        if error.errno not in _WITHOUT_SYNC:
            raise


def sync_all(directory: str) -> None:
    """Sync the file system of ``directory`` to the disk: one call for the tens of thousands of files of an image.

    syncfs(2) reports write errors since Linux 5.8. Raises OSError.
    """
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(handle) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), directory)
    finally:
        os.close(handle)
