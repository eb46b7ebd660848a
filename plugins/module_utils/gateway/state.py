# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A gateway's HAProxy as a whole: what is installed, what runs, how its backends are, and who has its ports."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..host import process
from ..host.run import Run
from ..visible_text import visible_lines
from . import log_socket, owners, runtime

# Where a gateway remembers the serving hosts, and what of each.
FLEET_RECORD = "/var/lib/tfserving-fleet/gateway/fleet.json"
SERVING_HOST = {"address": str, "gate_port": int, "longest_call_s": (int, float), "instances": [dict], "models": [dict]}
# How often a new worker is looked for.
_PAUSE_S = 0.1
# What is wrong after so long stays wrong: a reload that failed, a port that somebody else has.
_GRACE_S = 3.0
# Of the journal: what was wrong with a configuration or a start, not with the servers behind it.
_ALERT = re.compile(r"\[(ALERT|EMERG)\]")
_SERVERS = re.compile(r"has no server available|\bis DOWN\b|Health check for")
_MOST_LINES = 10
_VERSION = re.compile(r"[0-9A-Za-z.+~:-]{1,100}")


@dataclass(frozen=True)
class Place:
    """Where HAProxy's sockets are, and its unit."""

    socket: str = runtime.SOCKET
    master_socket: str = "/run/haproxy-master.sock"
    unit: str = "haproxy.service"
    proc: Path = owners.PROC


def packages(run: Run, names: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return the ``installed`` version of each package and the ``candidate`` of apt, empty where there is none."""
    return {name: {"installed": _installed(run, name), "candidate": _candidate(run, name)} for name in names}


def _installed(run: Run, name: str) -> str:
    status, out, _err = run(["dpkg-query", "--show", "--showformat", "${db:Status-Status} ${Version}", name])
    state, _blank, version = out.strip().partition(" ")
    return version if status == 0 and state == "installed" and _VERSION.fullmatch(version) else ""


def _candidate(run: Run, name: str) -> str:
    status, out, _err = run(["apt-cache", "policy", name])
    found = re.search(r"^  Candidate: (\S+)$", out, re.MULTILINE) if status == 0 else None
    return found[1] if found and _VERSION.fullmatch(found[1]) else ""


def read(run: Run, place: Place, ports: Sequence[int] = (), with_others: bool = False) -> dict[str, Any]:
    """Return the state of the gateway. Raises RuntimeError if HAProxy runs but does not answer.

    ``others`` are those who listen on any port of the host besides HAProxy, if they are asked for.

    Where it does not run, ``running`` is false and nothing of it is told. ``silent`` is HAProxy that has our socket and
    does not answer there: what its servers carry is not known then.
    """
    unit = process.unit(run, place.unit)
    found: dict[str, Any] = {
        "running": bool(unit.pid),
        "silent": False,
        "version": "",
        "generation": "",
        "logs": False,
        "processes": {"master": {}, "workers": [], "old_workers": []},
        "info": {},
        "frontends": {},
        "backends": {},
        "problems": [],
        "others": owners.others(unit.pid, place.proc) if with_others else {},
    }
    if not unit.pid:
        return {**found, "problems": [f"{place.unit}: {unit.verdict}"]}
    found["processes"] = runtime.processes(runtime.ask(place.master_socket, "show proc"))
    found["problems"] = owners.problems(ports, unit.pid, place.proc)
    try:
        told = runtime.info(runtime.ask(place.socket, "show info"))
        return {
            **found,
            "version": told.get("Version", ""),
            "generation": runtime.generation(told),
            "logs": log_socket.is_reached(told.get("Pid", "")),
            "info": told,
            **runtime.stat(runtime.ask(place.socket, "show stat")),
        }
    except runtime.SocketError as error:
        # Debian's own configuration has the socket, but somebody else's need not.
        return {**found, "silent": os.path.exists(place.socket), "problems": [*found["problems"], str(error)]}


def await_generation(run: Run, place: Place, wanted: str, ports: Sequence[int], seconds: float) -> dict[str, Any]:
    """Return the state once the worker runs the generation ``wanted`` and HAProxy alone has its ports.

    Raises RuntimeError with HAProxy's own words when it has failed, or after ``seconds``.
    """
    began = time.monotonic()
    while True:
        hopeless = False
        try:
            found = read(run, place, ports)
            right = found["generation"] == wanted
            if right and not found["problems"]:
                return found
            words = "; ".join(found["problems"]) or f"its worker runs {found['generation'] or 'no generation'}"
            hopeless = right or not found["running"] or found["processes"]["master"].get("failed", 0) > 0
        except RuntimeError as error:
            words = str(error)
        past = time.monotonic() - began
        if past > seconds or (hopeless and past > _GRACE_S):
            raise RuntimeError(f"HAProxy does not run generation {wanted}: {words}{complaints(run, place)}")
        time.sleep(_PAUSE_S)


def complaints(run: Run, place: Place) -> str:
    """Return what HAProxy last wrote into the journal about its configuration, on lines of their own."""
    lines = process.journal(run, process.unit(run, place.unit), of_all_starts=True)
    wrong = [line for line in lines if _ALERT.search(line) and not _SERVERS.search(line)]
    return visible_lines("\n".join(["", *wrong[-_MOST_LINES:]])) if wrong else ""
