# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The state of paths on the host, and access to them that links cannot lead astray.

Every path is relative to the directory that holds the tree (``dest``); the empty path is that directory itself. Parents
are opened one by one and never through a link that anyone but the system could have placed, so that a service account
cannot make a privileged run write elsewhere.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from ..errors import WishError

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

# More than distributions nest links (/lib64 -> usr/lib64 -> lib); the kernel itself gives up at 40.
_LINKS = 8

# The largest piece read from or written to the kernel at once: bounds the extra copy of a large file.
_PIECE = 1 << 20


@dataclass(frozen=True)
class Seen:
    """The actual or wanted state of a path.

    ``kind`` is absent, file, link, directory or special; ``content`` is a file's bytes or a link's target. An owner or
    group of -1 means "any": the kernel's choice for a new file, and equal to every other.
    """

    kind: str = "absent"
    content: bytes = b""
    mode: int = 0
    uid: int = -1
    gid: int = -1

    def same_attributes(self, other: Seen) -> bool:
        """Return whether mode, owner and group of both are equal."""
        return self.mode == other.mode and _agree(self.uid, other.uid) and _agree(self.gid, other.gid)

    def same(self, other: Seen) -> bool:
        """Return whether replacing one with the other would change nothing."""
        if self.kind != other.kind or self.content != other.content:
            return False
        return self.kind == "absent" or self.same_attributes(other)


ABSENT = Seen()


@contextlib.contextmanager
def naming(path: str) -> Iterator[None]:
    """Convert an error of the operating system to one sentence about a path."""
    try:
        yield
    except OSError as error:
        raise WishError(path, os.strerror(error.errno) if error.errno else str(error), "") from error


def _agree(one: int, other: int) -> bool:
    return one == other or -1 in (one, other)


class Host:
    """The files below one directory of the host.

    ``moved`` shows paths as they were before an interrupted run: it maps each path that the run replaced to where it
    moved the old file (None: there was none).
    """

    def __init__(self, dest: str) -> None:
        self.shown = os.path.normpath(dest)
        self.dest = os.path.realpath(dest)
        self.moved: dict[str, str | None] = {}
        self._owners = {0, os.geteuid()}
        self._groups = {0} if os.geteuid() == 0 else {0, os.getegid()}

    def path(self, relative: str) -> str:
        """Return the absolute path as the user wrote it."""
        return os.path.join(self.shown, relative) if relative else self.shown

    @contextlib.contextmanager
    def directory(self, relative: str) -> Iterator[int]:
        """Open a directory for the ``dir_fd`` of other calls.

        Raises FileNotFoundError if a part is missing, WishError if a part is a file or a link that must not be
        followed.
        """
        here = os.open(self.dest, _DIRECTORY)
        here, _trusted = self._walk(here, relative.split("/") if relative else [], self._system(here), _LINKS)
        try:
            yield here
        finally:
            os.close(here)

    def see(self, relative: str) -> Seen:
        """Return the state of a path, without following a link at its end."""
        place = self.moved.get(relative, relative)
        if place is None:
            return ABSENT
        folder, name = os.path.split(place)
        with naming(self.path(relative)), contextlib.suppress(FileNotFoundError), self.directory(folder) as parent:
            return _see_at(parent, name)
        return ABSENT

    def see_directory(self, relative: str) -> Seen:
        """Return mode and owner of a directory, reached through a system link or not; ABSENT if there is none."""
        with naming(self.path(relative)), contextlib.suppress(FileNotFoundError), self.directory(relative) as here:
            return _attributes("directory", os.fstat(here))
        return ABSENT

    def names(self, relative: str) -> set[str]:
        """Return the names in a directory; empty if it is missing."""
        with naming(self.path(relative)), contextlib.suppress(FileNotFoundError), self.directory(relative) as here:
            return set(os.listdir(here))
        return set()

    def identity(self, relative: str) -> tuple[int, int, str] | None:
        """Return the same for two paths to one file, as through a system link; None if the parent is missing."""
        folder, name = os.path.split(relative)
        with naming(self.path(relative)), contextlib.suppress(FileNotFoundError), self.directory(folder) as parent:
            info = os.fstat(parent)
            return info.st_dev, info.st_ino, name
        return None

    def _walk(self, here: int, parts: list[str], trusted: bool, links: int, shown: str = "") -> tuple[int, bool]:
        """Walk down from ``here``, which is closed; return the last directory and whether all on the way is trusted."""
        walked = ""
        for part in parts:
            walked = os.path.join(walked, part)
            try:
                there, trusted = self._enter(here, part, trusted, links, shown or self.path(walked))
            finally:
                os.close(here)
            here, trusted = there, trusted and self._system(there)
        return here, trusted

    def _enter(self, here: int, part: str, trusted: bool, links: int, shown: str) -> tuple[int, bool]:
        try:
            return os.open(part, _DIRECTORY, dir_fd=here), trusted
        except OSError as error:
            if error.errno not in (errno.ELOOP, errno.ENOTDIR):
                raise
        info = os.lstat(part, dir_fd=here)
        if not stat.S_ISLNK(info.st_mode):
            raise WishError(shown, "is not a directory", "remove it or give the files below it another place")
        target = os.readlink(part, dir_fd=here)
        if not (trusted and links and info.st_uid in self._owners):
            raise _stray(shown, target)
        start = os.open("/" if target.startswith("/") else ".", _DIRECTORY, dir_fd=here)
        parts = [name for name in target.split("/") if name not in ("", ".")]
        try:
            there, trusted = self._walk(start, parts, self._system(start), links - 1, shown)
        except FileNotFoundError:
            raise WishError(
                shown, f"is a link to {target}, which does not exist", "remove or repair the link"
            ) from None
        if not trusted:
            os.close(there)
            raise _stray(shown, target)
        return there, True

    def _system(self, directory: int) -> bool:
        """Return whether only the system or the user of this run can place names in a directory."""
        info = os.fstat(directory)
        shared = info.st_mode & stat.S_IWOTH or (info.st_mode & stat.S_IWGRP and info.st_gid not in self._groups)
        return info.st_uid in self._owners and not shared


def _stray(shown: str, target: str) -> WishError:
    problem = f"is a link to {target} that others than root could have placed, and is not followed"
    return WishError(shown, problem, "make it a real directory or write the files below its target")


def _attributes(kind: str, info: os.stat_result, content: bytes = b"") -> Seen:
    return Seen(kind, content, stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid)


def _see_at(parent: int, name: str) -> Seen:
    info = os.lstat(name, dir_fd=parent)
    if stat.S_ISLNK(info.st_mode):
        return _attributes("link", info, os.fsencode(os.readlink(name, dir_fd=parent)))
    if stat.S_ISDIR(info.st_mode):
        return _attributes("directory", info)
    if not stat.S_ISREG(info.st_mode):
        return _attributes("special", info)
    with os.fdopen(os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent), "rb") as file:
        return _attributes("file", os.fstat(file.fileno()), file.read())


def write_new(parent: int, name: str, wanted: Seen) -> None:
    """Write a new file or link with all its attributes, and sync it to disk."""
    if wanted.kind == "link":
        os.symlink(os.fsdecode(wanted.content), name, dir_fd=parent)
        os.chown(name, wanted.uid, wanted.gid, dir_fd=parent, follow_symlinks=False)
        return
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(name, flags, 0o600, dir_fd=parent)
    try:
        view = memoryview(wanted.content)
        while view:
            written = os.write(descriptor, view[:_PIECE])
            view = view[written:]
        set_attributes(descriptor, wanted)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def set_attributes(descriptor: int, wanted: Seen) -> None:
    """Set owner, group and mode of an open file or directory, in the order that preserves a setuid bit."""
    if (wanted.uid, wanted.gid) != (-1, -1):
        os.chown(descriptor, wanted.uid, wanted.gid)
    os.chmod(descriptor, wanted.mode)


def keep_aside(name: str, parent: int, aside: int) -> None:
    """Hard-link the file ``name`` into the directory ``aside``; copy it where hard links are not possible."""
    try:
        os.link(name, name, src_dir_fd=parent, dst_dir_fd=aside, follow_symlinks=False)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK):
            raise
        write_new(aside, name, _see_at(parent, name))


def keep_label(name: str, parent: int, staging: int) -> None:
    """Give the staged file the SELinux label of the file that it will replace, where SELinux is in use."""
    label = "security.selinux"
    old, new = (f"/proc/self/fd/{directory}/{name}" for directory in (parent, staging))
    with contextlib.suppress(OSError):
        os.setxattr(new, label, os.getxattr(old, label, follow_symlinks=False), follow_symlinks=False)


def discard(parent: int, name: str) -> None:
    """Remove a flat directory and its files, as far as they exist."""
    try:
        here = os.open(name, _DIRECTORY, dir_fd=parent)
    except FileNotFoundError:
        return
    try:
        for entry in os.listdir(here):
            os.unlink(entry, dir_fd=here)
    finally:
        os.close(here)
    os.rmdir(name, dir_fd=parent)
