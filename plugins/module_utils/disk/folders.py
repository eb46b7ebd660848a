# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Directories that those they are meant for can pass, whatever the umask of the user who runs Ansible.

``os.makedirs(path, mode=0o755)`` promises that and does not keep it: the umask takes from its mode, and the parents
that it makes on the way have no other mode than the umask's. With 077 a server could not reach its own models.
"""

from __future__ import annotations

import os


def make(path: str | os.PathLike[str], mode: int = 0o755) -> None:
    """Make a directory where there is none, with exactly this mode, and its missing parents open to all."""
    path = os.fspath(path)
    if os.path.isdir(path):
        return
    parent = os.path.dirname(path.rstrip("/"))
    if parent:
        make(parent)
    try:
        # Nobody gets in before it has its mode.
        os.mkdir(path, 0o700)
    except FileExistsError:
        if os.path.isdir(path):
            return
        raise
    os.chmod(path, mode)
