# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The way back that needs nobody: a timer of systemd that ends a trial, whatever became of who began it.

Its commands may run at any moment and any number of times. They restart the server only where the trial's settings are
what runs.
"""

from __future__ import annotations

from shlex import quote

from ..disk import durable, folders
from ..host.run import Run
from ..serving.units import MARK
from .drop_in import MARKED
from .place import SLOTS, Place

# A failed server is one that the trial broke: it served before. One that was stopped meanwhile stays stopped.
_COMMANDS = r"""
rm -f -- "$drop_in" "$staged"
rmdir -- "${drop_in%/*}" 2>/dev/null
systemctl daemon-reload
state=$(systemctl show --property=ActiveState --value "$unit")
pid=$(systemctl show --property=MainPID --value "$unit")
if [ "$state" != inactive ] && { [ "$pid" = 0 ] || tr '\0' '\n' < "$proc/$pid/environ" | grep -q "^$mark"; }; then
    systemctl reset-failed "$unit"
    systemctl restart "$unit"
fi
systemctl stop $timers
rm -rf -- "$folder" "$0"
"""


def script(place: Place) -> str:
    """Return the commands that end a trial, for sh."""
    values = {
        "drop_in": place.drop_in,
        "staged": place.staged,
        "folder": place.folder,
        "unit": place.unit,
        "proc": place.proc,
        "mark": f"{MARK}={MARKED}",
        # Both are armed where a run was killed while it replaced one by the other.
        "timers": " ".join(f"{place.back(slot)}.timer" for slot in SLOTS),
    }
    return "".join(f"{name}={quote(value)}\n" for name, value in values.items()) + _COMMANDS


class Back:
    """The timer of one instance's trial."""

    def __init__(self, run: Run, place: Place) -> None:
        self.run = run
        self.place = place

    def armed(self) -> list[str]:
        """Return the slots whose timer is waiting."""
        return [slot for slot in SLOTS if self._is_active(f"{self.place.back(slot)}.timer")]

    def arm(self, seconds: int) -> None:
        """Let the trial end in so many seconds, and not before. Raises RuntimeError if systemd refuses.

        The new timer is armed before the old one goes, so that there is no moment without one.
        """
        folders.make(self.place.root)
        durable.write(self.place.script, script(self.place).encode())
        armed = self.armed()
        slot = next((each for each in SLOTS if each not in armed), SLOTS[0])
        if slot in armed:
            self._clear(slot)
        # A service that failed keeps its name, and systemd-run would refuse it.
        self.run(["systemctl", "reset-failed", *self._units(slot)])
        self._start(slot, seconds)
        for other in SLOTS:
            if other != slot:
                self._clear(other)

    def disarm(self) -> None:
        """Remove every timer."""
        for slot in SLOTS:
            self._clear(slot)
        durable.remove(self.place.script)

    def _start(self, slot: str, seconds: int) -> None:
        options = [
            f"--unit={self.place.back(slot)}",
            f"--description=End of the trial of instance {self.place.instance}",
            f"--on-active={seconds}s",
            # The default lets it fire up to a minute late, in step with other timers.
            "--timer-property=AccuracySec=1s",
        ]
        # A file: once it had reread its files, systemd 252 passed on a command with quotes and line breaks damaged.
        status, out, err = self.run(["systemd-run", "--quiet", *options, "/bin/sh", self.place.script])
        if status != 0:
            said = " ".join((err or out).split())
            raise RuntimeError(f"systemd-run cannot arm the way back, so that no trial was begun: {said}")

    def _clear(self, slot: str) -> None:
        # The service too: its end of a former trial must not take the files of the next one.
        self.run(["systemctl", "stop", *self._units(slot)])

    def _units(self, slot: str) -> list[str]:
        return [f"{self.place.back(slot)}.{kind}" for kind in ("timer", "service")]

    def _is_active(self, unit: str) -> bool:
        status, out, _err = self.run(["systemctl", "show", unit, "--property=ActiveState"])
        return status == 0 and "ActiveState=active" in out.split()
