# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The survey of one host in one call: its servers, and what would start more of them. Nothing is installed or changed.

What cannot be read is told in ``unread``, and ends nothing. Nothing secret is in the result: secrets are taken out
where they are read.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ..diagnosis.unread import Unread
from ..errors import WishError
from ..evidence import gpus
from ..host.sysfs import Tree
from ..nvidia import query
from . import (
    containers,
    listening,
    model_configs,
    models,
    named_files,
    origins,
    processes,
    secrets,
    served,
    supervisor,
    systemd,
)
from .inside import Inside

SCHEMA = 1
SECONDS_BOUNDS = (1, 3600)
# Programs are given 15 seconds each, and some are asked after another.
_ANSWERS_S = 50.0


@dataclass(frozen=True)
class Wanted:
    """The name of the host, and the time that checksums of models may take altogether."""

    host: str
    seconds: float


@dataclass
class Means:
    """What the survey asks, so that a recorded host can stand in for this one."""

    tree: Tree = field(default_factory=Tree)
    run: supervisor.Run = supervisor.RUN
    nvidia: query.Ask = gpus.ASK
    served: Callable[..., dict[str, Any]] = served.ask

    @property
    def asking(self) -> origins.Asking:
        """Return what asks about origins."""
        return origins.Asking(self.tree, self.run)


def check(given: Mapping[str, Any]) -> Wanted:
    """Return the options of the module. Raises WishError."""
    low, high = SECONDS_BOUNDS
    if not low <= given["seconds"] <= high:
        raise WishError("seconds", f"{given['seconds']} is out of bounds", f"write {low} to {high}")
    return Wanted(given["host"] or os.uname().nodename, float(given["seconds"]))


def survey(wanted: Wanted, means: Means) -> dict[str, Any]:
    """Return the survey of a host."""
    return _Survey(wanted, means).found()


class _Known:
    """What is found out about one server, step by step."""

    def __init__(self, tree: Tree, server: processes.Server) -> None:
        self.server = server
        self.inside = Inside(tree, server.pid)
        # The server's own words, secrets and all: what they name is looked up by them.
        self.flags = model_configs.flags_of(processes.server_words(server.argv))
        self.files = named_files.Read({}, None)
        self.models: list[model_configs.Model] = []

    @property
    def source(self) -> str:
        return f"process {self.server.pid}"


