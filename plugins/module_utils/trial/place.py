# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Where a trial lives on a host. Everything is below /run, so that a reboot ends every trial by itself."""

from __future__ import annotations

from dataclasses import dataclass

# The directory of runtime drop-ins; systemd merges it with /etc by the files' names (systemd.unit(5)).
UNITS = "/run/systemd/system"
FOLDER = "/run/tfserving-trial"
# Behind the plan's 10-plan.conf, so that what it sets wins.
DROP_IN = "90-trial.conf"
# Two timers take turns, so that one is always armed while the other is replaced.
SLOTS = ("a", "b")


@dataclass(frozen=True)
class Place:
    """The paths and units of one instance's trial. ``units``, ``root`` and ``proc`` are other folders in tests only."""

    instance: str
    unit: str
    units: str = UNITS
    root: str = FOLDER
    proc: str = "/proc"

    @property
    def drop_in_folder(self) -> str:
        """Return the directory of the unit's runtime drop-ins."""
        return f"{self.units}/{self.unit}.d"

    @property
    def drop_in(self) -> str:
        """Return the file that puts the trial in force."""
        return f"{self.drop_in_folder}/{DROP_IN}"

    @property
    def staged(self) -> str:
        """Return what a killed run may leave of the drop-in (``disk.durable``)."""
        return f"{self.drop_in_folder}/.{DROP_IN}.new"

    @property
    def folder(self) -> str:
        """Return the directory of the trial's own files."""
        return f"{self.root}/{self.instance}"

    @property
    def models(self) -> str:
        """Return the directory of the base paths of the trial's own model versions."""
        return f"{self.folder}/models"

    @property
    def script(self) -> str:
        """Return the file with the commands that end the trial. Names of instances have no dots."""
        return f"{self.root}/{self.instance}.back"

    def back(self, slot: str) -> str:
        """Return the name of the transient unit that ends the trial, without ``.timer`` or ``.service``."""
        return f"tfserving-trial.{self.instance}.{slot}"
