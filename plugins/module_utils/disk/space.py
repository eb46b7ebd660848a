# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Disk space: how much is free, sizes in words, and the errors that mean a full disk."""

from __future__ import annotations

import errno
import os

FULL = (errno.ENOSPC, errno.EDQUOT)
MIB = 1024 * 1024


def in_mib(size: int) -> str:
    """Return a size for people in MiB, rounded up so that small sizes do not become zero."""
    return f"{-(-size // MIB)} MiB"


def free_bytes(path: str) -> int:
    """Return the bytes that unprivileged writers may still use at ``path``, which need not exist yet."""
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize
