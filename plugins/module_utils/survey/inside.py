# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Files as a process names them: through its own root and mounts, which may be a container's.

Whoever owns a container may have laid links in it that lead anywhere. So a path is walked part by part, and a link
leads to where the process would come by it, never out of its root.
"""

from __future__ import annotations

import errno
import os
import posixpath
from collections.abc import Iterator
from contextlib import contextmanager

from ..disk import plain_files
from ..host.sysfs import Tree

# The kernel follows 40 links (MAXSYMLINKS, include/linux/namei.h).
_MOST_LINKS = 40
_MOST_MOUNTS = 5000


class Inside:
    """The files of one process."""

    def __init__(self, tree: Tree, pid: int) -> None:
        self.tree = tree
        self.pid = pid
        self.root = tree.path(f"proc/{pid}/root")
        self.cwd = _link(tree.path(f"proc/{pid}/cwd")) or "/"

    @property
    def is_host(self) -> bool:
        """Return whether the process has the host's own root."""
        try:
            return os.path.samestat(os.stat(self.root), os.stat(self.tree.root))
        except OSError:
            return False

    @property
    def shown_root(self) -> str:
        """Return the folder from which the process's paths begin."""
        return "/" if self.is_host else _own(_link(self.root)) or f"/proc/{self.pid}/root"

    def absolute(self, path: str) -> str:
        """Return a path as the process resolves it from its working directory."""
        return posixpath.normpath(posixpath.join(self.cwd, path))

    @contextmanager
    def opened(self, path: str) -> Iterator[str]:
        """Yield a path at which a file or folder of the process is open. Raises OSError."""
        handle = _walk(self.root, self.absolute(path))
        try:
            yield f"/proc/self/fd/{handle}"
        finally:
            os.close(handle)

    def read(self, path: str, most: int) -> bytes:
        """Return the content of a file. Raises OSError, also for one with more than ``most`` bytes."""
        with self.opened(path) as place:
            return plain_files.read(place, most)

    def on_host(self, path: str) -> str | None:
        """Return where the host has the same file or folder; None where no mount of the host shows it.

        A file that lies in the root of a container is gone with it, and so is nowhere.
        """
        path = self.absolute(path)
        own, others = _mounts(self.tree, self.pid), _mounts(self.tree, 1)
        mount = _covering(own, path)
        if mount is None or (mount.point == "/" and not self._keeps_root(mount, others)):
            return None
        inner = _joined(mount.root, _below(path, mount.point))
        shown = [
            _joined(each.point, _below(inner, each.root))
            for each in others
            if each.device == mount.device and _is_below(inner, each.root)
        ]
        # The deepest mount that shows it, unless another one covers it.
        return next((place for place in sorted(shown, key=len) if self._is_same(path, place)), None)

    def _keeps_root(self, mount: _Mount, others: list[_Mount]) -> bool:
        return self.is_host or any(each.device == mount.device and each.point == "/" for each in others)

    def _is_same(self, path: str, place: str) -> bool:
        try:
            with self.opened(path) as inside:
                return os.path.samestat(os.stat(inside), os.stat(self.tree.path(place)))
        except OSError:
            return False


class _Mount:
    def __init__(self, fields: list[str]) -> None:
        self.device = fields[2]
        self.root = _unescaped(fields[3])
        self.point = _unescaped(fields[4])


def _mounts(tree: Tree, pid: int) -> list[_Mount]:
    rows = (line.split() for line in tree.lines(f"proc/{pid}/mountinfo")[:_MOST_MOUNTS])
    return [_Mount(row) for row in rows if len(row) > 5]


def _covering(mounts: list[_Mount], path: str) -> _Mount | None:
    """Return the mount that a path lies in: the longest, and of several at one place the last."""
    found = None
    for mount in mounts:
        if _is_below(path, mount.point) and (found is None or len(mount.point) >= len(found.point)):
            found = mount
    return found


def _is_below(path: str, folder: str) -> bool:
    return folder == "/" or path == folder or path.startswith(f"{folder}/")


def _below(path: str, folder: str) -> str:
    below = len(folder.rstrip("/"))
    return path[below:].lstrip("/")


def _joined(folder: str, rest: str) -> str:
    return posixpath.join(folder, rest) if rest else folder


def _unescaped(text: str) -> str:
    # proc(5): blanks, tabs, line breaks and backslashes as three octal digits.
    for code, letter in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, letter)
    return text


def _own(link: str | None) -> str | None:
    """Return where a root lies, if it is no root of another mount namespace, which shows as the same."""
    return None if link in (None, "/") else link


def _link(path: str) -> str | None:
    try:
        return os.readlink(path)
    except OSError:
        return None


def _walk(root: str, path: str) -> int:
    """Return a handle of what a path below ``root`` leads to. Raises OSError."""
    flags = os.O_PATH | os.O_CLOEXEC
    stack = [os.open(root, flags | os.O_DIRECTORY)]
    parts = [part for part in reversed(path.split("/")) if part]
    links = 0
    try:
        while parts:
            part = parts.pop()
            if part == "..":
                # Above the root is the root.
                if len(stack) > 1:
                    os.close(stack.pop())
                continue
            if part == ".":
                continue
            handle = os.open(part, flags | os.O_NOFOLLOW, dir_fd=stack[-1])
            target = _target(handle)
            if target is None:
                stack.append(handle)
                continue
            os.close(handle)
            links += 1
            if links > _MOST_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            if target.startswith("/"):
                while len(stack) > 1:
                    os.close(stack.pop())
            parts += [part for part in reversed(target.split("/")) if part]
        return stack.pop()
    finally:
        for handle in stack:
            os.close(handle)


def _target(handle: int) -> str | None:
    """Return where a link leads; None for anything else."""
    try:
        return os.readlink("", dir_fd=handle)
    except OSError:
        return None
