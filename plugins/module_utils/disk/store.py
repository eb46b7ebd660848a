# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A directory of trees that never change once they are there: each appears by one rename and goes by another.

What is unfinished or doomed lies under a name that begins with a dot, and is swept by the next run. Whoever changes
anything holds the lock.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ..errors import WishError
from . import durable, folders
from .space import free_bytes

LOCK = ".lock"
STAGING = ".staging-"
DELETED = ".deleted-"
LOCK_PAUSE_S = 0.5


@dataclass(frozen=True)
class Store:
    """The directory; what is kept in it has a class of its own, which says who is ``busy``."""

    root: str

    def busy(self) -> Exception:
        """Return the refusal where another run holds the store."""
        raise NotImplementedError

    @contextmanager
    def lock(self, patience_s: float = 0) -> Iterator[None]:
        """Hold the store for this run; after ``patience_s`` of waiting for another run, refuse.

        What a killed controller has begun goes on for a while on the host: its successor may wait for that.
        """
        folders.make(self.root)
        handle = os.open(os.path.join(self.root, LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            deadline = time.monotonic() + patience_s
            while not _locked(handle):
                if time.monotonic() >= deadline:
                    raise self.busy()
                time.sleep(LOCK_PAUSE_S)
            yield
        finally:
            os.close(handle)

    def free(self) -> int:
        """Return the bytes that unprivileged writers may still use on the store's file system."""
        return free_bytes(self.root)

    @staticmethod
    @contextmanager
    def stage(path: str) -> Iterator[str]:
        """Make the private directory on the way to ``path``; what is left of it is gone afterwards."""
        staged = _beside(path, STAGING)
        os.mkdir(staged, 0o700)
        try:
            yield staged
        finally:
            shutil.rmtree(staged, ignore_errors=True)

    @staticmethod
    def reveal(staged: str, path: str) -> None:
        """Make a staged tree, which is on the disk, what is at ``path``: at no moment is less than all to be seen."""
        os.rename(staged, path)
        durable.sync(os.path.dirname(path))

    @staticmethod
    def withdraw(path: str) -> str:
        """Take what is at ``path`` out of everybody's sight; return where it awaits its end."""
        doomed = _beside(path, DELETED)
        os.rename(path, doomed)
        durable.sync(os.path.dirname(path))
        return doomed

    @staticmethod
    def unfinished(folder: str) -> list[str]:
        """Return the paths that a run which died has left behind; call with the lock held, or they may live."""
        return [os.path.join(folder, name) for name in names(folder) if name.startswith((STAGING, DELETED))]

    @staticmethod
    def discard(path: str) -> None:
        """Delete a file, a link (never what it points to) or a tree."""
        if not os.path.isdir(path) or os.path.islink(path):
            os.unlink(path)
            return
        try:
            shutil.rmtree(path)
        except RecursionError:  # nothing that was published here is that deep
            raise WishError(path, "has too many directories within each other", "remove it by hand") from None


def names(directory: str) -> list[str]:
    """Return the names in a directory, sorted; none where it is not there."""
    try:
        return sorted(os.listdir(directory))
    except FileNotFoundError:
        return []


def _beside(path: str, prefix: str) -> str:
    folder, name = os.path.split(path)
    return os.path.join(folder, f"{prefix}{name}")


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
