# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Stops an old server for good, by whatever has started it, and puts it back: both by a record on the host.

The record is written before anything is done, so that a run that dies in between is gone on with by the next. It holds
the variables of a process that somebody has started by hand, since that could not be put back without: it is root's
alone.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ..diagnosis import command
from ..diagnosis.unread import words
from ..disk.record import Record
from ..errors import WishError
from ..host.run import bounded
from ..host.sysfs import Tree
from . import deeds, origins, processes, secrets, supervisor

FOLDER = "/var/lib/tfserving-fleet/takeover"
STOPPED, STARTED = "stopped", "started"
SCHEMA = 1
SECONDS_BOUNDS = (1, 3600)
_MOST_BYTES = 4 << 20
_PAUSE_S = 0.2
_SHAPE = {
    "schema": int,
    "kind": lambda value: value in origins.KINDS,
    "name": str,
    "phase": lambda value: value in ("stopping", STOPPED),
    "argv_sha256": str,
    "definition": str,
    "at_boot": bool,
    "still_at_boot": bool,
    "notes": [str],
    "deed": {
        "unit?": {"name": str, "enabled": str},
        "container?": {"runtime": str, "id": str, "restart": str, "auto_remove": bool, "policy_kept": bool},
        "program?": {"name": str, "configuration": str},
        "process?": {
            "exe": str, "argv": [str], "cwd": str, "environment": [str], "uid": int, "gid": int, "groups": [int],
            "umask": str, "cpus": str, "nofile": [int], "output": [(str, type(None))],
        },
    },
}  # fmt: skip


@dataclass(frozen=True)
class Wanted:
    """What is to be stopped, as the survey has told it, or to be put back."""

    kind: str
    name: str
    state: str
    pid: int | None
    argv_sha256: str
    definition: str
    seconds: float
    folder: str


@dataclass
class Means:
    """What the take-over reads and does, so that a recorded host can stand in for this one."""

    tree: Tree = field(default_factory=Tree)
    run: supervisor.Run = supervisor.RUN
    act: deeds.Act | None = None
    start: Callable[[deeds.Act, deeds.Deed], None] = deeds.start
    stop: Callable[..., None] = deeds.stop
    pause: Callable[[float], None] = time.sleep

    @property
    def asking(self) -> origins.Asking:
        """Return what asks about origins."""
        return origins.Asking(self.tree, self.run)


def check(given: Mapping[str, Any]) -> Wanted:
    """Return the options of the module. Raises WishError."""
    low, high = SECONDS_BOUNDS
    if not low <= given["seconds"] <= high:
        raise WishError("seconds", f"{given['seconds']} is out of bounds", f"write {low} to {high}")
    if given["state"] == STOPPED and not (given["pid"] and given["argv_sha256"]):
        raise WishError("pid", "is missing, or argv_sha256 is", "give both as the survey has told them")
    texts = (given["argv_sha256"] or "", given["definition"] or "")
    seconds = float(given["seconds"])
    return Wanted(given["kind"], given["name"], given["state"], given["pid"], *texts, seconds, given["record_folder"])


def carry_out(wanted: Wanted, means: Means, check_mode: bool) -> dict[str, Any]:
    """Return the result of the module. Raises WishError."""
    one = _Takeover(wanted, means, check_mode)
    try:
        return one.stop() if wanted.state == STOPPED else one.start()
    except (OSError, RuntimeError, LookupError, subprocess.SubprocessError) as error:
        # A process that ends meanwhile, a program that hangs, a full disk.
        problem = f"{wanted.name} cannot be {wanted.state} ({secrets.hidden(words(error))})"
        raise WishError("name", problem, "run again; the record tells how far it went") from error


def record_path(folder: str, kind: str, name: str) -> str:
    """Return the path of a server's record: names of containers and projects may hold a slash."""
    plain = re.sub(r"[^A-Za-z0-9@._-]", "_", name)[:80]
    return f"{folder}/{kind}-{plain}-{hashlib.sha256(name.encode()).hexdigest()[:8]}.json"


