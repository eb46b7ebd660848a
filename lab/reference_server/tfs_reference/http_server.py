# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A small HTTP/1.1 server: one event loop that reads and accepts, and a pool whose threads answer.

It exists because the thread count matters to what is tested: the loop takes one thread of the pool for good, and each
request in flight occupies another. With a pool of one nothing is ever answered, as upstream.
"""

from __future__ import annotations

import email.utils
import gzip
import http
import queue
import selectors
import socket
from collections.abc import Callable
from dataclasses import dataclass, field

from tfs_reference import log, process
from tfs_reference.status import of_exception

_METHODS = frozenset({"GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS"})
_BACKLOG = 1024
_READ_BYTES = 1 << 20
_MAX_HEADER_BYTES = 1 << 20
_NOT_FOUND_PAGE = "<HTML><HEAD>\n<TITLE>404 Not Found</TITLE>\n</HEAD><BODY>\n<H1>Not Found</H1>\n</BODY></HTML>\n"


@dataclass
class Request:
    """A complete request; header names in lower case, the path without its query."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    keep_alive: bool


@dataclass
class Response:
    """What a handler returns."""

    status: int
    body: str | bytes
    headers: dict[str, str] = field(default_factory=dict)


NOT_FOUND = Response(404, _NOT_FOUND_PAGE, {"Content-Type": "text/html"})
Handler = Callable[[Request], Response]


class BadRequestError(Exception):
    """The bytes received are not HTTP that this server takes; `status` is the answer."""

    def __init__(self, status: int) -> None:
        super().__init__(http.HTTPStatus(status).phrase)
        self.status = status


