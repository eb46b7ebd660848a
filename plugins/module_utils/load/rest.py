# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 as the load generator speaks it: as many kept connections as there are requests in flight at once.

A request goes out at its intended moment: over an idle connection, or over a new one where all are busy, as callers
together would do. Nothing is sent twice. A request whose connection ends before its reply is an error.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Sequence
from typing import Any

from .engine import Call, Whole
from .http_reply import BadReplyError, Reply
from .target import CONNECT_S, UnreachableError, address, context, server_name

# After a connection was refused the next attempt waits this long in s, then twice as long, up to the second figure: a
# server that starts must not face a storm of attempts.
BACK_OFF = (0.05, 1.0)

Finish = Callable[..., None]


def prepared(target: dict[str, Any], path: str, body: bytes) -> bytes:
    """Return a POST request as it is sent."""
    head = f"{_head(target, 'POST', path)}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode("ascii") + body


def for_nothing(target: dict[str, Any]) -> bytes:
    """Return a request for a path that no server has; only those below /v1 are counted (http_server.cc)."""
    return f"{_head(target, 'GET', '/nothing')}\r\n".encode("ascii")


def _head(target: dict[str, Any], method: str, path: str) -> str:
    host = f"[{target['host']}]" if ":" in target["host"] else target["host"]
    return f"{method} {path} HTTP/1.1\r\nHost: {host}:{target['rest']}\r\n"


class Connection(asyncio.Protocol):
    """One connection: idle, or with one request in flight."""

    def __init__(self, pool: Rest) -> None:
        self._pool = pool
        self._reply: Reply | None = None
        self.call: Call | None = None
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._pool.count += 1

    def begin(self, call: Call, request: bytes) -> None:
        """Send a request."""
        self.call = call
        call.handle = self
        self._reply = Reply()
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        if self._reply is None:  # nobody asked: a server about to close says so, or worse
            self.transport.abort()
            return
        try:
            whole = self._reply.feed(data)
        except BadReplyError as error:
            self._end(str(error))
            self.transport.abort()
        else:
            if whole:
                self._whole()

    def _whole(self) -> None:
        reply = self._reply
        assert reply is not None
        self._end(None if reply.status == 200 else f"HTTP {reply.status}", reply.body)
        if reply.close:
            self.transport.abort()
        elif not self.transport.is_closing():
            self._pool.idle.append(self)

    def _end(self, error: str | None, body: bytes = b"") -> None:
        call, self.call, self._reply = self.call, None, None
        if call is not None:
            self._pool.finish(call, error, body)

    def eof_received(self) -> None:
        """The server will send nothing more, though it may still read: the connection is of no use."""
        if self._reply is not None and self._reply.end():
            self._reply.close = True
            self._whole()
        self._end("connection")

    def connection_lost(self, exc: Exception | None) -> None:
        self._end("connection")
        self._pool.lost(self)


class Rest:
    """The connections of a process. ``finish(call, error, body)`` is called once for each call that was sent."""

    def __init__(self, target: dict[str, Any], requests: Sequence[bytes], connections: int, most: int) -> None:
        self._target = target
        self._requests = requests
        self._least = connections
        self._most = max(most, connections)
        self._loop = asyncio.get_running_loop()
        self._tls = context(target["tls"])
        self._dialling: set[asyncio.Task[None]] = set()
        self._wait = 0.0
        self._refused_until = 0.0
        self._closed = False
        self._where = ("", 0)
        self.count = 0
        self.idle: list[Connection] = []
        self.finish: Finish

    async def open(self) -> None:
        """Open the first connections; a server that is just starting is waited for. Raise UnreachableError."""
        self._where = await address(self._target, "rest")
        until = self._loop.time() + CONNECT_S
        while len(self.idle) < self._least:
            try:
                self.idle.append(await asyncio.wait_for(self._connect(), CONNECT_S))
            except (OSError, asyncio.TimeoutError) as error:
                if isinstance(error, ssl.SSLError) or self._loop.time() >= until:
                    raise UnreachableError(self._target, "rest", error) from error
                await asyncio.sleep(BACK_OFF[0])

    async def _connect(self) -> Connection:
        name = server_name(self._target) if self._tls else None
        _, made = await self._loop.create_connection(
            lambda: Connection(self), *self._where, ssl=self._tls, server_hostname=name
        )
        return made

    async def nothing(self, timeout_s: float) -> bool:
        """Send the first request, which is one ``for_nothing``; return whether it was answered so."""
        answered: asyncio.Future[str | None] = self._loop.create_future()

        def finish(_call: Call, error: str | None, _body: bytes = b"") -> None:
            if not answered.done():
                answered.set_result(error)

        self.finish = finish
        call = Call(0, 0.0, 0.0, 0, (0, False), Whole(1))
        self.send(call)
        try:
            return await asyncio.wait_for(answered, timeout_s) == "HTTP 404"
        except asyncio.TimeoutError:
            self.cancel(call)
            return False

    def send(self, call: Call) -> None:
        """Send a call over an idle connection, or over a new one."""
        while self.idle:
            connection = self.idle.pop()
            if not connection.transport.is_closing():
                connection.begin(call, self._requests[call.request])
                return
        if self._loop.time() < self._refused_until or self.count + len(self._dialling) >= self._most:
            self.finish(call, "connection")
        else:
            self._dial(call)

    def _dial(self, call: Call | None) -> None:
        task = self._loop.create_task(self._dialled(call))
        self._dialling.add(task)
        task.add_done_callback(self._dialling.discard)
        if call is not None:
            call.handle = task

    async def _dialled(self, call: Call | None) -> None:
        try:
            connection = await asyncio.wait_for(self._connect(), CONNECT_S)
        except (OSError, asyncio.TimeoutError):
            self._refused()
            if call is not None:
                self.finish(call, "connection")
            return
        self._wait = 0.0
        if call is None:
            self.idle.append(connection)
        else:
            connection.begin(call, self._requests[call.request])

    def _refused(self) -> None:
        self._wait = min(max(self._wait * 2, BACK_OFF[0]), BACK_OFF[1])
        self._refused_until = self._loop.time() + self._wait
        self._loop.call_later(self._wait, self._refill)

    def lost(self, connection: Connection) -> None:
        """A connection is gone: replace it where fewer than the first number are left."""
        self.count -= 1
        if connection in self.idle:
            self.idle.remove(connection)
        self._refill()

    def _refill(self) -> None:
        waiting = self._loop.time() < self._refused_until
        if not (self._closed or waiting) and self.count + len(self._dialling) < self._least:
            self._dial(None)

    def cancel(self, call: Call) -> None:
        """Give a call up: what its connection may still bring belongs to nobody."""
        if isinstance(call.handle, Connection):
            call.handle.call = None
            call.handle.transport.abort()
        elif call.handle is not None:
            call.handle.cancel()

    async def close(self) -> None:
        """Close all connections."""
        self._closed = True
        for task in list(self._dialling):
            task.cancel()
        for connection in self.idle:
            connection.transport.abort()
