# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A stub server of known delays and faults, in a process of its own, to calibrate the load generator and to try it.

It answers every request of HTTP/1.1 and of gRPC in turn as its script says, and judges nothing: it reads of HTTP/2 only
the frames. So it costs little, and can misbehave exactly as told. The delay that it really gave, from a request's
last byte to its reply, is measured there, since its own timers are not exact: whoever compares latencies with delays
takes these (`Stub.ask`), and so finds the error of the client alone.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

from .fine_loop import fine_loop
from .histogram import Histogram
from .stub_grpc import GrpcStub
from .stub_rest import RestStub

# A connection of the stub waits for requests this long at the most; nothing of it outlives a calibration.
BACKLOG = 4096


@dataclass(frozen=True)
class Act:
    """What happens to one request: ``kind`` after ``delay`` s.

    Both protocols: reply, wrong (another reply), error (HTTP 503, UNAVAILABLE), reset (of the connection), silent
    (nothing ever). REST: chunked, close (after the reply), half (of the reply, then the end of the connection),
    malformed, pieces (byte by byte). gRPC: stream_reset, goaway (reply, and no further request on this connection).
    """

    kind: str = "reply"
    delay: float = 0.0


@dataclass(frozen=True)
class Script:
    """The acts for requests in their order, again and again; before request ``stall_at`` (from 0) all stands still."""

    acts: Sequence[Act] = (Act(),)
    stall_at: int = -1
    stall: float = 0.0
    slow_start: float = 0.0  # s after which connections are accepted; before, they are refused
    rest_reply: bytes = b'{"predictions": [1.0]}'
    grpc_reply: bytes = b""


@dataclass
class Report:
    """What the stub did: acts by kind, and the delays that it really gave in us."""

    acts: dict[str, int] = field(default_factory=dict)
    delays: Histogram = field(default_factory=Histogram)


class Director:
    """Says what becomes of each request, by either protocol."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.report = Report()
        self._number = 0
        self._loop = asyncio.get_running_loop()

    def perform(self, play: Callable[[str], None]) -> None:
        """Take the next act, and have it played when it is due."""
        arrived = time.monotonic()
        script = self.script
        if self._number == script.stall_at:
            time.sleep(script.stall)
        act = script.acts[self._number % len(script.acts)]
        self._number += 1
        self.report.acts[act.kind] = self.report.acts.get(act.kind, 0) + 1
        if act.delay:
            self._loop.call_at(arrived + act.delay, self._play, play, act, arrived)
        else:
            self._play(play, act, arrived)

    def restart(self, script: Script | None) -> Report:
        """Begin a script, and return what was done before."""
        self.script = script or self.script
        self._number = 0
        report, self.report = self.report, Report()
        return report

    def _play(self, play: Callable[[str], None], act: Act, arrived: float) -> None:
        # Before the reply is written: what follows is on the client's side of the measurement.
        self.report.delays.record(int((time.monotonic() - arrived) * 1e6 + 0.5))
        play(act.kind)


class Stub:
    """A stub server, for a ``with``: ``rest`` and ``grpc`` are its ports on loopback."""

    def __init__(self, script: Script | None = None, cpu: int | None = None) -> None:
        context = get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self.process = context.Process(target=_main, args=(theirs, script or Script(), cpu), daemon=True)
        self.process.start()
        theirs.close()
        self.rest, self.grpc = self._pipe.recv()

    def __enter__(self) -> Stub:
        return self

    def __exit__(self, *rest: Any) -> None:
        self._pipe.close()
        self.process.join(1)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()

    def ask(self, script: Script | None = None) -> Report:
        """Return what was done since the last time, and go on with a script, or with the same one from its start."""
        self._pipe.send(script)
        found = self._pipe.recv()
        assert isinstance(found, Report)
        return found


def _main(pipe: Connection, script: Script, cpu: int | None) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends it
    if cpu is not None:
        os.sched_setaffinity(0, {cpu})
    loop = fine_loop()
    asyncio.set_event_loop(loop)
    loop.run_until_complete(_serve(pipe, script))


async def _serve(pipe: Connection, script: Script) -> None:
    loop = asyncio.get_running_loop()
    director = Director(script)
    sockets = [_bound() for _ in range(2)]
    over = loop.create_future()
    loop.add_reader(pipe.fileno(), _hear, pipe, director, over)
    pipe.send(tuple(each.getsockname()[1] for each in sockets))
    await asyncio.sleep(script.slow_start)
    await loop.create_server(lambda: RestStub(director), sock=sockets[0], backlog=BACKLOG)
    await loop.create_server(lambda: GrpcStub(director), sock=sockets[1], backlog=BACKLOG)
    await over


def _bound() -> socket.socket:
    """Return a socket with a port of its own that does not listen yet: connections to it are refused."""
    # asyncio switches Nagle's algorithm off only where the protocol is said to be TCP.
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    made.bind(("127.0.0.1", 0))
    return made


def _hear(pipe: Connection, director: Director, over: asyncio.Future[None]) -> None:
    try:
        script = pipe.recv()
    except (EOFError, OSError):
        if not over.done():
            over.set_result(None)
        asyncio.get_running_loop().remove_reader(pipe.fileno())
        return
    pipe.send(director.restart(script))