class _Takeover:
    def __init__(self, wanted: Wanted, means: Means, check_mode: bool) -> None:
        self.wanted, self.means, self.check_mode = wanted, means, check_mode
        path = record_path(wanted.folder, wanted.kind, wanted.name)
        remedy = "move it away; what it would have put back is then started by hand"
        self.record = Record(path, _SHAPE, remedy, schema=SCHEMA, most=_MOST_BYTES, mode=0o600, folder=0o700)
        self.known: dict[str, Any] | None = self.record.load()

    @property
    def act(self) -> deeds.Act:
        """Return what does things: a unit, or a container, may take its whole time to stop."""
        return self.means.act or partial(bounded, seconds=self.wanted.seconds + 30, most=command.MOST_BYTES, ends=True)

    # --- stopped ---

    def stop(self) -> dict[str, Any]:
        if self.known and not self._running():
            state = _state(False, None, self.known["still_at_boot"])
            return self._result(False, state, state, self.known)
        server = self._surveyed()
        origin = self._origin(server)
        deed = deeds.of(self.means.asking, server, origin)
        is_known = self.known and self.known["argv_sha256"] == processes.digest(server.shown)
        known = self.known if self.known and is_known else self._remembered(server, origin, deed)
        before = _state(True, server.pid, known["at_boot"])
        if not self.check_mode:
            self.record.save({**known, "phase": "stopping"})
            self.means.stop(self.act, deed, server, partial(self._ended, server))
            self.record.save({**known, "phase": STOPPED})
            self._require_quiet()
        return self._result(True, before, _state(False, None, known["still_at_boot"]), known)

    def _surveyed(self) -> processes.Server:
        """Return the process that was surveyed. Raises WishError for any other."""
        pid = self.wanted.pid or 0
        server = processes.server(self.means.tree, pid)
        if server is None or processes.digest(server.shown) != self.wanted.argv_sha256:
            problem = f"the process {pid} is not, or no longer, the server that was surveyed"
            raise WishError("pid", problem, "survey the host again")
        return server

    def _origin(self, server: processes.Server) -> origins.Origin:
        origin = origins.of(self.means.asking, server)
        kind, name = origin.row["kind"], origin.row["name"]
        if origin.why:
            why = secrets.hidden(origin.why)
            raise WishError("name", f"what has started {self.wanted.name} cannot be asked ({why})", "run again")
        if (kind, name) != (self.wanted.kind, self.wanted.name):
            problem = (
                f"the process {server.pid} was started by {kind} {name}, not by {self.wanted.kind} {self.wanted.name}"
            )
            raise WishError("name", problem, "survey the host again")
        if self.wanted.definition and origin.row["sha256"] != self.wanted.definition:
            raise WishError("name", f"{name} has changed since it was surveyed", "survey the host again")
        others = [str(pid) for pid in self._pids() if pid != server.pid]
        if others and kind != origins.BY_HAND:
            problem = f"{name} runs other servers too (process {', '.join(others)}), which would stop with this one"
            raise WishError("name", problem, "stop it by hand once none of them is called")
        return origin

    def _remembered(self, server: processes.Server, origin: origins.Origin, deed: deeds.Deed) -> dict[str, Any]:
        is_by_hand = origin.row["kind"] == origins.BY_HAND
        return {
            "schema": SCHEMA,
            "kind": self.wanted.kind,
            "name": self.wanted.name,
            "argv_sha256": processes.digest(server.shown),
            "definition": "" if is_by_hand else deeds.definition(self.means.asking, self.wanted.kind, deed),
            "at_boot": deeds.at_boot(deed, origin.row),
            "still_at_boot": deeds.still_at_boot(deed, origin.row),
            "notes": deeds.remains(deed, origin.row),
            "deed": dict(deed),
        }

    def _ended(self, server: processes.Server) -> bool:
        return self._comes_true(lambda: not processes.is_same(self.means.tree, server))

    def _require_quiet(self) -> None:
        again = self._running()
        if again:
            problem = f"something has started {self.wanted.name} again, as process {again.pid}"
            raise WishError("name", problem, "stop what starts it, then run again")

    # --- started ---

    def start(self) -> dict[str, Any]:
        server = self._running()
        if not self.known:
            state = _state(bool(server), server and server.pid, None)
            return self._result(False, state, state, None)
        known = self.known
        self._require_same(known)
        before = _state(bool(server), server and server.pid, known["still_at_boot"])
        if not self.check_mode:
            self.means.start(self.act, known["deed"] if not server else _settings(known["deed"]))
            if not self._comes_true(lambda: self._is_back(known)):
                problem = f"{self.wanted.name} does not run as it did after the time it was given to begin"
                raise WishError("name", problem, f"look at its log; {self.record.path} stays until it does")
            server = self._running()
            self.record.save(None)
        return self._result(True, before, _state(True, server and server.pid, known["at_boot"]), known)

    def _require_same(self, known: Mapping[str, Any]) -> None:
        try:
            now = deeds.definition(self.means.asking, known["kind"], known["deed"])
        except (RuntimeError, OSError, ValueError) as error:
            problem = f"what starts {self.wanted.name} cannot be asked ({secrets.hidden(words(error))})"
            raise WishError("name", problem, "see whether it is still there") from error
        if now != known["definition"]:
            problem = f"{self.wanted.name} has changed since it was stopped"
            raise WishError("name", problem, f"start it by hand, then remove {self.record.path}")

    def _is_back(self, known: Mapping[str, Any]) -> bool:
        server = self._running()
        return server is not None and processes.digest(server.shown) == known["argv_sha256"]

    # --- both ---

    def _running(self) -> processes.Server | None:
        """Return the server that this origin runs now; None if there is none."""
        return next(filter(self._is_own, processes.servers(self.means.tree)), None)

    def _pids(self) -> list[int]:
        """Return the processes of all servers that this origin runs."""
        return [server.pid for server in processes.servers(self.means.tree) if self._is_own(server)]

    def _is_own(self, server: processes.Server) -> bool:
        row = origins.of(self.means.asking, server).row
        return (row["kind"], row["name"]) == (self.wanted.kind, self.wanted.name)

    def _comes_true(self, condition: Callable[[], bool]) -> bool:
        for _each in range(int(self.wanted.seconds / _PAUSE_S) + 1):
            if condition():
                return True
            self.means.pause(_PAUSE_S)
        return False

    def _result(
        self, changed: bool, before: dict[str, Any], after: dict[str, Any], known: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        record = self.record.path if known and not (self.wanted.state == STARTED and changed) else None
        return {
            "changed": changed,
            "before": before,
            "after": after,
            "record": record,
            "notes": list(known["notes"]) if known else [],
            "deed": deeds.shown(known["deed"]) if known else {},
            "diff": {"before": before, "after": after},
        }


def _state(running: bool, pid: int | None, at_boot: bool | None) -> dict[str, Any]:
    return {"running": running, "pid": pid, "starts_at_boot": at_boot}


def _settings(deed: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a deed is to be undone although the server runs: whether it starts at boot."""
    return {name: value for name, value in deed.items() if name in ("unit", "container")}
