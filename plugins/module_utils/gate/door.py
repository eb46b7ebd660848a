# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The gates of a host as those use them who disturb what serves: the module `gate`, and the conductor of instances.

This package stands behind `serving`, whose client it uses, so a conductor is handed a Door and imports none.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..host.run import Run
from . import config as configs
from . import leave as leaving
from . import marks as marks_of
from . import pollers, refusal, running, sockets, told
from . import record as records
from .config import Config, Instance
from .leave import Left
from .marks import Marks
from .record import Record
from .sockets import Socket

__all__ = ["Door", "Left", "Record", "Seen"]

PAUSE_S = 0.2
_CONNECT_S = 2.0


@dataclass(frozen=True)
class Seen:
    """The gate of one instance: ``words`` say why it is not open, ``problem`` what was waited for in vain."""

    name: str
    open: bool
    state: str
    words: str
    record: Record | None = None
    problem: str = ""


@dataclass(frozen=True)
class Door:
    """The gates of this host. ``run`` starts programs (ss, nft), as AnsibleModule.run_command does."""

    run: Run
    config: str = configs.PATH
    folder: str = records.FOLDER
    marks: Marks = field(default_factory=Marks)

    @property
    def present(self) -> bool:
        """Return whether this host has gates at all: hosts of 0.1.0, and those before their first run, have none."""
        return os.path.exists(self.config)

    @property
    def names(self) -> list[str]:
        """Return the instances of the host. Raises RuntimeError, in one sentence."""
        return sorted(self._config().instances)

    def check(self) -> None:
        """Raise RuntimeError, in one sentence, if a gateway has stopped asking: it may not see the closed gate.

        A companion that has just been started gives the gateways the time to ask. Nothing is expected where the plan
        knows no gateways.
        """
        config = self._config()
        if not config.gateways:
            return
        page = self._settled_page(config)
        if page is None:
            problem = f"nobody answers on port {config.port} for the gates of this host"
            raise RuntimeError(f"{problem}; look at tfserving-gate.service")
        silenced = pollers.silenced(page, config.gateways)
        if silenced:
            problem = f"gateways have stopped asking for the gates of this host: {', '.join(silenced)}"
            raise RuntimeError(f"{problem}; repair them, or take those that are gone out of the inventory")

    def _settled_page(self, config: Config) -> Mapping[str, Any] | None:
        end = time.monotonic() + pollers.SILENT_S + told.PAGE_S
        while True:
            page = self._page(config)
            settled = page and (page["up_s"] > pollers.SILENT_S or not pollers.missing(page, config.gateways))
            if settled or time.monotonic() >= end:
                return page
            time.sleep(PAUSE_S)

    def leave(self, names: Sequence[str], record: Record | None, refuse: bool = True) -> list[Left]:
        """Put ``record`` in force for the instances and carry out the order of leaving, all of them side by side.

        Without a record the gates are closed for the present processes alone: their successors come back by
        themselves once they are admitted. A record of those who stand further up than ``record`` stays in force.
        Bounded by drain_timeout_s. ``refuse``: whether new connections are refused in the end, which a server that is
        about to stop needs. Raises RuntimeError, in one sentence, if the plan cannot be read.
        """
        config = self._config()
        going = [running.instance(self.run, name, config.instances.get(name)) for name in names]
        host = _ThisHost(self, config, record)
        return leaving.leave([one for one in going if one], config, host, refuse)

    def would_set(self, name: str, record: Record) -> bool:
        """Return whether a record is another than the one in force, and may replace it."""
        present = records.read(name, time.time(), self.folder)
        return present is None or (present.yields_to(record.kind) and not present.says(record))

    def set(self, name: str, record: Record) -> None:
        """Put a record in force, unless one of somebody further up is, or one that says the same. Raises OSError."""
        if self.would_set(name, record):
            records.write(name, record, self.folder)

    def holds(self, name: str, kind: str) -> bool:
        """Return whether anything holds an instance back that ``kind`` may lift."""
        present = records.read(name, time.time(), self.folder)
        invocation, marks = self.marks.invocation(name), self.marks
        stays = present is not None and not present.yields_to(kind)
        refused = bool(marks.of(name, marks_of.REFUSED)) and not (stays and present and present.refuses())
        leaving = marks.of(name, marks_of.LEAVING) == invocation
        admitted = marks.of(name, marks_of.ADMITTED) == invocation
        held = bool(invocation) and (leaving or not admitted)
        return (present is not None and not stays) or refused or held

    def back(
        self, names: Sequence[str], kind: str = records.RUN, wait: bool = True, timeout_s: float = 60.0
    ) -> list[Seen]:
        """Let proven instances back: lift the refusal, admit the present process, take away what ``kind`` may lift.

        With ``wait`` until each is open and every gateway has seen it so, at most ``timeout_s``; what was waited for
        in vain stands in ``problem``. Records of those who stand further up stay, and with them the gate stays closed,
        which is no problem. Raises RuntimeError, in one sentence, if the host cannot change what holds the gates.
        """
        config = self._config()
        try:
            for name in names:
                present = records.read(name, time.time(), self.folder)
                if present is None or present.yields_to(kind):
                    records.remove(name, self.folder)
                self.lift(name, config)
                self.marks.drop(name, marks_of.LEAVING)
                self.marks.put(name, marks_of.ADMITTED)
        except OSError as error:
            raise RuntimeError(f"{error.filename}: cannot be changed ({error.strerror})") from error
        return self._awaited(names, config, timeout_s if wait else 0.0, wait)

    def admit(self, name: str) -> bool:
        """Admit the present process of an instance, once; return whether this call did. Raises OSError, RuntimeError.

        What has been admitted may be on its way out again, with new connections refused, so it is left alone.
        """
        invocation = self.marks.invocation(name)
        if not invocation or invocation in {self.marks.of(name, one) for one in (marks_of.ADMITTED, marks_of.LEAVING)}:
            return False
        self.lift(name, self._config())
        self.marks.put(name, marks_of.ADMITTED)
        return True

    def lift(self, name: str, config: Config) -> None:
        """Take connections to an instance's ports again, unless somebody closed it. Raises OSError, RuntimeError."""
        present = records.read(name, time.time(), self.folder)
        if present and present.refuses():
            return
        refused = [int(port) for port in self.marks.of(name, marks_of.REFUSED).split() if port.isdecimal()]
        planned = config.instances.get(name)
        ports = sorted({*refused, *(planned.ports if planned else ())})
        if ports:
            refusal.lift(self.run, ports)
        self.marks.drop(name, marks_of.REFUSED)

    def seen(self, names: Sequence[str] = ()) -> list[Seen]:
        """Return the gates as the companion answers for them now; of all instances without ``names``.

        Raises RuntimeError, in one sentence, if the plan cannot be read.
        """
        config = self._config()
        return self._seen(names or sorted(config.instances), self._page(config))

    def gateways(self) -> dict[str, Any]:
        """Return who asks for the gates: each gateway with its pairs of backend and server, and their ages.

        Raises RuntimeError, in one sentence, if the plan cannot be read.
        """
        page = self._page(self._config())
        return {} if page is None else dict(page["gateways"])

    def _config(self) -> Config:
        try:
            return configs.read(self.config)
        except configs.ConfigError as error:
            raise RuntimeError(str(error)) from error

    def _page(self, config: Config) -> Mapping[str, Any] | None:
        """Return the companion's page; None without one."""
        page = told.page(config.port)
        return page if pollers.is_page(page) else None

    def _seen(self, names: Sequence[str], page: Mapping[str, Any] | None) -> list[Seen]:
        known = told.instances(page or {})
        unanswered = {"open": False, "state": "unknown", "words": "unknown: the companion does not answer for it"}
        each = ((name, known.get(name, unanswered)) for name in names)
        now = time.time()
        return [
            Seen(name, one["open"], one["state"], one["words"], records.read(name, now, self.folder))
            for name, one in each
        ]

    def _awaited(self, names: Sequence[str], config: Config, timeout_s: float, wait: bool) -> list[Seen]:
        end = time.monotonic() + timeout_s
        while True:
            page = self._page(config)
            found = self._seen(names, page)
            problems = [_problem(one, page) for one in found] if wait else [""] * len(found)
            if not any(problems) or time.monotonic() >= end:
                return [
                    Seen(one.name, one.open, one.state, one.words, one.record, problem)
                    for one, problem in zip(found, problems)
                ]
            time.sleep(PAUSE_S)


