# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Which versions each instance has, by the server's own word.

The server counts each question for a status as a request of its metrics. The companion of the gates asks once a second
anyway and tells what it heard, so that this asks it. On a host without gates the server itself is asked, every
``PERIOD_S``: that is nothing beside the questions of tfserving-health, one in five seconds.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Mapping
from typing import Any

from ..disk import plain_files
from .host import Host, PartError, whole

AVAILABLE = "AVAILABLE"
# By model and version.
States = Mapping["tuple[str, str]", str]

PERIOD_S = 300.0
# The companion answers within milliseconds.
PAGE_S = 1.0
MOST_BYTES = 4 << 20
# The server never forgets a version that it had.
MOST_VERSIONS = 20
_PAGE = {
    "instances": {
        str: {"open": bool, "state": str, "record": lambda value: True, "health": {"models": {str: {str: str}}}}
    }
}
_KEPT = {"at": (int, float), "states": {str: {str: {str: str}}}}


def page(host: Host) -> Mapping[str, Any]:
    """Return what the companion says of each instance. Raises PartError."""
    found: Mapping[str, Any] = host.shared("page", lambda: _page(int(host.plan["gate"]["port"])))
    return found


def _page(port: int) -> Any:
    try:
        head, _blank, body = asked(port, "/gate").partition(b"\r\n\r\n")
        found = plain_files.parsed(body) if head.startswith(b"HTTP/1.1 200 ") else None
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict) or not plain_files.fits(found, _PAGE):
        raise PartError(f"the companion of the gates does not answer on port {port}; see tfserving-gate.service")
    return found["instances"]


def asked(port: int, path: str, host: str = "127.0.0.1") -> bytes:
    """Return the whole answer of a server that ends its connection with it. Raises OSError, ValueError.

    Python's http.client would bring the libraries of TLS: a third more memory and time for the whole collector.
    """
    found, until = b"", time.monotonic() + PAGE_S
    with socket.create_connection((host, port), timeout=PAGE_S) as wire:
        wire.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode("ascii"))
        while piece := wire.recv(1 << 16):
            found += piece
            left = until - time.monotonic()
            if len(found) > MOST_BYTES or left <= 0:
                raise ValueError("it sends too much, or too slowly")
            wire.settimeout(left)
    return found


def states(host: Host) -> Mapping[str, States]:
    """Return the states of each instance's versions; an instance that was not heard of is missing. Raises PartError."""
    found: Mapping[str, States] = host.shared("states", lambda: _states(host))
    return found


def _states(host: Host) -> dict[str, States]:
    if host.plan.get("gate"):
        told = {name: each["health"]["models"] for name, each in page(host).items()}
    else:
        told = _of_servers(host)
    names = {each["name"]: set(each["models"]) for each in host.instances if host.process(each["name"])}
    return {name: _bounded(told[name], models) for name, models in names.items() if told.get(name)}


def _bounded(told: Mapping[str, Mapping[str, str]], models: set[str]) -> States:
    """Return the newest versions of the plan's models."""
    return {
        (model, version): state
        for model in sorted(models & set(told))
        for version, state in sorted(told[model].items(), key=lambda each: -(whole(each[0]) or 0))[:MOST_VERSIONS]
    }


def _of_servers(host: Host) -> dict[str, dict[str, dict[str, str]]]:
    kept = host.state.section("models", _KEPT)
    if kept and 0 <= host.now - kept["at"] < PERIOD_S:
        return dict(kept["states"])
    # Only here, since it brings http.client.
    from ..gate import health

    found = {}
    for instance in host.instances:
        if host.process(instance["name"]):
            look = health.look(instance["ports"]["rest"], instance["models"], 0.0)
            heard = {
                model: {str(version): state for version, state in each.items()} for model, each in look.states.items()
            }
            found[instance["name"]] = heard
    host.state.keep("models", {"at": host.now, "states": found})
    return found
