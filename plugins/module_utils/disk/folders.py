# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Directories with the intended mode, whatever the umask of the user who runs Ansible.

``os.makedirs(path, mode=0o755)`` does not ensure that: the umask clears bits of its mode, and it creates missing
parents with the umask's mode alone. With a umask of 077 a server could not reach its own models.
"""

from __future__ import annotations

import os


def make(path: str | os.PathLike[str], mode: int = 0o755) -> None:
    """Make a directory, if missing, with exactly this mode; missing parents get 0755."""
    path = os.fspath(path)
    if os.path.isdir(path):
        return
    parent = os.path.dirname(path.rstrip("/"))
    if parent:
        make(parent)
    try:
        # Closed to others until it has its mode.
        os.mkdir(path, 0o700)
    except FileExistsError:
        if os.path.isdir(path):
            return
        raise
    os.chmod(path, mode)
