# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The way of HAProxy's lines to journald: the socket /dev/log, which a worker looks for below its chroot.

Where there is none, or one of somebody else's, HAProxy says nothing of it, and its lines are in no journal.
"""

from __future__ import annotations

import os
from pathlib import Path

PATH = "/dev/log"


def is_reached(pid: str | int, proc: Path = Path("/proc"), path: str = PATH) -> bool:
    """Return whether a process, whatever its chroot, has the host's own socket at ``path``."""
    try:
        return os.path.samefile(f"{proc}/{pid}/root{path}", path)
    except OSError:
        return False
