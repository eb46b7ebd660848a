# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""One process of a stage: waits for the common start, drives the engine, and tells the parent once a second.

The parent hears, over a pipe, a tuple that begins with a word: ``ready``, ``failed`` (a sentence), ``counted`` (the
counts since the last time, and how many requests were in flight at the end of a second) and ``done`` (CPU share, MB).
It says ``start`` (the moment on CLOCK_MONOTONIC, which all processes share) and ``stop``. A closed pipe ends a worker.
"""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Union

from . import replies
from .engine import Engine, Terms
from .fine_loop import fine_loop
from .grpc_calls import Grpc, MissingGrpcError
from .rest import Rest, prepared
from .schedule import Share, schedule
from .spec import Spec, body
from .tally import Count, Key, Tally
from .target import UnreachableError, reason

# grpc keeps 21 KB for a call in flight (measured with 1.85), so that 4,500 of them are 95 MB of the 150 that a process
# may take. A connection of HTTP/1.1 takes 2 KB.
MOST_OPEN = {"grpc": 4_500, "rest": 20_000}
# How often requests that have run out of time are looked for, in s: a tenth of the shortest sensible time-out.
SWEEP_S = 0.05
# Requests in flight get this long, in s, after an interruption.
GRACE_S = 1.0
# Files of a process that are no connections.
OTHER_FILES = 64

Transport = Union[Rest, Grpc]
Counted = tuple[str, list[tuple[Key, Count]], tuple[int, int]]


@dataclass(frozen=True)
class Job:
    """What a worker is started with: its number, its CPU (None: any) and the stage."""

    process: int
    cpu: int | None
    spec: Spec


def main(pipe: Connection, job: Job) -> None:
    """Run one process of a stage."""
    # Ctrl-C and systemd's stop reach the whole group; the parent decides, and keeps what there is.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    _pin(job.cpu)
    loop = fine_loop()
    asyncio.set_event_loop(loop)
    try:
        loop.run_until_complete(_work(pipe, job))
    except (UnreachableError, MissingGrpcError) as error:
        pipe.send(("failed", str(error)))
    except (OSError, ValueError) as error:
        pipe.send(("failed", f"the certificates and the key of target.tls cannot be used: {reason(error)}"))


def _pin(cpu: int | None) -> None:
    if cpu is not None:
        with suppress(OSError):  # where the CPU went away, or a container forbids it, the kernel chooses
            os.sched_setaffinity(0, {cpu})


async def _work(pipe: Connection, job: Job) -> None:
    spec = job.spec
    transport = connected(spec)
    await transport.open()
    loop = asyncio.get_running_loop()
    pipe.send(("ready",))
    began = await _start(pipe, loop)
    driver = Driver(job, transport, began, pipe.send)
    loop.add_reader(pipe.fileno(), _hear, pipe, driver)
    try:
        await driver.run()
    finally:
        loop.remove_reader(pipe.fileno())
        await transport.close()


def connected(spec: Spec) -> Transport:
    """Return what sends the requests of a stage, not opened yet."""
    target: dict[str, Any] = dict(spec["target"])
    bodies = [body(request, spec["protocol"]) for request in spec["requests"]]
    if spec["protocol"] == "grpc":
        return Grpc(target, bodies, spec["connections"])
    requests = [prepared(target, each["path"], content) for each, content in zip(spec["requests"], bodies)]
    return Rest(target, requests, spec["connections"], _most_files() - OTHER_FILES)


def _most_files() -> int:
    """Raise the number of files that this process may open as far as it may, and return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):
        return soft
    return hard if hard != resource.RLIM_INFINITY else 1 << 20


async def _start(pipe: Connection, loop: asyncio.AbstractEventLoop) -> float:
    """Wait for the moment at which all processes begin."""
    heard = asyncio.Event()
    loop.add_reader(pipe.fileno(), heard.set)
    await heard.wait()
    loop.remove_reader(pipe.fileno())
    word, *rest = _said(pipe)
    if word != "start":
        os._exit(0)
    return float(rest[0])


