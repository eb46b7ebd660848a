# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What has started a server, and would start it again: its container, program of supervisord, or unit; else a hand."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..diagnosis.command import Ask, interpreted
from ..diagnosis.unread import words
from ..host.sysfs import Tree
from ..visible_text import told
from . import containers, model_configs, processes, supervisor, systemd

SYSTEMD, DOCKER, PODMAN, COMPOSE, SUPERVISOR, BY_HAND = (
    "systemd",
    "docker",
    "podman",
    "compose",
    "supervisor",
    "by_hand",
)
KINDS = (SYSTEMD, DOCKER, PODMAN, COMPOSE, SUPERVISOR, BY_HAND)
_DEFAULT_PORT = "8500"
# Where a user's own containers are.
_USER = re.compile(r"/user@(\d+)\.service/")
_CLIENTS = ("run", "start", "compose")


class Origin(NamedTuple):
    """An origin: ``row`` as the survey shows it, and what it is reached by; ``why`` it could not be read in full."""

    row: dict[str, Any]
    runtime: str = ""
    identity: str = ""
    unit: str = ""
    program: str = ""
    configuration: str = ""
    retries: int = 0
    why: str = ""


class Asking(NamedTuple):
    """What is asked about origins."""

    tree: Tree
    run: supervisor.Run

    @property
    def ask(self) -> Ask:
        """Return what asks a program, and raises RuntimeError if it fails."""
        return lambda arguments: interpreted(arguments[0], self.run(arguments))


def of(asking: Asking, server: processes.Server) -> Origin:
    """Return the origin of a server. Never raises for what does not answer: that is told in ``why``."""
    group = processes.group_path(asking.tree, server.pid)
    container = containers.container_of(group)
    if container:
        return _container(asking, server, *container)
    daemon = supervisor.daemon_of(asking.tree, server.pid)
    if daemon:
        return _program(asking, server, daemon)
    unit = systemd.unit_of(group)
    return _unit(asking, unit) if unit else _hand(server)


def _row(kind: str, name: str, definition: str = "", **parts: Any) -> dict[str, Any]:
    whole = {"kind": kind, "name": name, "unit": None, "container": None, "supervisor": None, **parts}
    return {**whole, "sha256": checksum(definition)}


def checksum(definition: str) -> str:
    """Return the SHA-256 by which the definition of an origin is known again."""
    return hashlib.sha256(definition.encode("utf-8", "surrogatepass")).hexdigest()


def _container(asking: Asking, server: processes.Server, runtime: str, identity: str) -> Origin:
    if runtime not in containers.RUNTIMES:
        why = "it runs in a container of a runtime that is neither Docker nor Podman, and is not asked"
        return Origin(_row(BY_HAND, f"container-{identity[:12]}"), why=why)
    try:
        shown = containers.inspect(asking.ask, runtime, identity)
        row = _row(
            containers.kind_of(runtime, shown),
            containers.name_of(shown),
            containers.definition(shown),
            container=containers.described(asking.ask, runtime, shown),
        )
    except Exception as error:
        whose = _USER.search(processes.group_path(asking.tree, server.pid))
        why = f"it is a container of the user {whose[1]}; " if whose else ""
        return Origin(_row(runtime, identity[:12], identity), runtime, identity, why=told(why + words(error), 300))
    unit, why = _unit_of_container(asking, shown)
    row["unit"] = unit and unit[1]
    return Origin(row, runtime, identity, unit=unit[0] if unit else "", retries=containers.retries(shown), why=why)


def _unit_of_container(asking: Asking, shown: Mapping[str, Any]) -> tuple[tuple[str, dict[str, Any]] | None, str]:
    """Return the unit that starts a container: Podman's says so in a label, Docker's runs the client."""
    name = containers.labels(shown).get("PODMAN_SYSTEMD_UNIT") or _unit_of_client(asking.tree, shown)
    if not name:
        return None, ""
    try:
        found = systemd.show(asking.ask, [name])
    except Exception as error:
        return None, told(words(error), 300)
    return ((name, systemd.described(found[name])), "") if name in found else (None, "")


def _unit_of_client(tree: Tree, shown: Mapping[str, Any]) -> str | None:
    names = {shown["Name"].lstrip("/"), str(shown["Id"])}
    for pid in tree.numbered("proc", "")[: processes.MOST_PIDS]:
        if (tree.text(f"proc/{pid}/comm") or "") in containers.RUNTIMES:
            argv = processes.argv(tree, pid)
            values = {word.rpartition("=")[2] for word in argv}
            if names & values and set(argv[1:4]) & set(_CLIENTS):
                return systemd.unit_of(processes.group_path(tree, pid))
    return None


def _program(asking: Asking, server: processes.Server, daemon: int) -> Origin:
    path, name, program, state, why = supervisor.configuration(asking.tree, daemon), "", None, "", ""
    try:
        if path is None:
            raise RuntimeError("supervisord has no configuration in any of the usual places")
        states = supervisor.status(asking.run, asking.tree, path)
        family = {server.pid, *processes.ancestors(asking.tree, server.pid)}
        name, state = next(((name, state) for name, (state, pid) in states.items() if pid in family), ("", ""))
        program = supervisor.program_of(supervisor.programs(asking.tree, path), name)
    except Exception as error:
        why = told(words(error), 300)
    # supervisord tells its programs their names.
    name = name or _variable(asking.tree, server.pid, "SUPERVISOR_PROCESS_NAME") or by_hand_name(server)
    shown = supervisor.described(program, state, path or "") if program else None
    definition = supervisor.definition(program) if program else ""
    row = _row(SUPERVISOR, told(name, 200), definition, supervisor=shown)
    return Origin(row, program=name, configuration=path or "", why=why)


def _variable(tree: Tree, pid: int, name: str) -> str:
    pairs = (pair.partition("=") for pair in processes.environment(tree, pid))
    return next((value for key, _equals, value in pairs if key == name), "")


def _unit(asking: Asking, name: str) -> Origin:
    shown: dict[str, str] = {}
    why = ""
    try:
        shown = systemd.show(asking.ask, [name]).get(name, {})
    except Exception as error:
        why = told(words(error), 300)
    described = systemd.described(shown) if shown else None
    return Origin(_row(SYSTEMD, told(name, 200), systemd.definition(shown), unit=described), unit=name, why=why)


def _hand(server: processes.Server) -> Origin:
    return Origin(by_nobody(server))


def by_nobody(server: processes.Server) -> dict[str, Any]:
    """Return the origin of a server of which no other is known."""
    return _row(BY_HAND, by_hand_name(server))


def by_hand_name(server: processes.Server) -> str:
    """Return a name for a server that nobody has named, by what no two servers of a host share: its port."""
    port = model_configs.flags_of(server.shown).get("port", _DEFAULT_PORT)
    return f"{processes.SERVER}-{port if port.isdigit() else 'without-port'}"
