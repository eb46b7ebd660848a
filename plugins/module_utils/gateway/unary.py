# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""One gRPC call to an untrusted server, with or without TLS, bounded in time and bytes.

How gRPC goes over HTTP/2 is in grpc's doc/PROTOCOL-HTTP2.md.
"""

from __future__ import annotations

import os
import selectors
import socket
import ssl
import struct
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from ..visible_text import told
from .wire import HAS_H2, MISSING, Wire

with suppress(ImportError):  # the caller looks at HAS_H2
    from h2.events import (
        ConnectionTerminated,
        DataReceived,
        ResponseReceived,
        StreamEnded,
        StreamReset,
        TrailersReceived,
    )

# gRPC's statuses by number (grpc/status.h).
STATUSES = (
    *("OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS"),
    *("PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED"),
    *("INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"),
)
# Frames, headers and settings beside an answer; a server that sends more of these sends no answer.
_MOST_BESIDE = 1 << 20
_MOST_WORDS = 2000
# Whether a message is compressed, and its length.
_PREFIX = struct.Struct(">BI")


class CallError(Exception):
    """A call without an answer of gRPC, in words that follow the name of the server."""


class StatusError(Exception):
    """The server refuses the call: gRPC's ``code``, and its words."""

    def __init__(self, code: int, words: str) -> None:
        self.code = code
        name = STATUSES[code] if 0 <= code < len(STATUSES) else f"status {code}"
        super().__init__(f"{name}: {told(words, _MOST_WORDS)}" if words else name)


@dataclass(frozen=True)
class Target:
    """Where a server takes gRPC; ``context`` is None where it takes it in plain text."""

    address: str
    port: int
    context: ssl.SSLContext | None = None


def secure(authority: str, certificate: str) -> ssl.SSLContext:
    """Return what proves servers as a gateway's HAProxy does: by who has signed them, whatever their names.

    Both are PEM files: of authorities, and of the caller's own certificate and key, which may be missing. Raises
    CallError.
    """
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.set_alpn_protocols(["h2"])
    try:
        made.load_verify_locations(authority)
        if os.path.exists(certificate):
            made.load_cert_chain(certificate)
    except (OSError, ValueError) as error:
        raise CallError(
            f"takes only TLS, and {authority} or {certificate} cannot be used ({_reason(error)})"
        ) from error
    return made


def call(target: Target, method: str, message: bytes, seconds: float, most_bytes: int) -> bytes:
    """Return the message that answers ``message``; ``seconds`` is for all of it, ``most_bytes`` for the answer.

    ``method`` is a path, ``/package.Service/Method``. Raises CallError and StatusError.
    """
    if not HAS_H2:
        raise CallError(f"cannot be asked: {MISSING}")
    end = time.monotonic() + seconds
    wire = _connected(target, seconds)
    with selectors.DefaultSelector() as selector:
        one = _Call(wire, selector, target, method, message, end, most_bytes)
        try:
            while one.open and not one.ended:
                left = end - time.monotonic()
                if left <= 0:
                    raise CallError(f"has not answered in full after {seconds:g} s")
                for _key, _mask in selector.select(left):
                    one.ready()
        finally:
            one.close()
    return one.answer()


def _connected(target: Target, seconds: float) -> socket.socket:
    try:
        found = socket.create_connection((target.address, target.port), seconds)
    except OSError as error:
        raise CallError(f"does not answer ({_reason(error)})") from error
    try:
        if target.context:
            found = target.context.wrap_socket(found)
        found.setblocking(False)
    except OSError as error:
        found.close()
        raise CallError(f"does not shake hands for TLS ({_reason(error)})") from error
    return found


def _reason(error: Exception) -> str:
    said = getattr(error, "verify_message", "") or getattr(error, "reason", "") or getattr(error, "strerror", "")
    return told(str(said or error), 200)


class _Call(Wire):
    """The call on its connection. ``problem`` says why there will be no answer."""

    def __init__(
        self, wire: socket.socket, selector: selectors.BaseSelector, target: Target, method: str, message: bytes,
        end: float, most_bytes: int,
    ) -> None:  # fmt: skip
        super().__init__(wire, True, selector)
        self.unsent = _PREFIX.pack(0, len(message)) + message
        self.most_bytes = most_bytes
        self.taken = 0
        self.reply = bytearray()
        self.headers: dict[bytes, bytes] = {}
        self.ended = False
        self.problem = ""
        self.stream = self.http.get_next_available_stream_id()
        host = f"[{target.address}]" if ":" in target.address else target.address
        self.http.send_headers(
            self.stream,
            [
                (b":method", b"POST"),
                (b":scheme", b"https" if target.context else b"http"),
                (b":path", method.encode()),
                (b":authority", f"{host}:{target.port}".encode()),
                (b"content-type", b"application/grpc"),
                (b"te", b"trailers"),
                (b"grpc-timeout", b"%dm" % max(1, int((end - time.monotonic()) * 1000))),
                (b"user-agent", b"tfserving.fleet"),
            ],
        )

    def talk(self) -> None:
        for event in self.events():
            self._take(event)
        if self.taken > self.most_bytes + _MOST_BESIDE or len(self.reply) > self.most_bytes + _PREFIX.size:
            self.problem = self.problem or f"sends more than {self.most_bytes // 1024} KiB"
        if self.problem:
            self.close()
        if self.open:
            self._send_more()
            self.flush()

    def ready(self) -> None:
        try:
            super().ready()
        except (ValueError, LookupError):  # what h2 itself lets through of bytes that are no HTTP/2
            self.close()

    def took(self, size: int) -> None:
        self.taken += size

    def _take(self, event: Any) -> None:
        if isinstance(event, ConnectionTerminated) and not self.ended:
            self.problem = f"ends the connection (error {int(event.error_code or 0)})"
        elif getattr(event, "stream_id", None) != self.stream:
            return
        elif isinstance(event, (ResponseReceived, TrailersReceived)):
            self.headers.update((bytes(name), bytes(value)) for name, value in event.headers)
        elif isinstance(event, DataReceived):
            self.reply += event.data
            self.http.acknowledge_received_data(event.flow_controlled_length, self.stream)
        elif isinstance(event, StreamReset):
            self.problem = self.problem or f"breaks off the call (error {int(event.error_code)})"
        elif isinstance(event, StreamEnded):
            self.ended = True

    def _send_more(self) -> None:
        """Send as much of the message as the windows allow."""
        while self.unsent and not self.ended:
            part = min(self.room(self.stream), len(self.unsent))
            if part <= 0:
                return
            self.http.send_data(self.stream, self.unsent[:part], end_stream=part == len(self.unsent))
            self.unsent = self.unsent[part:]

    def answer(self) -> bytes:
        """Return the message of the answer. Raises CallError and StatusError."""
        status = self.headers.get(b"grpc-status", b"")
        if self.problem:
            raise CallError(self.problem)
        if not self.ended:
            raise CallError("closes the connection before the end of its answer")
        if self.headers.get(b":status") != b"200" or not status.isdigit():
            raise CallError("does not speak gRPC")
        if int(status[:9]):
            raise StatusError(int(status[:9]), unquote(self.headers.get(b"grpc-message", b"").decode("latin-1")))
        if len(self.reply) < _PREFIX.size or _PREFIX.unpack_from(self.reply) != (0, len(self.reply) - _PREFIX.size):
            raise CallError("sends a message that is not whole")
        begin = _PREFIX.size
        return bytes(self.reply[begin:])