def _said(pipe: Connection) -> tuple[Any, ...]:
    try:
        return tuple(pipe.recv())
    except (EOFError, OSError):  # the parent is gone: nobody wants the load any more
        os._exit(1)


def _hear(pipe: Connection, driver: Driver) -> None:
    if _said(pipe)[0] == "stop":
        driver.stop()


class Driver:
    """Drives an engine by the event loop until every request of its schedule has ended."""

    def __init__(self, job: Job, transport: Transport, began: float, tell: Callable[[Any], None]) -> None:
        spec = job.spec
        self._loop = asyncio.get_running_loop()
        self._began = began
        self._warmup = spec["warmup_s"]
        self._tally = Tally()
        self._tell = tell
        self._second = 0
        self._ended = self._loop.create_future()
        self._sent_all = False
        self._cpu = _Cpu()
        made = schedule(_share(job), [request["weight"] for request in spec["requests"]])
        self._engine = Engine(made, terms(spec), self._tally, time.monotonic, began)
        self._engine.send, self._engine.cancel = transport.send, transport.cancel
        transport.finish = self._engine.finish

    async def run(self) -> None:
        """Run the stage, then tell the rest."""
        # What exists now stays; it need not be looked through again and again. Garbage is collected once a second.
        gc.collect()
        gc.freeze()
        gc.disable()
        self._loop.call_at(self._began, self._pump)
        self._loop.call_at(self._began + self._warmup, self._cpu.begin)
        self._loop.call_at(self._began + 1, self._tick)
        self._loop.call_at(self._began, self._sweep)
        await self._ended
        self._cpu.end()
        self._count()
        self._tell(("done", self._cpu.share, peak_mb()))

    def stop(self) -> None:
        """Send nothing more, and give what is in flight a moment."""
        self._engine.stop()
        self._sent_all = True
        self._loop.call_later(GRACE_S, self._engine.abandon)

    def _pump(self) -> None:
        again = self._engine.advance()
        if again is None:
            self._sent_all = True
            self._cpu.end()
        else:
            self._loop.call_at(again, self._pump)

    def _sweep(self) -> None:
        self._engine.sweep()
        if self._sent_all and not self._engine.open:
            self._ended.set_result(None)
        else:
            self._loop.call_later(SWEEP_S, self._sweep)

    def _tick(self) -> None:
        if not self._ended.done():
            self._count()
            self._second += 1
            gc.collect()
            self._loop.call_at(self._began + self._second + 1, self._tick)

    def _count(self) -> None:
        told: Counted = ("counted", self._tally.take(), (self._second, self._engine.open))
        self._tell(told)


def _share(job: Job) -> Share:
    spec = job.spec
    length = spec["warmup_s"] + spec["duration_s"]
    return Share(spec["arrivals"], spec["rate"], length, spec["seed"], job.process, spec["processes"])


def terms(spec: Spec) -> Terms:
    """Return what the engine needs to know of a stage."""
    checks = [replies.prepare(request["expect"], spec["protocol"]) for request in spec["requests"]]
    items = [request["items"] for request in spec["requests"]]
    copies = [request.get("copies", 1) for request in spec["requests"]]
    return Terms(checks, items, spec["warmup_s"], spec["timeout_s"], MOST_OPEN[spec["protocol"]], copies)


class _Cpu:
    """The share of a CPU that this process takes from the end of the warm-up until all is sent."""

    def __init__(self) -> None:
        self._from: tuple[float, float] | None = None
        self.share = 0.0

    def begin(self) -> None:
        self._from = (time.process_time(), time.monotonic())

    def end(self) -> None:
        if self._from is not None:
            used, passed = time.process_time() - self._from[0], time.monotonic() - self._from[1]
            self._from = None
            self.share = round(used / passed, 4) if passed > 0 else 0.0


def peak_mb() -> float:
    """Return the most memory in MB that this process has had. getrusage would count the parent's as well."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:
        for line in file:
            if line.startswith("VmHWM:"):
                return round(int(line.split()[1]) / 1024, 1)
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
