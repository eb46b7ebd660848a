# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The units of a host's instances: which exist, which need a restart, and the commands that act on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..host.process import PROC
from ..host.run import Run

# Set by each instance's drop-in: identifies the plan and the unit file that its process was started with.
MARK = "TFSERVING_CONFIGURATION"


@dataclass(frozen=True)
class InstanceUnit:
    """One instance's unit: ``mark`` is that of a start now, ``running_mark`` that of its process."""

    name: str
    unit: str
    enabled: bool
    active: bool
    pid: int
    mark: str
    running_mark: str


class Units:
    """Acts on the units of one host through systemctl. ``template`` is the unit's name with ``{name}`` in it."""

    def __init__(self, run: Run, template: str, proc: Path = PROC) -> None:
        self.run = run
        self.template = template
        self.proc = proc

    def unit(self, name: str) -> str:
        """Return the unit of the instance ``name``."""
        return self.template.replace("{name}", name)

    def instances(self) -> list[str]:
        """Return the names of all instances that run, or would run after a reboot."""
        pattern = self.unit("*")
        listed = self.command("list-units", "--all", "--plain", "--no-legend", "--full", pattern)
        # Exits with 1, silently, if no file matches.
        _status, installed, _err = self.run(["systemctl", "list-unit-files", "--no-legend", "--full", pattern])
        first_words = {line.split()[0] for line in (listed + "\n" + installed).splitlines() if line.strip()}
        head, tail = self.template.split("{name}")
        names = {
            word.removeprefix(head).removesuffix(tail)
            for word in first_words
            if word.startswith(head) and word.endswith(tail)
        }
        return sorted(name for name in names if name)

    def show(self, name: str) -> InstanceUnit:
        """Return the state of one instance's unit."""
        out = self.command("show", self.unit(name), "--property=UnitFileState,ActiveState,MainPID,Environment")
        shown = dict(line.split("=", 1) for line in out.splitlines() if "=" in line)
        pid = int(shown.get("MainPID") or 0)
        return InstanceUnit(
            name=name,
            unit=self.unit(name),
            enabled=shown.get("UnitFileState") in ("enabled", "enabled-runtime"),
            active=shown.get("ActiveState") in ("active", "activating", "reloading"),
            pid=pid,
            mark=_value(shown.get("Environment", "").split(), MARK),
            running_mark=_value(_environment(pid, self.proc), MARK),
        )

    def reload_needed(self, names: Sequence[str]) -> bool:
        """Return whether a unit's files are newer than systemd's knowledge of them."""
        if not names:
            return False
        out = self.command("show", "--property=NeedDaemonReload,LoadState", *(self.unit(name) for name in names))
        return "NeedDaemonReload=yes" in out or "LoadState=not-found" in out

    def reload(self) -> None:
        """Make systemd reread its files."""
        self.command("daemon-reload")

    def enable(self, name: str) -> None:
        """Let an instance start at boot."""
        self.command("enable", "--quiet", self.unit(name))

    def start(self, name: str) -> None:
        """Start an instance, also after too many failures."""
        self.run(["systemctl", "reset-failed", self.unit(name)])
        self.command("start", self.unit(name))

    def restart(self, name: str) -> None:
        """Stop and start an instance."""
        self.run(["systemctl", "reset-failed", self.unit(name)])
        self.command("restart", self.unit(name))

    def stop(self, name: str) -> None:
        """Stop an instance that will be started again."""
        self.command("stop", self.unit(name))

    def remove(self, name: str) -> None:
        """Stop an instance for good."""
        self.command("disable", "--quiet", "--now", self.unit(name))
        self.run(["systemctl", "reset-failed", self.unit(name)])

    def command(self, *arguments: str) -> str:
        """Run systemctl and return its output. Raises RuntimeError with its message if it fails."""
        status, out, err = self.run(["systemctl", *arguments])
        if status != 0:
            raise RuntimeError(f"systemctl {' '.join(arguments)} failed: {(err or out).strip()}")
        return out


def planned_mark(instance: Mapping[str, Any], revision: str) -> str:
    """Return the mark that a planned instance's drop-in carries."""
    return f"{instance['digest']}-{revision}"


def _environment(pid: int, proc: Path) -> list[str]:
    try:
        return (proc / str(pid) / "environ").read_text(errors="replace").split("\0") if pid else []
    except OSError:
        return []


def _value(pairs: Sequence[str], name: str) -> str:
    return next((pair.partition("=")[2] for pair in pairs if pair.startswith(f"{name}=")), "")
