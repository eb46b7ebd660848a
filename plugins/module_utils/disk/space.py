# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The space on a disk: how much is free, how it is written for people, and which errors mean that there is none."""

from __future__ import annotations

import errno
import os

FULL = (errno.ENOSPC, errno.EDQUOT)
MIB = 1024 * 1024


def in_mib(size: int) -> str:
    """Return a size for people, in MiB, rounded up so that nothing small becomes nothing."""
    return f"{-(-size // MIB)} MiB"


def free_bytes(path: str) -> int:
    """Return the bytes that unprivileged writers may still use where ``path`` is, or would be."""
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize
