# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What the parts of one run share: the host's files, its plan, its units and what was kept from the run before."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ..disk import plain_files
from ..host.sysfs import Tree
from . import programs
from .state import State

PLAN = "etc/tfserving/plan.json"
_MOST_PLAN_BYTES = 16 << 20
_MODELS = {"model_config_list": {"config": [{"name": str}]}}
_SHAPE = {
    "schema": int,
    "server": {"version": str},
    "paths": {"models": str},
    "gate?": lambda value: value is None or plain_files.fits(value, {"port": int}),
    "instances": [
        {
            "name": str,
            "cpus": str,
            "gpus": [(str, int)],
            "models": [str],
            "ports": {"rest": int},
            "digest": str,
            "environment": {str: str},
            "model_config": _MODELS,
        }
    ],
}

# (arguments, standard input, seconds, most bytes): programs.run, or a stand-in.
Run = Callable[..., "tuple[int, str]"]


class PartError(RuntimeError):
    """Why a part could not read all that it wanted; one sentence."""


class Unit(NamedTuple):
    """What systemd says of an instance; ``pid`` is 0 where no process runs."""

    is_active: bool
    restarts: int
    pid: int


class Mark(NamedTuple):
    """What tells one process from the next that gets its number: the ticks since boot at which it began."""

    pid: int
    ticks: int


class Host:
    """One run. What several parts need is read once, and fails for each of them."""

    def __init__(self, tree: Tree, state: State, now: float, run: Run = programs.run) -> None:
        self.tree = tree
        self.state = state
        self.now = now
        self.run = run
        self._read: dict[str, Any] = {}

    def _once(self, name: str, read: Callable[[], Any]) -> Any:
        if name not in self._read:
            try:
                self._read[name] = read()
            except (PartError, programs.ProgramError) as error:
                self._read[name] = error
        if isinstance(self._read[name], Exception):
            raise self._read[name]
        return self._read[name]

    @property
    def serves(self) -> bool:
        """Return whether a plan is in force: gateways and monitoring hosts have none."""
        return self.tree.exists(PLAN)

    @property
    def plan(self) -> dict[str, Any]:
        """Return the plan in force. Raises PartError."""
        found: dict[str, Any] = self._once("plan", lambda: _plan(self.tree))
        return found

    @property
    def instances(self) -> list[Mapping[str, Any]]:
        """Return the instances of the plan. Raises PartError."""
        return list(self.plan["instances"])

    @property
    def units(self) -> Mapping[str, Unit]:
        """Return the units of the plan's instances by instance. Raises PartError, ProgramError."""
        names = [each["name"] for each in self.instances]
        found: Mapping[str, Unit] = self._once("units", lambda: _units(self.run, names))
        return found

    def process(self, name: str) -> Mark | None:
        """Return the process of an instance, None where none runs. Raises PartError, ProgramError."""
        found: Mark | None = self._once(f"process {name}", lambda: _process(self.tree, self.units[name].pid))
        return found

    def status(self, pid: int) -> Mapping[str, str]:
        """Return what /proc/PID/status says; empty for a process that is gone."""
        found: Mapping[str, str] = self._once(f"status {pid}", lambda: _status(self.tree, pid))
        return found

    def shared(self, name: str, read: Callable[[], Any]) -> Any:
        """Return what ``read`` returned to the first part that asked for ``name``, or raise what it raised."""
        return self._once(name, read)


def _plan(tree: Tree) -> Any:
    path = tree.path(PLAN)
    try:
        found = plain_files.json_of(path, _MOST_PLAN_BYTES)
    except OSError as error:
        raise PartError(f"{path} cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise PartError(f"{path} is no JSON ({error})") from error
    if not plain_files.fits(found, _SHAPE):
        raise PartError(f"{path} is not the plan of a host; run the playbook site.yml again")
    return found


def _units(run: Run, names: list[str]) -> dict[str, Unit]:
    if not names:
        return {}
    units = [f"tfserving@{name}.service" for name in names]
    status, out = run(["systemctl", "show", "--property=Id,ActiveState,NRestarts,MainPID", "--", *units])
    blocks = [dict(line.split("=", 1) for line in block.splitlines() if "=" in line) for block in out.split("\n\n")]
    found = {block.get("Id"): block for block in blocks}
    if status != 0 or not set(units) <= found.keys():
        raise PartError("systemctl does not tell the state of the instances")
    return {name: _unit(found[unit]) for name, unit in zip(names, units)}


def _unit(shown: Mapping[str, str]) -> Unit:
    is_active = shown.get("ActiveState") in ("active", "reloading")
    return Unit(is_active, whole(shown.get("NRestarts")) or 0, whole(shown.get("MainPID")) or 0)


def whole(text: str | None) -> int | None:
    """Return a decimal number of at most 20 digits, or None."""
    return int(text) if text and text.isdecimal() and text.isascii() and len(text) <= 20 else None


def _process(tree: Tree, pid: int) -> Mark | None:
    # Behind the name in parentheses, which may hold blanks: field 3 comes first (proc(5)).
    fields = (tree.text(f"proc/{pid}/stat") or "").rpartition(")")[2].split() if pid else []
    ticks = whole(fields[19]) if len(fields) > 19 else None
    return None if ticks is None else Mark(pid, ticks)


def _status(tree: Tree, pid: int) -> dict[str, str]:
    pairs = (line.partition(":") for line in tree.lines(f"proc/{pid}/status"))
    return {key: value.strip() for key, _colon, value in pairs}


def tick() -> int:
    """Return the kernel's clock ticks in a second."""
    return os.sysconf("SC_CLK_TCK")
