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

import os
import stat
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from ..disk import durable, folders, store
from ..disk.archives import MAX_DEPTH, MAX_MEMBERS, Survey
from ..disk.record import Record, text
from ..disk.space import MIB, in_mib
from ..errors import RefusalError, WishError
from ..saved_model.version_names import number

MARKERS = ".published"
INCOMING = ".incoming-"


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
class Store(store.Store):
    """The directory that holds one base path a model. ``margin`` bytes of its file system stay free."""

    attributes: Attributes = Attributes()
    margin: int = 0

    def base(self, model: str) -> str:
        return os.path.join(self.root, model)

    def named(self, model: str) -> dict[int, list[str]]:
        """Return what the server would find: by version the names that it may lie under, `7` and `007` being one."""
        found: dict[int, list[str]] = {}
        for name in store.names(self.base(model)):
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
            return self._record(model, version).read() or {}
        except WishError:
            return {}

    def incoming(self, model: str, version: int) -> str:
        """Return the directory of a version that other hosts send; it need not exist."""
        return os.path.join(self.base(model), f"{INCOMING}{version}")

    def leftovers(self, model: str, wanted: Iterable[int] = ()) -> list[str]:
        """Return the paths that a run which died has left behind; call with the lock held, or they may live.

        What other hosts have sent of ``wanted`` versions is none.
        """
        base = self.base(model)
        coming = {f"{INCOMING}{version}" for version in {*wanted} - {*self.versions(model)}}
        stray = [name for name in store.names(base) if name.startswith(INCOMING) and name not in coming]
        owned = {f"{version}.json" for version in self.versions(model)}
        orphans = [name for name in store.names(os.path.join(base, MARKERS)) if name not in owned]
        found = [os.path.join(base, name) for name in stray]
        return self.unfinished(base) + found + [os.path.join(base, MARKERS, name) for name in orphans]

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

    def busy(self) -> RefusalError:
        """Return the refusal where another run holds the store."""
        return RefusalError(f"another run is publishing models in {self.root}", "wait for its end, then run again")

    def prove(self, model: str, version: int) -> None:
        """Record that a version has served: from now on it is immutable."""
        self._remember(model, version, {**self.marker(model, version), "proven": now()})

    # --- space ---

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

    def staging(self, model: str, version: int) -> AbstractContextManager[str]:
        """Make a private directory on the way to a version; it is gone afterwards, whatever happens."""
        return self.stage(os.path.join(self.base(model), str(version)))

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
        self._remember(model, version, record)
        try:
            self.reveal(tree, target)
        except OSError:
            if os.path.lexists(tree):  # it has not appeared
                with suppress(OSError):
                    durable.remove(self._record(model, version).path)
            raise

    def remove(self, model: str, version: int) -> None:
        """Take a version out of the server's sight by a rename, then delete it."""
        doomed = self.withdraw(self.place(model, version))
        durable.remove(self._record(model, version).path)
        self.discard(doomed)

    def _record(self, model: str, version: int) -> Record:
        return Record(os.path.join(self.base(model), MARKERS, f"{version}.json"), {})

    def _remember(self, model: str, version: int, record: Mapping[str, Any]) -> None:
        path = self._record(model, version).path
        self.ensure(os.path.dirname(path))
        owner = (self.attributes.uid, self.attributes.gid)
        durable.write(path, text(record).encode(), self.attributes.file_mode, owner)


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
        for name in store.names(real):
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


@contextmanager
def _directory(path: str) -> Iterator[int]:
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield handle
    finally:
        os.close(handle)
