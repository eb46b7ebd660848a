# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The generator against its own stub: how much it can send, what a request costs it, and how true its latencies are.

Latency is compared with the delay that the stub really gave, as the stub measured it. A reply needs time besides (the
kernel, the protocol, Python on both sides): the overhead. It is what latency exceeds the delay by where the delay is
short, measured in turns with the long one. The error is what is left of the difference when both are taken off, as a
share of the delay. The short delay is not none, since a client that has gone to sleep needs longer to hear a reply.
"""

from __future__ import annotations

import asyncio
import base64
import gc
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import repeat
from pathlib import Path
from typing import Any

from . import messages, worker
from .engine import Engine
from .fine_loop import fine_loop
from .grpc_calls import MissingGrpcError
from .histogram import Histogram
from .spec import Spec
from .stub import Act, Script, Stub
from .tally import Tally
from .target import UnreachableError

SCHEMA = 1
# A delay in s as a small model has it; an error of 1 % of it, 50 us, is what timers can be trusted with.
DELAY_S = 0.005
SHORT_S = 0.001
# Requests/s and s of one block, of which some are with the long delay and some with the short one, in turns.
RATE, BLOCK_S, BLOCKS = 250.0, 0.5, 8
# Requests of one burst, and how many of them are in flight at a time: enough to keep a core busy.
BURST, IN_FLIGHT, BURSTS = 6000, 32, 3

_TENSOR = messages.Tensor("DT_FLOAT", (8,), [0.5] * 8)
GRPC_REQUEST = messages.encode_request("calibration", "serving_default", {"x": _TENSOR})
GRPC_REPLY = messages.encode_response({"y": _TENSOR})
REST_REQUEST = b'{"instances": [0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5]}'
REST_REPLY = b'{"predictions": [0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5]}'


def calibrate(out: Path) -> int:
    """Write ``calibration.json`` into a folder and return the exit code."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        found = {"schema": SCHEMA, "protocols": {protocol: figures(protocol) for protocol in ("grpc", "rest")}}
        (out / "calibration.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        print(f"{out} cannot be written: {(error.strerror or 'unknown error').lower()}", file=sys.stderr)
        return 2
    return 0


def figures(protocol: str) -> dict[str, Any]:
    """Return the figures of a protocol, or ``{"missing": sentence}``."""
    try:
        with Stub(script(0.0), cpus()[-1]) as stub, apart() as loop:
            rates = [loop.run_until_complete(burst(stub, protocol)) for _ in range(BURSTS)]
            return {**capacity(rates), **delays(loop, stub, protocol)}
    except (MissingGrpcError, UnreachableError) as error:
        return {"missing": str(error)}


def script(delay: float) -> Script:
    """Return the stub's part."""
    return Script([Act("reply", delay)], rest_reply=REST_REPLY, grpc_reply=GRPC_REPLY)


def stage(stub: Stub, protocol: str, **changes: Any) -> Spec:
    """Return the description of a stage against a stub."""
    request = {"model": "calibration", "signature": "serving_default", "path": "/v1/models/calibration:predict"}
    bodies = {"rest": base64.b64encode(REST_REQUEST).decode(), "grpc": base64.b64encode(GRPC_REQUEST).decode()}
    target = {"host": "127.0.0.1", "grpc": stub.grpc, "rest": stub.rest, "tls": None, "metrics": None}
    spec = {
        "schema": 1,
        "engine": "own",
        "protocol": protocol,
        "target": target,
        "requests": [{**request, **bodies, "weight": 1.0, "items": 1, "expect": None}],
        "rate": RATE,
        "arrivals": "constant",
        "seed": 1,
        "warmup_s": 0.0,
        "duration_s": BLOCK_S,
        "processes": 1,
        "connections": 4,
        "timeout_s": 10.0,
        "start_in_s": 0.1,
    }
    return {**spec, **changes}  # type: ignore[typeddict-item]


def cpus() -> list[int]:
    """Return the CPUs of this process: the client takes the first, the stub the last."""
    return sorted(os.sched_getaffinity(0))


@contextmanager
def apart() -> Iterator[asyncio.AbstractEventLoop]:
    """Give a loop on a CPU that is not the stub's, and put this process back to how it was."""
    loop, all_cpus = fine_loop(), cpus()
    asyncio.set_event_loop(loop)
    try:
        os.sched_setaffinity(0, {all_cpus[0]})
        yield loop
    finally:
        os.sched_setaffinity(0, all_cpus)
        gc.unfreeze()
        gc.enable()
        asyncio.set_event_loop(None)
        loop.close()


def capacity(rates: list[tuple[float, float]]) -> dict[str, float]:
    """Return the best of several bursts: what disturbs one only makes it slower."""
    return {
        "requests_per_s_a_core": round(max(rate for rate, _ in rates), 1),
        "cpu_us_a_request": round(min(cpu for _, cpu in rates), 1),
    }


async def burst(stub: Stub, protocol: str) -> tuple[float, float]:
    """Send requests as fast as they are answered; return requests/s, and us of CPU time for each."""
    transport = worker.connected(stage(stub, protocol))
    await transport.open()
    loop = asyncio.get_running_loop()
    over = loop.create_future()
    engine = Engine(iter(()), worker.terms(stage(stub, protocol)), Tally(), time.monotonic, began := time.monotonic())
    engine.send, engine.cancel = transport.send, transport.cancel
    waiting = repeat(None, BURST - IN_FLIGHT)

    def finish(*ended: Any) -> None:
        engine.finish(*ended)
        for _ in waiting:
            engine.offer(time.monotonic(), 0)
            return
        if not engine.open and not over.done():
            over.set_result(None)

    transport.finish = finish
    cpu = time.process_time()
    for _ in range(IN_FLIGHT):
        engine.offer(time.monotonic(), 0)
    await over
    wall, cpu = time.monotonic() - began, time.process_time() - cpu
    await transport.close()
    return BURST / wall, cpu / BURST * 1e6


def delays(loop: asyncio.AbstractEventLoop, stub: Stub, protocol: str) -> dict[str, float]:
    """Return the figures on latency: the delay that the stub gave, and what the client made of it."""
    measured = {SHORT_S: Histogram(), DELAY_S: Histogram()}
    given = {SHORT_S: Histogram(), DELAY_S: Histogram()}
    for number in range(BLOCKS):
        delay = (SHORT_S, DELAY_S, DELAY_S, SHORT_S)[number % 4]
        stub.ask(script(delay))
        measured[delay].add(loop.run_until_complete(block(stage(stub, protocol))))
        given[delay].add(stub.ask().delays)
    overhead = measured[SHORT_S].quantile(0.5) - given[SHORT_S].quantile(0.5)
    return compared(given[DELAY_S].quantile(0.5), measured[DELAY_S].quantile(0.5), overhead)


def compared(delay: int, measured: int, overhead: int) -> dict[str, float]:
    """Return the error of a measured latency, all in us."""
    error = abs(measured - overhead - delay) / delay
    return {
        "delay_us": delay,
        "measured_p50_us": measured,
        "error": round(error, 5),
        "overhead_us": overhead,
    }


async def block(spec: Spec) -> Histogram:
    """Run a stage in this process and return its latencies."""
    transport = worker.connected(spec)
    await transport.open()
    whole = Histogram()

    def hear(said: tuple[Any, ...]) -> None:
        for _, count in said[1] if said[0] == "counted" else ():
            whole.add(count.histogram)

    await worker.Driver(worker.Job(0, None, spec), transport, time.monotonic() + spec["start_in_s"], hear).run()
    await transport.close()
    return whole
