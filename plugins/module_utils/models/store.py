# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The model repository on a host's disk: its content, and the only ways in which it changes.

``root/MODEL/VERSION/`` is what the server polls, once a second, taking up every directory whose name is a
number, complete or not. Hence everything unfinished has a name that begins with a dot, a version
appears by one rename and goes by another, and once it is there it never changes.
``root/MODEL/.published/VERSION.json`` remembers where a version came from, and since when it is known to have served.
A version that has never served is used by no one: where its source has other content now, it is replaced.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from ..disk import folders, plain_files
from ..disk.archive_entries import MIB, RefusalError, in_mib
from ..disk.archives import MAX_DEPTH, MAX_MEMBERS, Survey, free_bytes
from ..saved_model.version_names import number

LOCK = ".lock"
MARKERS = ".published"
# A marker has some hundred bytes, the longest of them an address.
MOST_MARKER_BYTES = 1 << 20
STAGING = ".staging-"
DELETED = ".deleted-"


@dataclass(frozen=True)
class Attributes:
    """Owner and modes of what is published; -1 leaves an owner as it is."""

    uid: int = -1
    gid: int = -1
    directory_mode: int = 0o755
    file_mode: int = 0o644

    def differ(self, found: os.stat_result, mode: int) -> bool:
        wrong_owner = (self.uid not in (-1, found.st_uid)) or (self.gid not in (-1, found.st_gid))
        return wrong_owner or stat.S_IMODE(found.st_mode) != mode

    def settle(self, handle: int) -> None:
        """Give the open file or directory its owner and mode, and bring it to the disk."""
        found = os.fstat(handle)
        mode = self.directory_mode if stat.S_ISDIR(found.st_mode) else self.file_mode
        if self.differ(found, mode):
            os.fchown(handle, self.uid, self.gid)
            os.fchmod(handle, mode)
        os.fsync(handle)