class _Survey:
    def __init__(self, wanted: Wanted, means: Means) -> None:
        self.wanted, self.means, self.tree = wanted, means, means.tree
        self.unread = Unread()
        # By process, as they become known: a disk that hangs takes nothing from those before.
        self.models: dict[int, list[dict[str, Any]]] = {}

    def found(self) -> dict[str, Any]:
        servers = self.unread.attempt("processes", lambda: processes.servers(self.tree)) or []
        known = [_Known(self.tree, server) for server in servers]
        first = self.unread.gathered(self._works(known), _ANSWERS_S)
        for each in known:
            self._name_models(each, first.get(f"{each.source} files"))
        second = self.unread.gathered(self._answers(known, first), self.wanted.seconds + _ANSWERS_S)
        rows = [self._server(each, first, second) for each in known]
        return {
            "schema": SCHEMA,
            "host": self.wanted.host,
            "root": os.geteuid() == 0,
            "servers": [row for row in rows if row],
            "launchers": [row for name in _LAUNCHERS for row in first.get(f"{name} launchers") or ()],
            # A program's words may hold whatever it was given.
            "unread": [{name: secrets.hidden(text) for name, text in note.items()} for note in self.unread.notes],
        }

    def _works(self, known: list[_Known]) -> dict[str, Callable[[], Any]]:
        """Return what is asked first, side by side: none of it depends on another."""
        asking = self.means.asking
        works: dict[str, Callable[[], Any]] = {
            "systemd launchers": lambda: systemd.launchers(self.tree, asking.ask) if self._has_systemd() else [],
            "supervisor launchers": self._programs,
            "nvidia-smi": lambda: query.rows(self.means.nvidia, "compute-apps", ("pid", "gpu_uuid")),
        }
        for runtime in containers.RUNTIMES:
            works[f"{runtime} launchers"] = partial(containers.launchers, asking.ask, runtime)
        for each in known:
            works[each.source] = partial(processes.read, self.tree, each.server)
            works[f"{each.source} origin"] = partial(origins.of, asking, each.server)
            works[f"{each.source} files"] = partial(named_files.read, each.inside, each.flags)
            works[f"{each.source} sockets"] = partial(listening.read, self.tree, each.server.pid, each.flags)
        return works

    def _has_systemd(self) -> bool:
        return self.tree.exists("run/systemd/system")

    def _programs(self) -> list[dict[str, Any]]:
        path = supervisor.configuration(self.tree, self._daemon())
        if path is None:
            return []
        found = supervisor.programs(self.tree, path)
        states = self.unread.attempt("supervisor", lambda: supervisor.status(self.means.run, self.tree, path))
        # Without an answer nobody knows what runs.
        return [] if states is None else supervisor.launchers(self.tree, found, states, path)

    def _daemon(self) -> int | None:
        """Return the host's own supervisord: one in a container has files of its own."""
        for pid in self.tree.numbered("proc", "")[: processes.MOST_PIDS]:
            is_one = (self.tree.text(f"proc/{pid}/comm") or "").startswith("supervisord")
            if is_one and not containers.container_of(processes.group_path(self.tree, pid)):
                return pid
        return None

    def _name_models(self, each: _Known, files: named_files.Read | None) -> None:
        each.files = files or each.files
        source = f"{each.source} model_config_file"
        found = self.unread.attempt(source, lambda: model_configs.of_flags(each.flags, each.files.model_config))
        each.models = found or []
        if len(each.models) > served.MOST_MODELS:
            self.unread.note(
                f"{each.source} serves",
                f"of its {len(each.models)} models the first {served.MOST_MODELS} are asked for",
            )

    def _answers(self, known: list[_Known], first: Mapping[str, Any]) -> dict[str, Callable[[], Any]]:
        """Return what is asked once the models are known: by name of the servers, and on disk."""
        works: dict[str, Callable[[], Any]] = {}
        for each in known:
            works[f"{each.source} serves"] = partial(self._serves, each, first.get(f"{each.source} sockets") or [])
        works["models"] = partial(self._read_models, known)
        return works

    def _serves(self, each: _Known, places: list[dict[str, Any]]) -> dict[str, Any]:
        tls = bool(each.flags.get("ssl_config_file"))
        return listening.within(self.tree, each.server.pid, lambda: self.means.served(places, each.models, tls))

    def _read_models(self, known: list[_Known]) -> None:
        """Read the models of all servers, one after another: a disk is read no faster by many at once."""
        budget = models.Budget(self.wanted.seconds)
        for each in known:
            rows = self.models.setdefault(each.server.pid, [])
            for model in each.models:
                rows.append(models.read(each.inside, model, budget))

    def _server(self, each: _Known, first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any] | None:
        row = first.get(each.source)
        if row is None:
            # Why is noted: it has ended, or nobody may look at it.
            return None
        pid = each.server.pid
        origin = first.get(f"{each.source} origin") or origins.Origin(origins.by_nobody(each.server))
        if origin.why:
            self.unread.note(f"{each.source} origin", origin.why)
        if not self.means.tree.names(f"proc/{pid}/fd"):
            self.unread.note(
                each.source, "its variables, files and sockets cannot be read; survey as root, with become"
            )
        answered = second.get(f"{each.source} serves") or {"serves": None, "labels": None}
        return {
            **row,
            "origin": origin.row,
            "files": each.files.shown,
            "models": list(self.models.get(pid, [])),
            "listening": first.get(f"{each.source} sockets") or [],
            "serves": answered["serves"],
            "labels": answered["labels"],
            "gpus": processes.by_pid(first.get("nvidia-smi") or []).get(pid, []),
        }


_LAUNCHERS = ("systemd", "docker", "podman", "supervisor")
