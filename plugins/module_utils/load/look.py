# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A look at the server from where the load will come from, before any load is sent: ports, metadata, counters."""

from __future__ import annotations

import json
import os
import socket
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from .handshake import TIMEOUT_S, failure

# Signatures with some thousand inputs take this much.
MOST_BYTES = 4 << 20


def look(question: Path) -> int:
    """Answer a question from a file on standard output and return the exit code."""
    print(json.dumps(seen(json.loads(question.read_text(encoding="utf-8")))))
    return 0


def seen(question: Mapping[str, Any]) -> dict[str, Any]:
    """Return what this host sees of the server: for each port how it answers, and the models' metadata.

    ``{"ports": {"grpc": {"open": true}, "rest": {...}}, "metadata": {"ranker": {...}}, "cores": 4,
    "source": "10.0.0.9", "tls": null}``; a port that does not answer has ``"why"``, a model without metadata a text.
    ``tls`` says why a handshake failed (``handshake.failure``), where the target has certificates.
    """
    target = question["target"]
    ports = {name: _port(target["host"], target[name]) for name in ("grpc", "rest")}
    found: dict[str, Any] = {"ports": ports, "metadata": {}, "cores": cores(), "source": source(target["host"])}
    found["tls"] = failure(target) if target.get("tls") and ports["grpc"]["open"] else None
    if ports["rest"]["open"]:
        for model in question["models"]:
            found["metadata"][model] = _metadata(target["host"], target["rest"], model)
    return found


def cores() -> int:
    """Return how many CPUs this process may use."""
    return len(os.sched_getaffinity(0))


def source(host: str) -> str | None:
    """Return the address from which this host talks to ``host``; None without a route."""
    try:
        family, kind, protocol, _name, address = socket.getaddrinfo(host, 9, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.connect(address)
            return str(probe.getsockname()[0])
    except OSError:
        return None


def _port(host: str, port: int) -> dict[str, Any]:
    try:
        with socket.create_connection((host, port), TIMEOUT_S):
            return {"open": True}
    except socket.gaierror as error:
        return {"open": False, "why": "unknown host", "text": str(error.strerror)}
    except (TimeoutError, socket.timeout):
        return {"open": False, "why": "no answer"}
    except OSError as error:
        return {"open": False, "why": "refused" if isinstance(error, ConnectionRefusedError) else "no route"}


def _metadata(host: str, port: int, model: str) -> Any:
    place = f"[{host}]" if ":" in host else host
    address = f"http://{place}:{port}/v1/models/{quote(model, safe='')}/metadata"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(address, timeout=TIMEOUT_S) as reply:
            body = reply.read(MOST_BYTES + 1)
        found = json.loads(body) if len(body) <= MOST_BYTES else None
    except urllib.error.HTTPError as error:
        return f"HTTP {error.code}"
    except (OSError, ValueError) as error:
        return str(error)[:200]
    return found if isinstance(found, dict) else "its metadata are no JSON object"
