# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What lies between this host and the server, by itself: a round trip of the network, and a call that asks nothing."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import grpc_calls, rest
from .fine_loop import fine_loop
from .grpc_calls import Grpc, MissingGrpcError
from .handshake import TIMEOUT_S
from .rest import Rest
from .target import UnreachableError

# The middle of these tells the network; a single connection may have met a busy moment of either side.
CONNECTIONS = 5
Clock = Callable[[], float]


def network(question: Path, out: Path) -> int:
    """Answer a question from a file by OUT/result.json and return the exit code.

    The question has the ``target`` and ``protocol`` of a stage, a ``model`` that is there, how many ``calls`` to send,
    and the pause before each: ``pause_s``. With that of a stage beside it, both meet the same machines, as much asleep
    and as busy.

    The answer is ``{"connect_ms": [0.2, ...], "call_ms": [0.9, ...]}``; both are empty where nobody answers, the second
    one also without the package grpcio that it needs for gRPC.
    """
    asked = json.loads(question.read_text(encoding="utf-8"))
    target, protocol = asked["target"], asked["protocol"]
    found = {"connect_ms": connects_ms(target["host"], target[protocol]), "call_ms": []}
    if found["connect_ms"]:
        found["call_ms"] = calls_ms(target, protocol, asked["model"], asked["calls"], asked["pause_s"])
    (out / "result.json").write_text(json.dumps(found), encoding="utf-8")
    return 0


def connects_ms(host: str, port: int, clock: Clock = time.perf_counter) -> list[float]:
    """Return how long a few connections took, one after another: SYN and its answer, thus a round trip each.

    The kernels answer each other; no server has to be awake for it. The name is looked up before.
    """
    found: list[float] = []
    try:
        family, kind, protocol, _name, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        for _each in range(CONNECTIONS):
            with socket.socket(family, kind, protocol) as probe:
                probe.settimeout(TIMEOUT_S)
                began = clock()
                probe.connect(address)
                found.append((clock() - began) * 1000)
    except OSError:
        pass
    return found


def calls_ms(
    target: dict[str, Any], protocol: str, model: str, calls: int, pause_s: float, clock: Clock = time.perf_counter
) -> list[float]:
    """Return how long calls took that ask nothing: the network, and the libraries and threads at both of its ends."""
    loop = fine_loop()
    try:
        return loop.run_until_complete(_calls(lambda: _caller(target, protocol, model), calls, pause_s, clock))
    except (MissingGrpcError, UnreachableError, OSError, ValueError):
        return []
    finally:
        loop.close()


def _caller(target: dict[str, Any], protocol: str, model: str) -> Grpc | Rest:
    if protocol == "grpc":
        return Grpc(target, [grpc_calls.for_nothing(model)], 1)
    return Rest(target, [rest.for_nothing(target)], 1, 1)


async def _calls(caller_of: Callable[[], Grpc | Rest], calls: int, pause_s: float, clock: Clock) -> list[float]:
    caller = caller_of()
    found: list[float] = []
    try:
        await caller.open()
        for _each in range(calls):
            # As those of a stage are: from the moment at which each is due.
            due = clock() + pause_s
            await asyncio.sleep(pause_s)
            if not await caller.nothing(TIMEOUT_S):
                break
            found.append((clock() - due) * 1000)
    finally:
        await caller.close()
    return found