@dataclass(frozen=True)
class Store:
    """The directory that holds one base path a model. ``margin`` bytes of its file system stay free."""

    root: str
    attributes: Attributes = Attributes()
    margin: int = 0

    def base(self, model: str) -> str:
        return os.path.join(self.root, model)

    def named(self, model: str) -> dict[int, list[str]]:
        """Return what the server would find: by version the names that it may lie under, `7` and `007` being one."""
        found: dict[int, list[str]] = {}
        for name in _names(self.base(model)):
            version = number(name)
            if version is not None:
                found.setdefault(version, []).append(name)
        return found

    def versions(self, model: str) -> list[int]:
        """Return the versions that the server would find, ascending; files with a number for a name are none."""
        base, named = self.base(model), self.named(model)
        return sorted(version for version, names in named.items() if os.path.isdir(_place(base, names)))

    def place(self, model: str, version: int) -> str:
        """Return the directory of a version, which others may have named with zeros before its number."""
        return _place(self.base(model), self.named(model).get(version, [str(version)]))

    def marker(self, model: str, version: int) -> dict[str, Any]:
        """Return what was recorded when the version was published; empty for one put there by hand."""
        try:
            record = plain_files.json_of(self._marker(model, version), MOST_MARKER_BYTES)
        except (FileNotFoundError, ValueError):
            return {}
        return record if isinstance(record, dict) else {}

    def leftovers(self, model: str) -> list[str]:
        """Return the paths that a run which died has left behind; call with the lock held, or they may live."""
        base = self.base(model)
        found = [name for name in _names(base) if name.startswith((STAGING, DELETED))]
        owned = {f"{version}.json" for version in self.versions(model)}
        orphans = [name for name in _names(os.path.join(base, MARKERS)) if name not in owned]
        return [os.path.join(base, name) for name in found] + [os.path.join(base, MARKERS, name) for name in orphans]

    def drifted(self, path: str) -> bool:
        """Return whether the directory is missing or has another owner or mode than it should."""
        try:
            return self.attributes.differ(os.stat(path), self.attributes.directory_mode)
        except FileNotFoundError:
            return True

    def ensure(self, path: str) -> None:
        """Make the directory, with its parents, and settle its owner and mode."""
        folders.make(path)
        with _directory(path) as handle:
            self.attributes.settle(handle)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the store for this run; another run on the same host is refused, not waited for."""
        handle = os.open(os.path.join(self.root, LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RefusalError(
                    f"another run is publishing models in {self.root}", "wait for its end, then run again"
                ) from None
            yield
        finally:
            os.close(handle)

    def prove(self, model: str, version: int) -> None:
        """Record that a version has served: from now on it is immutable."""
        self._record(model, version, {**self.marker(model, version), "proven": now()})

    # --- space ---

    def free(self) -> int:
        """Return the bytes that unprivileged writers may still use on the store's file system."""
        return free_bytes(self.root)

    def room(self) -> int:
        """Return the bytes that may be written with the margin left untouched."""
        return max(0, self.free() - self.margin)

    def require(self, size: int) -> None:
        if size > self.room():
            raise self.too_full(size)

    def too_full(self, size: int | None) -> RefusalError:
        """Return the refusal of something of ``size`` bytes (None: unknown) for want of space."""
        needed = "more" if size is None else in_mib(size)
        kept = f" (min_free_mb keeps {in_mib(self.margin)} of them)" if self.margin else ""
        return RefusalError(
            f"it needs {needed} and {self.free() // MIB} MiB are free under {self.root}{kept}",
            "free space there, or keep fewer versions",
        )

    # --- changes ---

    @contextmanager
    def staging(self, model: str, version: int) -> Iterator[str]:
        """Make a private directory on the way to a version; it is gone afterwards, whatever happens."""
        path = tempfile.mkdtemp(prefix=f"{STAGING}{version}-", dir=self.base(model))
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)

    def seal(self, tree: str) -> None:
        """Give a staged tree its owners and modes and bring all of it to the disk."""
        for folder, _directories, files in os.walk(tree, topdown=False):
            for name in files:
                handle = os.open(os.path.join(folder, name), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
                try:
                    self.attributes.settle(handle)
                finally:
                    os.close(handle)
            with _directory(folder) as handle:
                self.attributes.settle(handle)

    def publish(self, model: str, version: int, tree: str, record: Mapping[str, Any]) -> None:
        """Make the sealed ``tree`` the version; at no moment is less than all of it to be seen.

        The marker goes first: a crash in between leaves a marker without a version, which the next run sweeps
        away, and never a version whose checksum is unknown.
        """
        target = self.place(model, version)
        if os.path.lexists(target):
            raise RefusalError(f"{target} has appeared meanwhile", "run again")
        self._record(model, version, record)
        try:
            os.rename(tree, target)
        except OSError:
            with suppress(OSError):
                os.unlink(self._marker(model, version))
            raise
        _sync(self.base(model))

    def remove(self, model: str, version: int) -> None:
        """Take a version out of the server's sight by a rename, then delete it."""
        base = self.base(model)
        doomed = tempfile.mkdtemp(prefix=f"{DELETED}{version}-", dir=base)
        os.rename(self.place(model, version), os.path.join(doomed, "tree"))
        _sync(base)
        with suppress(FileNotFoundError):
            os.unlink(self._marker(model, version))
        self.sweep(doomed)

    @staticmethod
    def sweep(path: str) -> None:
        """Delete a file, a link (never what it points to) or a tree."""
        if not os.path.isdir(path) or os.path.islink(path):
            os.unlink(path)
            return
        try:
            shutil.rmtree(path)
        except RecursionError:  # nothing that was published here is that deep
            raise RefusalError(f"{path} has too many directories within each other", "remove it by hand") from None

    def _marker(self, model: str, version: int) -> str:
        return os.path.join(self.base(model), MARKERS, f"{version}.json")

    def _record(self, model: str, version: int, record: Mapping[str, Any]) -> None:
        path = self._marker(model, version)
        folder = os.path.dirname(path)
        self.ensure(folder)
        handle, draft = tempfile.mkstemp(prefix=f".{version}-", dir=folder)
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(record, file, indent=2, sort_keys=True)
                file.write("\n")
                file.flush()
                self.attributes.settle(file.fileno())
            os.rename(draft, path)
        except OSError:
            with suppress(OSError):
                os.unlink(draft)
            raise
        _sync(folder)


def _place(base: str, names: Sequence[str]) -> str:
    places = [os.path.join(base, name) for name in names]
    return next(filter(os.path.isdir, places), places[0])


def now() -> str:
    """Return the time as records have it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def listing(directory: str) -> Survey:
    """Return the content of a version that was put there by hand, following its links as the server would."""
    found = Survey()
    left: list[tuple[str, tuple[str, ...]]] = [("", ())]
    while left:
        inner, above = left.pop()
        real = os.path.realpath(os.path.join(directory, inner))
        if real in above or len(above) > MAX_DEPTH or len(found.files) + len(found.directories) > MAX_MEMBERS:
            raise RefusalError("its links lead in a circle, or it holds far more than a SavedModel", "check its links")
        for name in _names(real):
            path = os.path.join(inner, name)
            if os.path.isdir(os.path.join(real, name)):
                found.directories.add(path)
                left.append((path, (*above, real)))
            else:
                found.files[path] = _size(os.path.join(real, name))
    return found


def _size(path: str) -> int:
    try:
        return os.path.getsize(path)
    except OSError:  # a link that leads nowhere, or to itself
        return 0


def _names(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except FileNotFoundError:
        return []


@contextmanager
def _directory(path: str) -> Iterator[int]:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield handle
    finally:
        os.close(handle)


def _sync(directory: str) -> None:
    """Bring the names in a directory to the disk."""
    with _directory(directory) as handle:
        os.fsync(handle)
