# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The stub's HTTP/1.1: enough to take requests with a length, one after the other, and to answer well or badly."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Protocol

WRONG = b"<html>wrong</html>"
# SO_LINGER with no time: close() sends a reset.
RESET = struct.pack("ii", 1, 0)


class Script(Protocol):
    """What a stub needs of its script."""

    @property
    def rest_reply(self) -> bytes:
        """The body of a good reply."""

    @property
    def grpc_reply(self) -> bytes:
        """The message of a good reply."""


class Director(Protocol):
    """Who says what becomes of requests."""

    @property
    def script(self) -> Script:
        """What is answered."""

    def perform(self, play: Play) -> None:
        """Have the next request answered."""


class Play(Protocol):
    """Answers a request as the word says."""

    def __call__(self, kind: str) -> None:
        """Answer."""


def reset(transport: asyncio.Transport) -> None:
    """Reset a connection."""
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    transport.abort()


class RestStub(asyncio.Protocol):
    """One connection."""

    def __init__(self, director: Director) -> None:
        self._director = director
        self._buffer = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while True:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self._buffer[:end].lower()
            whole = end + 4 + int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0] or 0)
            if len(self._buffer) < whole:
                return
            self._buffer = self._buffer[whole:]
            self._director.perform(self._play)

    def _play(self, kind: str) -> None:
        if not self._transport.is_closing():
            self._PLAYS[kind](self)

    def _reply(self, body: bytes | None = None, status: str = "200 OK", more: str = "") -> None:
        body = self._director.script.rest_reply if body is None else body
        head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n{more}Content-Length: {len(body)}\r\n\r\n"
        self._transport.write(head.encode() + body)

    def _close(self) -> None:
        self._reply(more="Connection: close\r\n")
        self._transport.close()

    def _chunked(self) -> None:
        body = self._director.script.rest_reply
        parts = [body[:3], body[3:]]
        chunks = b"".join(b"%x;note=1\r\n%b\r\n" % (len(part), part) for part in parts if part)
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        self._transport.write(head + chunks + b"0\r\nTrailer: 1\r\n\r\n")

    def _half(self) -> None:
        self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        self._transport.write_eof()

    def _malformed(self) -> None:
        self._transport.write(b"SSH-2.0-OpenSSH_9.2p1\r\n\r\n")

    def _pieces(self) -> None:
        body = self._director.script.rest_reply
        for byte in b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body):
            self._transport.write(bytes([byte]))

    _PLAYS = {
        "reply": lambda self: self._reply(),
        "wrong": lambda self: self._reply(WRONG),
        "error": lambda self: self._reply(b'{"error": "busy"}', "503 Service Unavailable"),
        "reset": lambda self: reset(self._transport),
        "silent": lambda self: None,
        "close": _close,
        "chunked": _chunked,
        "half": _half,
        "malformed": _malformed,
        "pieces": _pieces,
    }
