# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A small HTTP/1.1 server: one event loop that reads and accepts, and a pool whose threads answer.

It exists because the thread count matters to what is tested: the loop takes one thread of the pool for good, and each
request in flight occupies another. With a pool of one nothing is ever answered, as upstream.
"""

from __future__ import annotations

import email.utils
import http
import queue
import re
import select
import socket
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

from tfs_reference import log, process
from tfs_reference.status import of_exception

_METHODS = frozenset({"GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS"})
_BACKLOG = 1024
_READ_BYTES = 1 << 16  # a megabyte would take longer to set aside than a small request to answer
_ONE_EVENT = select.EPOLLIN | select.EPOLLONESHOT
_MAX_HEADER_BYTES = 1 << 20
_MAX_UNPACKED_BYTES = 100 << 20  # upstream's limit for gzip
_HEAD_END = re.compile(rb"\r?\n\r?\n")
_PROTOCOL = re.compile(r"HTTP/1\.[01]")
_LENGTH = re.compile(r"[0-9]{1,18}")
_CHUNK_SIZE = re.compile(rb"[0-9a-fA-F]{1,15}")
_AUTHORITY = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*")
_NOT_FOUND_PAGE = "<HTML><HEAD>\n<TITLE>404 Not Found</TITLE>\n</HEAD><BODY>\n<H1>Not Found</H1>\n</BODY></HTML>\n"


@dataclass
class Request:
    """A complete request; header names in lower case. `target` is the path with its query."""

    method: str
    path: str
    target: str
    headers: dict[str, str]
    body: bytes
    keep_alive: bool
    minor: int = 1  # of the protocol's version: HTTP/1.0 or 1.1


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
    """The bytes of one client connection, cut into requests. A line feed alone ends a line, too, as in libevent."""

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.number = sock.fileno()
        self._buffer = bytearray()
        self._head: Request | None = None

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def next_request(self) -> Request | None:
        """A complete request, or None while there is none yet. Raises BadRequestError."""
        if self._head is None:
            end = _HEAD_END.search(self._buffer)
            if len(self._buffer if end is None else self._buffer[: end.end()]) > _MAX_HEADER_BYTES:
                raise BadRequestError(400)
            if end is None:
                return None
            self._head = _parse_head(bytes(self._buffer[: end.start()]))
            del self._buffer[: end.end()]
            if self._head.headers.get("expect", "").lower() == "100-continue":
                self.socket.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        headers = self._head.headers
        body = self._chunked_body() if "chunked" in headers.get("transfer-encoding", "") else self._plain_body(headers)
        if body is None:
            return None
        request, self._head = self._head, None
        request.body = _decoded(body, headers)
        return request

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
            line, start = self._line(position)
            if line is None:
                return None
            if not _CHUNK_SIZE.fullmatch(line.split(b";")[0].strip()):
                raise BadRequestError(400)
            size = int(line.split(b";")[0], 16)
            if not size:
                return self._without_trailers(start, parts)
            separator, position = self._line(start + size)
            if separator is None:
                return None
            parts.append(bytes(self._buffer[start : start + size]))

    def _without_trailers(self, position: int, parts: list[bytes]) -> bytes | None:
        """The body once the headers after its last chunk are there, too; they are dropped."""
        while True:
            line, position = self._line(position)
            if line is None:
                return None
            if not line:
                del self._buffer[:position]
                return b"".join(parts)

    def _line(self, position: int) -> tuple[bytes | None, int]:
        """(the line at a position without its end, where the next one begins); None while it is not complete."""
        end = self._buffer.find(b"\n", position)
        return (None, position) if end < 0 else (bytes(self._buffer[position:end]).rstrip(b"\r"), end + 1)


def _parse_head(head: bytes) -> Request:
    lines = [line.removesuffix("\r") for line in head.decode("latin-1").split("\n")]
    parts = lines[0].split(" ")
    if len(parts) != 3 or not _PROTOCOL.fullmatch(parts[2]):
        raise BadRequestError(400)
    method, target, protocol = parts
    if method not in _METHODS:
        raise BadRequestError(501)
    headers = _parse_headers(lines[1:])
    if not _LENGTH.fullmatch(headers.get("content-length", "0")):
        raise BadRequestError(400)
    connection, minor = headers.get("connection", "").lower(), int(protocol[-1])
    keep_alive = connection != "close" if minor else connection.startswith("keep-alive")
    target = _AUTHORITY.sub("", target)
    return Request(method, re.split("[?#]", target)[0], target, headers, b"", keep_alive, minor)


def _parse_headers(lines: list[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    name = ""
    for line in lines:
        if line[:1] in (" ", "\t") and name:  # goes on with the line before
            headers[name] += " " + line.strip()
            continue
        name, colon, value = line.partition(":")
        name = name.strip().lower()
        if not colon:
            raise BadRequestError(400)
        headers[name] = value.strip()
    return headers


def _decoded(body: bytes, headers: dict[str, str]) -> bytes:
    """A body that cannot be unpacked, or grows too large, is no body: upstream logs it and goes on with nothing."""
    if "gzip" not in headers.get("content-encoding", ""):
        return body
    parts, room = [], _MAX_UNPACKED_BYTES
    while body:
        unpacker = zlib.decompressobj(wbits=31)
        try:
            parts.append(unpacker.decompress(body, room + 1))
        except zlib.error:
            return b""
        room -= len(parts[-1])
        if room < 0 or not unpacker.eof:
            return b""
        body = unpacker.unused_data
    return b"".join(parts)


class HttpServer:
    """Listens from `start` on. Raises OSError in the constructor when the port cannot be had.

    A connection is watched once: from an event on it belongs to whoever handles it, the loop or an answering thread,
    until that one has it watched again. So no two threads ever touch it, and none has to wake the loop.
    """

    def __init__(self, port: int, threads: int, handler: Handler) -> None:
        self._listener = _listen(port)
        self._threads = threads
        self._handler = handler
        self._ready: queue.SimpleQueue[tuple[Connection, Request]] = queue.SimpleQueue()
        self._poll = select.epoll()
        self._connections: dict[int, Connection] = {}

    def start(self) -> None:
        """Start the loop and the threads that are left for answers."""
        self._poll.register(self._listener, select.EPOLLIN)
        targets = [self._loop] + [self._answer] * (self._threads - 1)
        for target in targets:
            process.start_thread(target, "httprestserver")

    # -- the loop's thread -------------------------------------------------------------------------------------------

    def _loop(self) -> None:
        while True:
            for number, _ in self._poll.poll():
                try:
                    self._read(self._connections[number]) if number in self._connections else self._accept()
                except Exception as error:  # nothing a client sends may end the loop
                    log.error(f"HTTP loop failed: {type(error).__name__}: {error}")

    def _accept(self) -> None:
        try:
            sock, _ = self._listener.accept()
        except OSError:
            return
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connections[sock.fileno()] = Connection(sock)
        self._poll.register(sock, _ONE_EVENT)

    def _read(self, connection: Connection) -> None:
        try:
            data = connection.socket.recv(_READ_BYTES)
        except OSError:
            data = b""
        if not data:
            self._close(connection)
            return
        connection.feed(data)
        self._dispatch(connection)

    # -- whoever has the connection ----------------------------------------------------------------------------------

    def _dispatch(self, connection: Connection) -> None:
        """Hand a complete request over, or have the connection watched for the rest of it."""
        try:
            request = connection.next_request()
        except (BadRequestError, OSError) as error:
            if isinstance(error, BadRequestError):
                _send(connection.socket, Response(error.status, str(error)), keep_alive=False)
            self._close(connection)
            return
        if request is None:
            self._poll.modify(connection.socket, _ONE_EVENT)
        else:
            self._ready.put((connection, request))

    def _close(self, connection: Connection) -> None:
        """Forget the connection, then close it: its number is free for the next one from then on."""
        del self._connections[connection.number]
        connection.socket.close()

    # -- the answering threads ---------------------------------------------------------------------------------------

    def _answer(self) -> None:
        while True:
            connection, request = self._ready.get()
            try:
                self._answer_one(connection, request)
            except Exception as error:  # nothing may cost the pool a thread
                log.error(f"HTTP answer failed: {type(error).__name__}: {error}")

    def _answer_one(self, connection: Connection, request: Request) -> None:
        try:
            response = self._handler(request)
        except Exception as error:  # a bug in a handler
            log.error(f"HTTP handler failed: {type(error).__name__}: {error}")
            response = Response(500, str(of_exception(error)))
        head_only = request.method == "HEAD"
        if _send(connection.socket, response, request.keep_alive, head_only, request.minor):
            self._dispatch(connection)  # it may hold its next request already
        else:
            self._close(connection)


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


def _send(sock: socket.socket, response: Response, keep_alive: bool, head_only: bool = False, minor: int = 1) -> bool:
    """Send and return whether the connection is to stay open."""
    body = response.body.encode(errors="surrogateescape") if isinstance(response.body, str) else response.body
    headers = {"Date": email.utils.formatdate(usegmt=True)} if minor else {}
    headers |= {"Content-Length": str(len(body)), **response.headers}
    # Both versions have a default; only the other choice is said.
    if keep_alive != bool(minor):
        headers["Connection"] = "keep-alive" if keep_alive else "close"
    try:
        phrase = http.HTTPStatus(response.status).phrase
    except ValueError:  # 499 is nobody's standard
        phrase = "Client Closed Request"
    lines = [f"HTTP/1.{minor} {response.status} {phrase}", *(f"{name}: {value}" for name, value in headers.items())]
    head = "".join(f"{line}\r\n" for line in [*lines, ""])
    try:
        sock.sendall(head.encode("latin-1") + (b"" if head_only else body))
    except OSError:
        return False
    return keep_alive
