# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A directory of immutable trees: each appears by one rename and disappears by another.

Unfinished and withdrawn trees have names that begin with a dot, and the next run removes them. Every change needs the
lock.
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
    """The directory. Each kind of content has a subclass, which words the refusal when it is ``busy``."""

    root: str

    def busy(self) -> Exception:
        """Return the refusal for a store that another run has locked."""
        raise NotImplementedError

    @contextmanager
    def lock(self, patience_s: float = 0) -> Iterator[None]:
        """Lock the store for this run; refuse after waiting ``patience_s`` for another run.

        What a killed controller started continues on the host for a while; the run after it may wait for that.
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
        """Make the private staging directory for ``path``; remove what is left of it afterwards."""
        staged = _beside(path, STAGING)
        os.mkdir(staged, 0o700)
        try:
            yield staged
        finally:
            shutil.rmtree(staged, ignore_errors=True)

    @staticmethod
    def reveal(staged: str, path: str) -> None:
        """Move a staged tree, already synced to disk, to ``path`` in one rename: nobody ever sees part of it."""
        os.rename(staged, path)
        durable.sync(os.path.dirname(path))

    @staticmethod
    def withdraw(path: str) -> str:
        """Rename the tree at ``path`` out of sight; return where it awaits deletion."""
        doomed = _beside(path, DELETED)
        os.rename(path, doomed)
        durable.sync(os.path.dirname(path))
        return doomed

    @staticmethod
    def unfinished(folder: str) -> list[str]:
        """Return the paths that dead runs have left behind. The lock must be held, or they may be in use."""
        return [os.path.join(folder, name) for name in names(folder) if name.startswith((STAGING, DELETED))]

    @staticmethod
    def discard(path: str) -> None:
        """Delete a file, a link (never what it points to) or a tree."""
        if not os.path.isdir(path) or os.path.islink(path):
            os.unlink(path)
            return
        try:
            shutil.rmtree(path)
        except RecursionError:  # no tree published here is that deep
            raise WishError(path, "has too many directories within each other", "remove it by hand") from None


def names(directory: str) -> list[str]:
    """Return the names in a directory, sorted; empty if it is missing."""
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