def _problem(seen: Seen, page: Mapping[str, Any] | None) -> str:
    """Return what an instance that is let back still lacks."""
    if seen.record:
        return ""
    if not seen.open:
        return seen.words
    late = pollers.not_back(page, seen.name) if page else []
    return f"it is open, but {', '.join(late[:8])} have not seen that yet" if late else ""


class _ThisHost:
    """The effects of leaving, on the host that this process runs on."""

    def __init__(self, door: Door, config: Config, record: Record | None) -> None:
        self.door = door
        self.config = config
        self.record = record

    def now(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def close(self, name: str) -> float:
        present = records.read(name, time.time(), self.door.folder)
        # Who waits for a gate that has been closed for long need not wait for the gateways to ask again.
        before = marks_of.age_s(records.path_of(name, self.door.folder)) if present else 0.0
        if self.record is None:
            return max(before, self.door.marks.put(name, marks_of.LEAVING))
        self.door.set(name, self.record)
        return before

    def page(self) -> Mapping[str, Any] | None:
        return self.door._page(self.config)

    def listens(self, port: int) -> bool:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=_CONNECT_S).close()
        except ConnectionRefusedError:
            return False
        except OSError:
            return True  # it does not say so
        return True

    def established(self, ports: Sequence[int]) -> list[Socket]:
        return sockets.established(self.door.run, ports)

    def refuse(self, instance: Instance) -> None:
        refusal.refuse(self.door.run, instance.ports)
        self.door.marks.write(instance.name, marks_of.REFUSED, " ".join(map(str, instance.ports)))