class Connection:
    """The bytes of one client connection, cut into requests."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self._buffer = bytearray()
        self._head: tuple[str, str, dict[str, str], bool] | None = None

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def next_request(self) -> Request | None:
        """A complete request, or None while there is none yet. Raises BadRequestError."""
        if self._head is None:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                if len(self._buffer) > _MAX_HEADER_BYTES:
                    raise BadRequestError(400)
                return None
            self._head = _parse_head(bytes(self._buffer[:end]))
            del self._buffer[: end + 4]
            if self._head[2].get("expect", "").lower() == "100-continue":
                self.socket.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        method, path, headers, keep_alive = self._head
        body = self._chunked_body() if "chunked" in headers.get("transfer-encoding", "") else self._plain_body(headers)
        if body is None:
            return None
        self._head = None
        return Request(method, path, headers, _decoded(body, headers), keep_alive)

    def _plain_body(self, headers: dict[str, str]) -> bytes | None:
        length = int(headers.get("content-length", "0"))
        if len(self._buffer) < length:
            return None
        body = bytes(self._buffer[:length])
        del self._buffer[:length]
        return body

    def _chunked_body(self) -> bytes | None:
        parts, position = [], 0
        while True:
            line_end = self._buffer.find(b"\r\n", position)
            if line_end < 0:
                return None
            try:
                size = int(bytes(self._buffer[position:line_end]).split(b";")[0], 16)
            except ValueError:
                raise BadRequestError(400) from None
            start = line_end + 2
            if len(self._buffer) < start + size + 2:
                return None
            parts.append(bytes(self._buffer[start : start + size]))
            position = start + size + 2
            if not size:
                del self._buffer[:position]
                return b"".join(parts)


def _parse_head(head: bytes) -> tuple[str, str, dict[str, str], bool]:
    lines = head.decode("latin-1").split("\r\n")
    parts = lines[0].split(" ")
    if len(parts) != 3 or not parts[2].startswith("HTTP/1."):
        raise BadRequestError(400)
    method, target, protocol = parts
    if method not in _METHODS:
        raise BadRequestError(501)
    headers = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon:
            raise BadRequestError(400)
        headers[name.strip().lower()] = value.strip()
    if not headers.get("content-length", "0").isdigit():
        raise BadRequestError(400)
    connection = headers.get("connection", "").lower()
    keep_alive = connection == "keep-alive" if protocol == "HTTP/1.0" else connection != "close"
    return method, target.split("?")[0], headers, keep_alive


def _decoded(body: bytes, headers: dict[str, str]) -> bytes:
    if "gzip" not in headers.get("content-encoding", "").lower():
        return body
    try:
        return gzip.decompress(body)
    except (OSError, EOFError):
        raise BadRequestError(400) from None


class HttpServer:
    """Listens from `start` on. Raises OSError in the constructor when the port cannot be had."""

    def __init__(self, port: int, threads: int, handler: Handler) -> None:
        self._listener = _listen(port)
        self._threads = threads
        self._handler = handler
        self._ready: queue.SimpleQueue[tuple[Connection, Request]] = queue.SimpleQueue()
        self._answered: queue.SimpleQueue[Connection] = queue.SimpleQueue()
        self._selector = selectors.DefaultSelector()
        self._wake_receiver, self._wake_sender = socket.socketpair()

    def start(self) -> None:
        """Start the loop and the threads that are left for answers."""
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._wake_receiver.setblocking(False)
        self._selector.register(self._wake_receiver, selectors.EVENT_READ, self._resume)
        targets = [self._loop] + [self._answer] * (self._threads - 1)
        for target in targets:
            process.start_thread(target, "httprestserver")

    # -- the loop's thread -------------------------------------------------------------------------------------------

    def _loop(self) -> None:
        while True:
            for key, _ in self._selector.select():
                if isinstance(key.data, Connection):
                    self._read(key.data)
                else:
                    key.data()

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except OSError:
            return
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._selector.register(sock, selectors.EVENT_READ, Connection(sock))

    def _read(self, connection: Connection) -> None:
        try:
            data = connection.socket.recv(_READ_BYTES)
        except OSError:
            data = b""
        if not data:
            self._selector.unregister(connection.socket)
            connection.socket.close()
            return
        connection.feed(data)
        self._dispatch(connection, registered=True)

    def _resume(self) -> None:
        """Watch connections again whose answers are sent (one of them may hold its next request already)."""
        self._wake_receiver.recv(4096)
        while not self._answered.empty():
            self._dispatch(self._answered.get(), registered=False)

    def _dispatch(self, connection: Connection, registered: bool) -> None:
        """Hand a complete request over; the connection is left alone until it is answered."""
        try:
            request = connection.next_request()
        except BadRequestError as error:
            if registered:
                self._selector.unregister(connection.socket)
            _send(connection.socket, Response(error.status, str(error)), keep_alive=False)
            return
        if request is None and not registered:
            self._selector.register(connection.socket, selectors.EVENT_READ, connection)
        if request is not None:
            if registered:
                self._selector.unregister(connection.socket)
            self._ready.put((connection, request))

    # -- the answering threads ---------------------------------------------------------------------------------------

    def _answer(self) -> None:
        while True:
            connection, request = self._ready.get()
            try:
                response = self._handler(request)
            except Exception as error:  # a bug in a handler must not cost the pool a thread
                log.error(f"HTTP handler failed: {type(error).__name__}: {error}")
                response = Response(500, str(of_exception(error)))
            if _send(connection.socket, response, request.keep_alive, head_only=request.method == "HEAD"):
                self._answered.put(connection)
                self._wake_sender.send(b".")


def _listen(port: int) -> socket.socket:
    """IPv6 wildcard first (IPv4 is then reached through mapped addresses), IPv4 wildcard where there is no IPv6."""
    for family, address in ((socket.AF_INET6, "::"), (socket.AF_INET, "0.0.0.0")):
        try:
            listener = socket.socket(family, socket.SOCK_STREAM)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((address, port))
            listener.listen(_BACKLOG)
            return listener
        except OSError as error:
            failure = error
    raise failure


def _send(sock: socket.socket, response: Response, keep_alive: bool, head_only: bool = False) -> bool:
    """Send and return whether the connection stays open."""
    body = response.body.encode() if isinstance(response.body, str) else response.body
    headers = {"Date": email.utils.formatdate(usegmt=True), "Content-Length": str(len(body)), **response.headers}
    if not keep_alive:
        headers["Connection"] = "close"
    try:
        phrase = http.HTTPStatus(response.status).phrase
    except ValueError:  # 499 is nobody's standard
        phrase = "Client Closed Request"
    head = f"HTTP/1.1 {response.status} {phrase}\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers.items()) + "\r\n"
    try:
        sock.sendall(head.encode("latin-1") + (b"" if head_only else body))
    except OSError:
        keep_alive = False
    if not keep_alive:
        sock.close()
    return keep_alive
