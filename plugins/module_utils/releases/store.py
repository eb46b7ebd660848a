# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The releases on a host's disk: what is there, and the only ways in which it changes.

``root/ID/`` holds ``rootfs/`` and ``release.json``, which is written last: a directory that has both is complete and
never changes again. Unfinished or doomed releases have names that begin with a dot.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ..disk import folders, plain_files
from ..disk.archive_entries import MIB, in_mib
from ..disk.archives import free_bytes
from ..errors import WishError
from .tree import inside, runnable

LOCK = ".lock"
STAGING = ".staging-"
DELETED = ".deleted-"
RECORD = "release.json"
# A record has some hundred bytes.
MOST_RECORD_BYTES = 1 << 20
TREE = "rootfs"
LOCK_PAUSE_S = 0.5


@dataclass(frozen=True)
class Store:
    """The directory that holds one directory a release."""

    root: str

    def path(self, release: str) -> str:
        return os.path.join(self.root, release)

    def record(self, release: str) -> dict[str, Any]:
        """Return what was recorded when a release was published; empty where there is none to be read."""
        try:
            found = plain_files.json_of(os.path.join(self.path(release), RECORD), MOST_RECORD_BYTES)
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) and found.get("id") == release else {}

    def releases(self) -> list[str]:
        """Return the names of all complete releases, the newest (last published) first."""
        names = [name for name in _names(self.root) if "@" in name and self.record(name)]
        return sorted(names, key=lambda name: (self._published(name), name), reverse=True)

    def present(self, plan: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the release that a plan means, or None where it is not there.

        Raises WishError for one that is there and is not what it should be: what may be running is never repaired.
        """
        path = self.path(plan["id"])
        if not os.path.lexists(path):
            return None
        remedy = "remove it once nothing runs from it, then run again"
        record = self.record(plan["id"])
        if not record:
            raise WishError(path, f"has no readable {RECORD}", remedy)
        if plan["digest"] and record.get("digest") != plan["digest"]:
            raise WishError(path, f"was made from {record.get('digest')}, not from {plan['digest']}", remedy)
        binary = inside(os.path.join(path, TREE), plan["binary"]) if plan["chroot"] else plan["binary"]
        if not runnable(binary):
            raise WishError(path, f"holds no executable {plan['binary']}", remedy)
        return {**record, "binary": plan["binary"], "path": path}

    def leftovers(self) -> list[str]:
        """Return the paths that runs which died have left behind; call with the lock held, or they may live."""
        return [self.path(name) for name in _names(self.root) if name.startswith((STAGING, DELETED))]

    @contextmanager
    def lock(self, patience_s: float = 0) -> Iterator[None]:
        """Hold the store for this run; after ``patience_s`` of waiting for another run, refuse.

        What a killed controller has begun goes on for a while on the host: its successor waits for that.
        """
        folders.make(self.root)
        handle = os.open(self.path(LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            deadline = time.monotonic() + patience_s
            while not _locked(handle):
                if time.monotonic() >= deadline:
                    problem = "another run is working on the releases of this host"
                    raise WishError(self.root, problem, "wait for its end, then run again")
                time.sleep(LOCK_PAUSE_S)
            yield
        finally:
            os.close(handle)

    # --- space ---

    def free(self) -> int:
        """Return the bytes that may still be written on the store's file system."""
        return free_bytes(self.root)

    def require(self, needed: int, where: str) -> None:
        """Raise WishError where fewer than ``needed`` bytes are free."""
        if needed > self.free():
            raise self.too_full(needed, where)

    def too_full(self, needed: int | None, where: str) -> WishError:
        """Return the refusal for want of space; None for an unknown need."""
        wanted = "more" if needed is None else in_mib(needed)
        problem = f"the release needs {wanted} and {self.free() // MIB} MiB are free under {self.root}"
        return WishError(where, problem, "free space there, or keep fewer releases")

    # --- changes ---

    @contextmanager
    def staging(self, release: str) -> Iterator[str]:
        """Make the private directory that becomes a release; what is left of it is gone afterwards."""
        path = self.path(f"{STAGING}{release}")
        os.mkdir(path, 0o700)
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)

    def publish(self, staged: str, record: Mapping[str, Any]) -> None:
        """Make the staged directory the release of its record; at no moment is less than all of it to be seen."""
        with open(os.path.join(staged, RECORD), "w", encoding="utf-8") as file:
            json.dump(record, file, indent=2, sort_keys=True)
            file.write("\n")
            os.fchmod(file.fileno(), 0o644)
        os.chmod(os.path.join(staged, TREE), 0o755)
        os.chmod(staged, 0o755)
        _sync_all(staged)
        os.rename(staged, self.path(record["id"]))
        _sync(self.root)

    def remove(self, release: str) -> None:
        """Take a release away by a rename, then delete it."""
        doomed = self.path(f"{DELETED}{release}")
        os.rename(self.path(release), doomed)
        _sync(self.root)
        shutil.rmtree(doomed)

    def sweep(self) -> list[str]:
        """Delete what dead runs have left behind and return the names; call with the lock held."""
        found = self.leftovers()
        for path in found:
            shutil.rmtree(path)
        return [os.path.basename(path) for path in found]

    def _published(self, release: str) -> int:
        return os.stat(os.path.join(self.path(release), RECORD)).st_mtime_ns


def _locked(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _names(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except FileNotFoundError:
        return []


def _sync(directory: str) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sync_all(directory: str) -> None:
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
