# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Files that are there whole or not at all, and after a loss of power as well.

The order decides: the content reaches the disk before the name does, and the name before anybody is told of it.
"""

from __future__ import annotations

import ctypes
import errno
import os
from contextlib import suppress

# File systems that have no such thing as a directory on its way to the disk (fsync(2)).
_WITHOUT_SYNC = (errno.EINVAL, errno.EOPNOTSUPP)


def write(path: str, content: bytes, mode: int = 0o644, owner: tuple[int, int] = (-1, -1)) -> None:
    """Put a file in place of what is at ``path``, which keeps all of what it has until then. Raises OSError.

    ``owner`` is the numbers of user and group, -1 for whoever runs this. The directory is there already.
    """
    folder, name = os.path.split(path)
    # One name, so that what a killed run has left is not left for ever.
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
    # Nobody else gets to read it before it has its owner and mode.
    handle = os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        if owner != (-1, -1):
            os.fchown(handle, *owner)
        os.fchmod(handle, mode)
        os.fsync(handle)


def remove(path: str) -> None:
    """Remove a file for good, if there is one. Raises OSError."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
    sync(os.path.dirname(path) or ".")


def sync(directory: str) -> None:
    """Bring the names in a directory to the disk. Raises OSError."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sync_opened(handle)
    finally:
        os.close(handle)


def sync_opened(directory: int) -> None:
    """Bring the names in an open directory to the disk, where its file system knows of that. Raises OSError."""
    try:
        os.fsync(directory)
    except OSError as error:
        if error.errno not in _WITHOUT_SYNC:
            raise


def sync_all(directory: str) -> None:
    """Bring the file system of ``directory`` to the disk: one call for the tens of thousands of files of an image.

    syncfs(2) tells of write errors from Linux 5.8 on. Raises OSError.
    """
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(handle) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), directory)
    finally:
        os.close(handle)
