# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The command of h2load for a stage.

Each of h2load's connections sends on a timer of its own, every 10 ms at the most often; connections are opened one by
one over one such period, so that together they send evenly. (A timing script is no way: its timers drift, since each
begins where the one before has fired.) The options are those that 1.52 (Debian 12) and 1.64 (Debian 13) share.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import Any

from .h2load_log import Due

PROGRAM = "h2load"
PREDICT = "/tensorflow.serving.PredictionService/Predict"

# h2load looks at a connection's timer at most this often (1 / 100 s); a connection with more to send does so in bursts.
MOST_A_CONNECTION = 100.0
# Over HTTP/1.1 a connection carries one request at a time. With 10 requests a second on each, a reply may take 100 ms
# before it holds up the next one.
MOST_A_CONNECTION_REST = 10.0
# Below the usual limit of 1,024 open files.
MOST_CONNECTIONS = 900
# Requests in flight on one HTTP/2 connection: more than any server lets through, so that the loop stays open.
STREAMS = 1000
# A line of the log has about 30 bytes: this is an hour at 30,000 a second.
MOST_LOG_BYTES = 4 << 30
LINE_BYTES = 32


class H2loadError(ValueError):
    """h2load cannot run this stage; the text says why."""


@dataclass(frozen=True)
class Plan:
    """What each process of h2load does: ``due`` requests over ``connections`` connections."""

    due: Due
    connections: int


def heaviest(requests: Sequence[Mapping[str, Any]]) -> tuple[int, Mapping[str, Any]]:
    """Return the number and the request of the largest weight: h2load sends only one."""
    number = max(range(len(requests)), key=lambda place: float(requests[place]["weight"]))
    return number, requests[number]


def planned(spec: Mapping[str, Any], items: int) -> Plan:
    """Return what each process does. Raises H2loadError for a stage that h2load cannot run."""
    if (spec["target"].get("tls") or {}).get("certificate"):
        raise H2loadError("h2load presents no certificate to a server; use the own engine")
    seconds = float(spec["warmup_s"]) + float(spec["duration_s"])
    rate = float(spec["rate"]) / int(spec["processes"])
    count = max(round(rate * seconds), 1)
    if count * LINE_BYTES > MOST_LOG_BYTES:
        raise H2loadError(f"a log of {count} requests is too large; make the stage shorter or use more processes")
    most = MOST_A_CONNECTION if spec["protocol"] == "grpc" else MOST_A_CONNECTION_REST
    connections = min(max(int(spec["connections"]), ceil(rate / most)), MOST_CONNECTIONS, count)
    due = Due(rate, count, seconds, float(spec["warmup_s"]), float(spec["timeout_s"]), items)
    return Plan(due, connections)


def body_of(protocol: str, request: Mapping[str, Any]) -> bytes:
    """Return the body of a request: over gRPC with its frame, a byte for compression and four for the length."""
    if protocol == "grpc":
        message = base64.b64decode(request["grpc"])
        return struct.pack(">BI", 0, len(message)) + message
    if request["rest"] is None:
        raise H2loadError("the request cannot be sent over REST; use gRPC")
    return base64.b64decode(request["rest"])


def command(spec: Mapping[str, Any], request: Mapping[str, Any], plan: Plan, body: str, log: str) -> list[str]:
    """Return the command of one process."""
    is_grpc = spec["protocol"] == "grpc"
    connections, period = pace(plan.due.rate, plan.connections)
    return [
        *(PROGRAM, f"--clients={plan.connections}", "--threads=1", f"--requests={plan.due.count}"),
        *(f"--rps={plan.due.rate / plan.connections:.6f}", f"--rate={connections}", f"--rate-period={period}ms"),
        *(f"--max-concurrent-streams={STREAMS if is_grpc else 1}", *([] if is_grpc else ["--h1"])),
        *(f"--connection-inactivity-timeout={inactivity(plan)}s", f"--data={body}", f"--log-file={log}"),
        *(f"--header={each}" for each in _headers(is_grpc, plan.due.timeout)),
        *_address(spec["target"], is_grpc, PREDICT if is_grpc else str(request["path"])),
    ]


def pace(rate: float, connections: int) -> tuple[int, int]:
    """Return how many connections to open how often, in ms, so that they begin as evenly as requests are due."""
    per_ms = Fraction(rate / 1000).limit_denominator(10)
    found = (per_ms.numerator, per_ms.denominator) if per_ms >= Fraction(1, 10) else (1, max(round(1000 / rate), 1))
    return min(found[0], connections), found[1]


def inactivity(plan: Plan) -> int:
    """Return after how many s without a byte a connection is given up: the timeout, and the pause between requests."""
    return ceil(plan.due.timeout + plan.connections / plan.due.rate)


def _headers(is_grpc: bool, timeout: float) -> list[str]:
    if is_grpc:
        return ["content-type: application/grpc", "te: trailers", f"grpc-timeout: {ceil(timeout * 1000)}m"]
    return ["content-type: application/json"]


def _address(target: Mapping[str, Any], is_grpc: bool, path: str) -> list[str]:
    """Return the address; TLS may ask for another name than that of the host."""
    port = target["grpc" if is_grpc else "rest"]
    host = _bracketed(str(target["host"]))
    if not target.get("tls"):
        return [f"http://{host}:{port}{path}"]
    name = target["tls"].get("name")
    to = [f"--connect-to={host}:{port}"] if name else []
    return [*to, f"https://{name or host}:{port}{path}"]


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
