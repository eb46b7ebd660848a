# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""One call of gRPC without a library, and the health service asked by it.

Servers have that service since 2.15.1, where `enable_grpc_healthcheck_service` is set; without it the time still tells.

A call is a handful of HTTP/2 frames (RFC 9113); its headers are written without compression (RFC 7541), and of the
answer only the message is read.
"""

from __future__ import annotations

import socket
import struct
import time
from typing import NamedTuple

SECONDS = 2.0
MOST_BYTES = 1 << 16
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _GOAWAY = 0, 1, 3, 4, 6, 7
_END_STREAM, _END_HEADERS, _ACK = 1, 4, 1
# grpc.health.v1.HealthCheckResponse.ServingStatus
STATUSES = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}
NO_SERVICE = "no health service"


class Answer(NamedTuple):
    """The state that the server tells of itself, and how long it took to."""

    status: str
    ms: float


def check(port: int, address: str = "127.0.0.1") -> Answer:
    """Return the server's answer. Raises OSError, also for one that is late or no HTTP/2."""
    began = time.monotonic()
    answer = call(port, b"/grpc.health.v1.Health/Check", b"", address)
    return Answer(_status(answer), round((time.monotonic() - began) * 1000, 2))


def call(port: int, method: bytes, message: bytes, address: str = "127.0.0.1") -> bytes:
    """Return what a server answers to a short message, in gRPC's framing; nothing if it refuses the call.

    The status of a refusal stands in its compressed headers, which are not read. Raises OSError.
    """
    end = time.monotonic() + SECONDS
    with socket.create_connection((address, port), SECONDS) as wire:
        wire.sendall(_PREFACE + _frame(_SETTINGS, 0, 0, b"") + _request(port, method, message))
        return _answer(wire, end)


def _request(port: int, method: bytes, message: bytes) -> bytes:
    pairs = (
        (b":method", b"POST"), (b":scheme", b"http"), (b":path", method),
        (b":authority", b"127.0.0.1:%d" % port), (b"content-type", b"application/grpc"), (b"te", b"trailers"),
        (b"user-agent", b"tfserving.fleet"),
    )  # fmt: skip
    # Literal without indexing, new name: none is longer than 126 bytes.
    block = b"".join(b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value for name, value in pairs)
    # A message of gRPC: not compressed, its length, its bytes.
    content = struct.pack(">BI", 0, len(message)) + message
    return _frame(_HEADERS, _END_HEADERS, 1, block) + _frame(_DATA, _END_STREAM, 1, content)


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + struct.pack(">BBI", kind, flags, stream) + payload


def _answer(wire: socket.socket, end: float) -> bytes:
    message, taken = b"", 0
    while True:
        head = _exactly(wire, 9, end)
        length, kind, flags = int.from_bytes(head[:3], "big"), head[3], head[4]
        stream = int.from_bytes(head[5:9], "big") & 0x7FFFFFFF
        taken += length
        if taken > MOST_BYTES:
            raise OSError("it sends something else than an answer of gRPC")
        payload = _exactly(wire, length, end)
        if kind in (_SETTINGS, _PING) and not flags & _ACK:
            wire.sendall(_frame(kind, _ACK, 0, payload if kind == _PING else b""))
        elif kind in (_RESET, _GOAWAY):
            raise OSError("it refuses the call")
        elif stream == 1 and kind == _DATA:
            message += payload
        if stream == 1 and kind in (_DATA, _HEADERS) and flags & _END_STREAM:
            return message


def _status(message: bytes) -> str:
    """Return the state in a message: five bytes before it, then field 1 as a varint, left out where it is 0."""
    if len(message) < 5:
        return NO_SERVICE
    return STATUSES.get(message[6] if message[5:6] == b"\x08" and len(message) > 6 else 0, "UNKNOWN")


def _exactly(wire: socket.socket, count: int, end: float) -> bytes:
    found = b""
    while len(found) < count:
        left = end - time.monotonic()
        if left <= 0:
            raise OSError(f"it has not answered within {SECONDS:g} s")
        wire.settimeout(left)
        piece = wire.recv(count - len(found))
        if not piece:
            raise OSError("it closes the connection without an answer")
        found += piece
    return found
