# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""HAProxy's own sockets: what it is asked, and what its answers mean. Nothing here changes anything.

An answer is read to its end but never beyond a limit of size and time, and its texts (names of servers, words of agents
and of checks) are made visible, since they come from the network.
"""

from __future__ import annotations

import csv
import re
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..visible_text import told

# Of the worker, level admin (roles/gateway/templates/host/etc/haproxy/haproxy.cfg.j2).
SOCKET = "/run/haproxy/admin.sock"
# A table of 200 servers in 50 backends takes 4 MB.
MOST_BYTES = 32 << 20
# HAProxy answers in a few milliseconds even under load; a stopped one never does.
SECONDS = 10.0
_WORDS = 200
# The master starts itself anew at each reload, and its socket refuses or breaks connections meanwhile.
_AWAY_S = 3.0
_PAUSE_S = 0.05

# What is kept of a server, a backend or a frontend: texts as they are, all others as numbers, absent where empty.
TEXTS = ("status", "last_chk", "last_agt")
NUMBERS = (
    *("scur", "slim", "stot", "qcur", "rate", "weight", "act", "econ", "eresp", "wretr", "wredis", "dreq", "ereq"),
    *("hrsp_2xx", "hrsp_4xx", "hrsp_5xx", "cli_abrt", "srv_abrt", "chkfail", "lastchg", "qtime", "rtime"),
)
_GENERATION = re.compile(r"\bgeneration[ =]([0-9A-Za-z._-]{1,64})")
_MAP_LINE = re.compile(r"0x[0-9a-f]+ (\S+) ?(.*)")
_PROCESS = re.compile(r"(\d+)\s+(master|worker)\s+(\d+)(?: \[failed: (\d+)\])?\s+(\S+)\s+(\S+)")


class SocketError(RuntimeError):
    """HAProxy does not answer; one sentence with the path of its socket."""


def ask(path: str, command: str, seconds: float = SECONDS) -> str:
    """Return HAProxy's answer to one command on the socket at ``path``. Raises SocketError."""
    if "\n" in command:
        raise ValueError("a command is one line")
    began = time.monotonic()
    while True:
        try:
            return _ask(path, command, seconds)
        except OSError as error:
            away = isinstance(error, ConnectionError) and time.monotonic() - began < _AWAY_S
            if not away:
                raise SocketError(f"{path}: HAProxy does not answer ({error.strerror or error})") from error
        time.sleep(_PAUSE_S)


def _ask(path: str, command: str, seconds: float) -> str:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(seconds)
        connection.connect(path)
        connection.sendall(f"{command}\n".encode())
        # The master's socket stays open after its answer until the other side has said that it has no more to ask.
        connection.shutdown(socket.SHUT_WR)
        return b"".join(_parts(connection, path, time.monotonic() + seconds)).decode(errors="replace")


def _parts(connection: socket.socket, path: str, deadline: float) -> Iterator[bytes]:
    size = 0
    while True:
        part = connection.recv(1 << 16)
        size += len(part)
        if not part:
            return
        if size > MOST_BYTES:
            raise SocketError(f"{path}: HAProxy's answer has more than {MOST_BYTES >> 20} MB")
        if time.monotonic() > deadline:
            raise SocketError(f"{path}: HAProxy's answer does not end")
        yield part


def info(answer: str) -> dict[str, str]:
    """Return what ``show info`` says, by name."""
    pairs = (line.partition(":") for line in answer.splitlines())
    return {told(name.strip(), _WORDS): told(value.strip(), _WORDS) for name, colon, value in pairs if colon}


def generation(found: dict[str, str]) -> str:
    """Return the generation that a worker's configuration names in its description, or an empty text."""
    named = _GENERATION.search(found.get("description", ""))
    return named[1] if named else ""


def stat(answer: str, numbers: Sequence[str] = NUMBERS) -> dict[str, dict[str, Any]]:
    """Return what ``show stat`` says: ``frontends`` and ``backends`` by name, and in each backend its ``servers``.

    Raises SocketError for an answer that is not the table, or not all of it: the backends that lack would have no
    traffic for those who look.
    """
    if not answer.startswith("# pxname,svname,"):
        raise SocketError(f"show stat: HAProxy answers with something else ({told(answer.strip(), _WORDS)})")
    # An empty line ends each answer.
    if not answer.endswith("\n\n"):
        raise SocketError("show stat: HAProxy's answer breaks off")
    found: dict[str, dict[str, Any]] = {"frontends": {}, "backends": {}}
    for row in csv.DictReader(answer[2:].splitlines()):
        proxy, name = told(row["pxname"] or "", _WORDS), told(row.get("svname") or "", _WORDS)
        if name == "FRONTEND":
            found["frontends"][proxy] = _entry(row, numbers)
        elif name == "BACKEND":
            found["backends"].setdefault(proxy, {"servers": {}}).update(_entry(row, numbers))
        elif row.get("type") == "2":
            found["backends"].setdefault(proxy, {"servers": {}})["servers"][name] = _entry(row, numbers)
    return found


def rows(backends: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the backends of ``stat`` as rows again, one for each server and one for the backend itself."""
    return [
        {"pxname": name, "svname": server, **entry}
        for name, backend in backends.items()
        for server, entry in (*backend["servers"].items(), ("BACKEND", _without_servers(backend)))
    ]


def _without_servers(backend: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in backend.items() if key != "servers"}


def _entry(row: dict[str, Any], wanted: Sequence[str]) -> dict[str, Any]:
    texts = {name: told(row[name], _WORDS) for name in TEXTS if row.get(name)}
    numbers = {name: int(row[name]) for name in wanted if re.fullmatch(r"-?[0-9]{1,18}", row.get(name) or "")}
    return {**texts, **numbers}


def processes(answer: str) -> dict[str, Any]:
    """Return what ``show proc`` of the master says: ``master``, the present ``workers`` and the ``old_workers``.

    ``failed`` is the number of reloads in a row that failed. Raises SocketError for another answer.
    """
    found: dict[str, Any] = {"master": {}, "workers": [], "old_workers": []}
    kind = "workers"
    for line in answer.splitlines():
        kind = "old_workers" if line.startswith("# old workers") else kind
        row = _PROCESS.match(line)
        if row:
            pid, what, reloads, failed, uptime, version = row.groups()
            entry = {"pid": int(pid), "reloads": int(reloads), "uptime": uptime, "version": version}
            if what == "master":
                found["master"] = {**entry, "failed": int(failed or 0)}
            else:
                found[kind].append(entry)
    if not found["master"]:
        raise SocketError(f"show proc: HAProxy's master answers with something else ({told(answer.strip(), _WORDS)})")
    return found


def entries(answer: str, path: str) -> dict[str, str]:
    """Return the entries of ``show map``; the first of a key counts, as it does for HAProxy. Raises SocketError."""
    rows = [line for line in answer.splitlines() if line.strip()]
    found: dict[str, str] = {}
    for row in rows:
        pair = _MAP_LINE.fullmatch(row)
        if not pair:
            raise SocketError(f"{path}: HAProxy shows no such map ({told(row, _WORDS)})")
        found.setdefault(pair[1], pair[2])
    return found
