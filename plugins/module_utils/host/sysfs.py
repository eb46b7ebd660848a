# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Read-only access to /sys and /proc of this host, or of a machine recorded in a folder."""

from __future__ import annotations

import os

from .. import cpu_list


class Tree:
    """A root that holds `sys` and `proc`; paths are relative to it. Unreadable files give None or empty, not an error.

    Many files of sysfs exist and yet refuse to be read (`speed` of a link that is down, attributes of a device being
    removed), so unreadable and absent mean the same here: the kernel does not say.
    """

    def __init__(self, root: str = "/") -> None:
        self.root = os.path.abspath(root)

    @property
    def live(self) -> bool:
        """Return whether this is the running host and not a recording of one."""
        return self.root == "/"

    def path(self, path: str) -> str:
        return os.path.join(self.root, path.lstrip("/"))

    def text(self, path: str) -> str | None:
        """Return the file's content without surrounding blanks, nor the NUL with which some kernels end a list."""
        try:
            with open(self.path(path), encoding="utf-8", errors="replace") as file:
                return file.read().strip("\0 \t\r\n")
        except OSError:
            return None

    def lines(self, path: str) -> list[str]:
        return (self.text(path) or "").splitlines()

    def number(self, path: str) -> int | None:
        """Return the file's content as a decimal number."""
        try:
            return int(self.text(path) or "")
        except ValueError:
            return None

    def numbers(self, path: str) -> list[int] | None:
        """Return the file's content as a list in the kernel's notation; None if it is absent or anything else."""
        text = self.text(path)
        try:
            return None if text is None else cpu_list.parse(text)
        except ValueError:
            return None

    def mask(self, path: str) -> list[int] | None:
        """Return the numbers of the bits set in a mask such as "0000,000000ff"."""
        try:
            bits = int((self.text(path) or "").replace(",", ""), 16)
        except ValueError:
            return None
        return [number for number in range(bits.bit_length()) if bits >> number & 1]

    def data(self, path: str, most: int = -1) -> bytes | None:
        """Return the file's first `most` bytes."""
        try:
            with open(self.path(path), "rb") as file:
                return file.read(most)
        except OSError:
            return None

    def cells(self, path: str) -> list[int]:
        """Return the cells of a device-tree property: 32 bits each, most significant byte first."""
        data = self.data(path) or b""
        return [int.from_bytes(data[start:][:4], "big") for start in range(0, len(data) - 3, 4)]

    def names(self, path: str) -> list[str]:
        """Return the entries of a folder, sorted."""
        try:
            return sorted(os.listdir(self.path(path)))
        except OSError:
            return []

    def numbered(self, path: str, prefix: str) -> list[int]:
        """Return the N of a folder's entries PREFIX + N (cpu0, cpu1, ...), ascending."""
        tails = (name.removeprefix(prefix) for name in self.names(path) if name.startswith(prefix))
        return sorted(int(tail) for tail in tails if tail.isdecimal() and tail.isascii())

    def exists(self, path: str) -> bool:
        return os.path.exists(self.path(path))

    def target(self, path: str) -> str | None:
        """Return where a link leads once all links on the way are followed, as an absolute path inside the tree."""
        real = os.path.realpath(self.path(path))
        return "/" + os.path.relpath(real, os.path.realpath(self.root)) if os.path.exists(real) else None

    def link_name(self, path: str) -> str | None:
        """Return the last part of a link's target, existing or not (recordings keep `driver` links only)."""
        try:
            return os.path.basename(os.readlink(self.path(path)))
        except OSError:
            return None
