# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The stub's gRPC: frames of HTTP/2 by hand, with the headers of replies encoded beforehand (RFC 9113, RFC 7541)."""

from __future__ import annotations

import asyncio
import struct
from collections import deque

from .stub_rest import Director, reset

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, ACK, END_HEADERS = 0x1, 0x1, 0x4
# What a client may send before it hears of more; given back as it is used.
WINDOW = 2**31 - 1
USED = 2**30
FIRST_WINDOW = 65_535
INTERNAL_ERROR = 2


# Of a frame: its length in 8 and 16 bits, kind, flags, stream.
HEADER = struct.Struct(">BHBBI")


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Return a frame."""
    size = len(payload)
    return HEADER.pack(size >> 16, size & 0xFFFF, kind, flags, stream) + payload


def literal(name: bytes, value: bytes) -> bytes:
    """Return a header field without index and Huffman code."""
    return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value


# 0x88 is `:status: 200` of the static table.
HEAD = b"\x88" + literal(b"content-type", b"application/grpc")
TRAILERS = literal(b"grpc-status", b"0")
ERROR = HEAD + literal(b"grpc-status", b"14") + literal(b"grpc-message", b"busy")


class GrpcStub(asyncio.Protocol):
    """One connection."""

    def __init__(self, director: Director) -> None:
        self._director = director
        self._buffer = b""
        self._begun = False
        self._used = 0
        self._window = FIRST_WINDOW
        self._waiting: deque[tuple[int, bytes]] = deque()
        self._last = 0
        self._open: set[int] = set()
        self._leaving = False
        self._left = False
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        initial = struct.pack(">HI", 4, WINDOW)
        more = struct.pack(">I", WINDOW - FIRST_WINDOW)
        transport.write(frame(SETTINGS, 0, 0, initial) + frame(WINDOW_UPDATE, 0, 0, more))

    def data_received(self, data: bytes) -> None:
        if self._left:
            return
        self._buffer += data
        if not self._begun:
            if len(self._buffer) < len(PREFACE):
                return
            self._begun, self._buffer = True, self._buffer.replace(PREFACE, b"", 1)
        start, there = 0, len(self._buffer)
        while there - start >= HEADER.size:
            high, low, kind, flags, stream = HEADER.unpack_from(self._buffer, start)
            begin = start + HEADER.size
            end = begin + (high << 16 | low)
            if there < end:
                break
            self._take(kind, flags, stream, self._buffer[begin:end])
            start = end
        self._buffer = self._buffer[start:]

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == DATA:
            self._give_back(len(payload))
        if kind in (DATA, HEADERS) and flags & END_STREAM:
            self._request(stream)
        elif kind in (SETTINGS, PING) and not flags & ACK:
            self._transport.write(frame(kind, ACK, 0, payload if kind == PING else b""))
        elif kind == WINDOW_UPDATE and not stream:
            self._window += int.from_bytes(payload, "big")
            self._drain()

    def _give_back(self, size: int) -> None:
        self._used += size
        if self._used > USED:
            self._transport.write(frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", self._used)))
            self._used = 0

    def _request(self, stream: int) -> None:
        # Behind GOAWAY nothing is taken: the client sends it again elsewhere, or fails it.
        if not self._leaving:
            self._last = stream
            self._open.add(stream)
            self._director.perform(lambda kind: self._play(stream, kind))

    def _play(self, stream: int, kind: str) -> None:
        if self._transport.is_closing():
            return
        if kind == "reset":
            reset(self._transport)
        elif kind == "error":
            self._transport.write(frame(HEADERS, END_HEADERS | END_STREAM, stream, ERROR))
        elif kind == "stream_reset":
            self._transport.write(frame(RST_STREAM, 0, stream, struct.pack(">I", INTERNAL_ERROR)))
        elif kind == "goaway":
            self._leaving = True
            self._transport.write(frame(GOAWAY, 0, 0, struct.pack(">II", self._last, 0)))
            self._waiting.append((stream, self._director.script.grpc_reply))
        elif kind in ("reply", "wrong"):
            self._waiting.append((stream, self._director.script.grpc_reply if kind == "reply" else b"\xff" * 8))
        if kind != "silent":
            self._open.discard(stream)
        self._drain()

    def _drain(self) -> None:
        """Send the replies for which the client has room."""
        while self._waiting and self._window >= len(self._waiting[0][1]) + 5:
            stream, reply = self._waiting.popleft()
            message = b"\x00" + struct.pack(">I", len(reply)) + reply
            self._window -= len(message)
            head = frame(HEADERS, END_HEADERS, stream, HEAD)
            trailers = frame(HEADERS, END_HEADERS | END_STREAM, stream, TRAILERS)
            self._transport.write(head + frame(DATA, 0, stream, message) + trailers)
        if self._leaving and not self._open and not self._waiting and not self._left:
            self._left = True
            # Closed with unread requests, the kernel would send a reset, and the client would lose replies on the way.
            # So only this end is closed, and what still comes is read and dropped until the client closes its own.
            self._transport.write_eof()
