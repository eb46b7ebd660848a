# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Which process of an instance runs, and what was noted about it: that it is leaving, that it was admitted.

A mark holds the id that systemd gave to the start of the process, so it means nothing for the next one, however that
came to be. Root writes marks, everybody may read them; a boot clears them.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

from ..disk import durable, folders, plain_files

# Not in /run/tfserving-fleet, which is closed to all but root: the companion has an account of its own.
FOLDER = "/run/tfserving-gate"
UNITS = "/run/systemd/units"
LEAVING, ADMITTED = "leaving", "admitted"
# Not about a process: the ports that are refused, which the plan may have changed since.
REFUSED = "refused"

_MOST_BYTES = 128


@dataclass(frozen=True)
class Marks:
    """The marks of a host's instances."""

    folder: str = FOLDER
    units: str = UNITS

    def invocation(self, name: str) -> str:
        """Return the id of the running start of an instance; empty if none runs (systemd.exec(5), INVOCATION_ID)."""
        try:
            return os.readlink(os.path.join(self.units, f"invocation:tfserving@{name}.service"))
        except OSError:
            return ""

    def of(self, name: str, mark: str) -> str:
        """Return the id that a mark is about; empty if there is none."""
        try:
            return plain_files.read(self._path(name, mark), _MOST_BYTES).decode("ascii", "replace").strip()
        except OSError:
            return ""

    def put(self, name: str, mark: str) -> float:
        """Mark the running process, if there is one, and return for how many seconds it has been marked so.

        Raises OSError.
        """
        invocation = self.invocation(name)
        if invocation and self.of(name, mark) == invocation:
            return age_s(self._path(name, mark))
        if invocation:
            self.write(name, mark, invocation)
        return 0.0

    def write(self, name: str, mark: str, text: str) -> None:
        """Write a mark. Raises OSError."""
        folders.make(self.folder)
        durable.write(self._path(name, mark), f"{text}\n".encode())

    def drop(self, name: str, mark: str) -> None:
        """Take a mark away. Raises OSError."""
        durable.remove(self._path(name, mark))

    def _path(self, name: str, mark: str) -> str:
        return os.path.join(self.folder, f"{name}.{mark}")


def age_s(path: str) -> float:
    """Return for how many seconds a file has been as it is; 0 for one that is missing or of the future."""
    try:
        return max(0.0, time.time() - os.stat(path).st_mtime)
    except OSError:
        return 0.0
