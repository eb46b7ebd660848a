# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The store of answers beside a gateway's HAProxy: whether it runs, with which files, and whether calls use it."""

from __future__ import annotations

import re
import socket
import time
from dataclasses import dataclass
from typing import Any

from ..host import process
from ..host.run import Run
from . import runtime

_SECONDS = 1.0
_PAUSE_S = 0.1
_MOST_BYTES = 4096
_GENERATION = re.compile(rb"\r\nx-generation: *([0-9a-f]{1,64})\r\n", re.IGNORECASE)


@dataclass(frozen=True)
class Place:
    """Where the store and HAProxy answer."""

    unit: str = "tfserving-cache.service"
    socket: str = "/var/lib/haproxy/tfserving-cache/store.sock"
    haproxy: str = runtime.SOCKET


def generation(path: str) -> str:
    """Return the generation of the store that answers on a socket, empty where none does."""
    try:
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(_SECONDS)
            line.connect(path)
            line.sendall(b"GET / HTTP/1.1\r\nHost: check\r\nConnection: close\r\n\r\n")
            found = _GENERATION.search(_head(line))
    except OSError:
        return ""
    return found[1].decode() if found else ""


def _head(line: socket.socket) -> bytes:
    received = b""
    while b"\r\n\r\n" not in received and len(received) < _MOST_BYTES:
        part = line.recv(_MOST_BYTES)
        if not part:
            break
        received += part
    return received


def read(run: Run, place: Place) -> dict[str, Any]:
    """Return whether there is a unit of the store, whether it runs, and the generation that answers."""
    unit = process.unit(run, place.unit)
    return {
        "present": unit.load == "loaded",
        "running": bool(unit.pid),
        "generation": generation(place.socket) if unit.pid else "",
    }


def await_use(run: Run, place: Place, wanted: str, seconds: float) -> dict[str, Any]:
    """Return the state once the store answers as ``wanted`` and HAProxy sends it calls.

    Raises RuntimeError with the store's own words when it does not within ``seconds``.
    """
    end = time.monotonic() + seconds
    while True:
        found = read(run, place)
        words = _missing(found, wanted, place)
        if not words:
            return found
        if time.monotonic() > end:
            raise RuntimeError(f"{place.unit}: {words}{_said(run, place)}")
        time.sleep(_PAUSE_S)


def _missing(found: dict[str, Any], wanted: str, place: Place) -> str:
    """Return what is not yet as it should be."""
    if not found["running"]:
        return "does not run"
    if found["generation"] != wanted:
        return f"answers as generation {found['generation'] or 'none'} instead of {wanted}"
    try:
        backends = runtime.stat(runtime.ask(place.haproxy, "show stat"))["backends"]
    except runtime.SocketError as error:
        return str(error)
    state = backends.get("answers", {}).get("servers", {}).get("store", {}).get("status", "none")
    return "" if state == "UP" else f"HAProxy sees it as {state}"


def _said(run: Run, place: Place) -> str:
    """Return what the store last wrote into the journal, on lines of their own."""
    lines = process.journal(run, process.unit(run, place.unit))
    return "".join(f"\n{line}" for line in lines[-10:])
