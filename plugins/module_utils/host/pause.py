# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Stops units for the duration of a change and starts exactly those again, even if the run in between was killed."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatch

from ..disk.record import Record
from .run import Run


class Pause:
    """The pause of one host's units. ``record`` is the file that lists the units to start again."""

    def __init__(self, run: Run, record: str) -> None:
        self.run = run
        self.record = Record(record, [str], "move it away, and start by hand what is to run", folder=0o700)

    def active(self, patterns: Sequence[str]) -> list[str]:
        """Return the running units that match a pattern, in systemd's order."""
        states = "--state=active,activating,reloading"
        out = self._systemctl("list-units", "--plain", "--no-legend", "--full", "--all", states)
        names = (line.split()[0] for line in out.splitlines() if line.strip())
        return [name for name in names if any(fnmatch(name, pattern) for pattern in patterns)]

    def remembered(self) -> list[str]:
        """Return the units that a pause, of this run or an earlier one, has stopped and not started again."""
        return self.record.load() or []

    def stop(self, units: Sequence[str]) -> None:
        """Stop units, remembering them first."""
        if not units:
            return
        self.record.save(list(dict.fromkeys([*self.remembered(), *units])))
        self._systemctl("stop", *units)

    def start(self) -> None:
        """Start the stopped units in reverse order; forget them only once all run."""
        units = self.remembered()
        if units:
            self._systemctl("start", *reversed(units))
        self.record.save([])

    def _systemctl(self, *arguments: str) -> str:
        status, out, err = self.run(["systemctl", *arguments])
        if status != 0:
            raise RuntimeError(f"systemctl {' '.join(arguments)} failed: {(err or out).strip()}")
        return out
