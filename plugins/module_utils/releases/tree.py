# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The tree that a release runs from: path resolution, the architecture of its binary, and its hardening."""

from __future__ import annotations

import errno
import os
import platform
import re
import stat
from collections.abc import Iterator
from contextlib import suppress

from ..disk import plain_files

# ELF machines (elf.h, EM_*) by image architecture names.
_ELF_MACHINES = {62: "amd64", 183: "arm64", 21: "ppc64le", 22: "s390x", 243: "riscv64"}
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
_TRIPLETS = {"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}

ELF = b"\x7fELF"
SCRIPT = b"#!"

# The kernel's own limit (path_resolution(7)).
_MOST_LINKS = 40
_BANNER = re.compile(rb"GNU C Library [^\n\0]*?version (\d+\.\d+)")
# Debian's has 2 MB; an image may have a pipe or a device in its place.
_MOST_LIBRARY_BYTES = 64 << 20
_NAMED = re.compile(r"libc-(\d+\.\d+)\.so")


def host_architecture() -> str:
    """Return this host's architecture in the notation of images: ``amd64``, ``arm64``."""
    machine = platform.machine()
    return _ARCHITECTURES.get(machine, machine)


def inside(root: str, path: str) -> str:
    """Return the host's path of ``path`` as seen by a process with the root directory ``root``.

    Links are followed as that process would: none leads out of ``root``. Raises OSError for circular links.
    """
    ahead = path.split("/")[::-1]
    at: list[str] = []
    links = 0
    while ahead:
        part = ahead.pop()
        place = os.path.join(root, *at, part)
        if part == "..":
            at = at[:-1]
        elif os.path.islink(place) and part not in ("", "."):
            links += 1
            if links > _MOST_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), place)
            target = os.readlink(place)
            at = [] if target.startswith("/") else at
            ahead += target.split("/")[::-1]
        elif part not in ("", "."):
            at.append(part)
    return os.path.join(root, *at)


def runnable(path: str) -> bool:
    """Return whether ``path`` is an executable regular file."""
    try:
        found = os.stat(path)
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and bool(found.st_mode & 0o111)


def is_program(path: str) -> bool:
    """Return whether a file is a program by its first bytes: ELF, or a script with its interpreter."""
    return _head(path, 4).startswith((ELF, SCRIPT))


def elf_architecture(path: str) -> str:
    """Return the architecture of an ELF file in the notation of images; empty for scripts and anything else."""
    head = _head(path, 20)
    if len(head) < 20 or not head.startswith(ELF):
        return ""
    machine = int.from_bytes(head[18:20], "little" if head[5] == 1 else "big")
    return _ELF_MACHINES.get(machine, f"ELF machine {machine}")


def _head(path: str, size: int) -> bytes:
    with open(path, "rb") as file:
        return file.read(size)


def glibc(root: str, architecture: str) -> str:
    """Return the version of the GNU C library in a tree, such as ``2.35``; empty if there is none."""
    triplet = _TRIPLETS.get(architecture, "")
    folders = [f"{top}/{triplet}" for top in ("lib", "usr/lib") if triplet]
    for folder in (*folders, "lib64", "usr/lib64", "lib", "usr/lib"):
        with suppress(OSError):
            place = inside(root, f"{folder}/libc.so.6")
            banner = _BANNER.search(plain_files.read(place, _MOST_LIBRARY_BYTES))
            named = _NAMED.fullmatch(os.path.basename(place))
            if banner:
                return banner[1].decode()
            if named:
                return named[1]
    return ""


def harden(root: str) -> None:
    """Remove everything from a tree that would give other users its owner's rights (setuid and the like).

    An image contains su, mount and the like, as old as itself and never updated; the server needs none of them.
    """
    for path, found in _files(root):
        if found.st_mode & (stat.S_ISUID | stat.S_ISGID):
            os.chmod(path, stat.S_IMODE(found.st_mode) & ~(stat.S_ISUID | stat.S_ISGID))
        with suppress(OSError):  # most files have no capabilities, and some file systems none at all
            os.removexattr(path, "security.capability", follow_symlinks=False)


def settle(root: str) -> None:
    """Give a tree of unknown modes those of installed programs: readable by all, writable by the owner."""
    for folder, _folders, files in os.walk(root):
        os.chmod(folder, 0o755)
        for name in files:
            path = os.path.join(folder, name)
            os.chmod(path, 0o755 if is_program(path) else 0o644)


def size(path: str) -> int:
    """Return the bytes that a tree takes on disk; hard links count once."""
    blocks = {(found.st_dev, found.st_ino): found.st_blocks for _path, found in _files(path)}
    return 512 * sum(blocks.values())


def _files(root: str) -> Iterator[tuple[str, os.stat_result]]:
    """Yield the regular files of a tree."""
    for folder, _folders, files in os.walk(root):
        for name in files:
            path = os.path.join(folder, name)
            found = os.lstat(path)
            if stat.S_ISREG(found.st_mode):
                yield path, found
