# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A small model of a server: requests queue, batches form, calls of the model run; from it the knee to expect.

What the model leaves out (network, encoding, caches, neighbours) is why its figures are predictions, to be measured.
"""

from __future__ import annotations

import heapq
import math
import random
from dataclasses import dataclass
from functools import lru_cache

from .service_time import Curve
from .space import Machine, Setting

# Requests of one simulated point: some 50 requests are beyond its p99, a tenth of it in noise; the same arrivals at
# each rate and setting, so that settings are compared alike.
REQUESTS = 5000
# A point lasts for several objectives, or a queue that grows without end would not be seen; but not indefinitely.
OBJECTIVES = 10
MOST_REQUESTS = 20_000
SEED = 1
# To this the knee is found, well within the 15 % that a prediction is good for.
PRECISION = 0.02
PERCENTILE = 0.99


@dataclass(frozen=True)
class Load:
    """What callers send, and what they want."""

    slo_us: float
    items: float = 1.0
    """Items of a request."""
    busy_cpus: float = 1.0
    """CPUs that one call of the model keeps busy."""
    overhead_us: float = 0.0
    """Time of a request outside of the model and its queue: network, encoding."""


@dataclass(frozen=True)
class Server:
    """A server as the model sees it: requests, not items."""

    servers: int
    """Calls that run at a time."""
    batch: int
    """Requests of the largest call."""
    timeout_us: float
    queue: float
    """Requests that may wait."""
    held: float
    """Requests that the threads hold in all."""
    fixed_us: float
    request_us: float
    items: float
    sizes: tuple[int, ...]

    def us(self, requests: int) -> float:
        """Return the time of a call with this many requests, padded to an allowed size."""
        items = requests * self.items
        padded = next((size for size in self.sizes if size >= items), items)
        return self.fixed_us + self.request_us * padded / self.items


def server(setting: Setting, machine: Machine, curve: Curve, load: Load) -> Server:
    """Return the model of an instance with a setting."""
    # One thread of the gRPC pool polls.
    held = max(1, setting.grpc - 1)
    costs = (curve.a, curve.c * load.items, load.items)
    running = machine.servers(setting, load.busy_cpus)
    batches = setting.batches
    if batches is None:
        return Server(running, 1, 0.0, math.inf, held, *costs, ())
    size = max(1, int(batches.max_batch_size / load.items))
    queue = batches.max_enqueued_batches * size
    return Server(running, size, batches.batch_timeout_micros, queue, held, *costs, batches.allowed_batch_sizes)


@lru_cache(4)
def _arrivals(count: int, seed: int) -> tuple[float, ...]:
    """Return Poisson arrivals at a rate of one a unit of time."""
    source, now, times = random.Random(seed), 0.0, []
    for _ in range(count):
        now += source.expovariate(1.0)
        times.append(now)
    return tuple(times)


def latencies(model: Server, rate: float, count: int = REQUESTS, seed: int = SEED) -> tuple[list[float], int]:
    """Return the times of the answered requests in us, in order of their start, and how many were refused.

    :param rate: requests a second.
    """
    step = 1e6 / rate
    arrivals = [each * step for each in _arrivals(count, seed)]
    free = [0.0] * model.servers
    running: list[tuple[float, int]] = []
    inside = refused = following = 0
    waiting: list[float] = []
    first = 0
    times: list[float] = []

    def admit(until: float, most: float = math.inf) -> None:
        """Take the arrivals up to a moment, while fewer than ``most`` wait."""
        nonlocal following, inside, refused
        while following < count and arrivals[following] <= until and len(waiting) - first < most:
            now = arrivals[following]
            following += 1
            while running and running[0][0] <= now:
                inside -= heapq.heappop(running)[1]
            if len(waiting) - first >= model.queue or len(waiting) - first + inside >= model.held:
                refused += 1
            else:
                waiting.append(now)

    while following < count or first < len(waiting):
        if first == len(waiting):
            admit(arrivals[following])
            continue
        start = max(free[0], waiting[first])
        admit(start)
        if len(waiting) - first < model.batch and start < waiting[first] + model.timeout_us:
            # A thread is free, and the batch waits until it is full or its first request has waited long enough.
            admit(waiting[first] + model.timeout_us, model.batch)
            full = len(waiting) - first >= model.batch
            start = max(start, waiting[-1] if full else waiting[first] + model.timeout_us)
        size = min(model.batch, len(waiting) - first)
        ended = start + model.us(size)
        heapq.heapreplace(free, ended)
        heapq.heappush(running, (ended, size))
        inside += size
        after = first + size
        times += [ended - each for each in waiting[first:after]]
        first = after
    return times, refused


@lru_cache(4096)
def _keeps(model: Server, load: Load, rate: float) -> bool:
    lasting = int(min(MOST_REQUESTS, OBJECTIVES * load.slo_us * rate / 1e6))
    times, refused = latencies(model, rate, max(REQUESTS, lasting))
    if refused:
        return False
    # The first tenth fills the server.
    filled = len(times) // 10
    steady = sorted(times[filled:])
    return steady[math.ceil(PERCENTILE * len(steady)) - 1] + load.overhead_us <= load.slo_us


def capacity(model: Server) -> float:
    """Return the requests a second that a server carries with full batches, whatever their latency."""
    most = int(min(model.batch, model.held))
    return model.servers * most / model.us(most) * 1e6


@lru_cache(4096)
def _knee(model: Server, load: Load) -> float:
    high = capacity(model)
    low = high / 1024
    if not _keeps(model, load, low):
        return 0.0
    while high - low > PRECISION * high:
        middle = math.sqrt(low * high) if high > 2 * low else (low + high) / 2
        low, high = (middle, high) if _keeps(model, load, middle) else (low, middle)
    return low


def carries(setting: Setting, machine: Machine, curve: Curve, load: Load, rate: float) -> bool:
    """Return whether the model keeps the objective at a rate."""
    model = server(setting, machine, curve, load)
    return rate <= capacity(model) and _keeps(model, load, rate)


def knee(setting: Setting, machine: Machine, curve: Curve, load: Load) -> float:
    """Return the highest rate, in requests a second, at which the model keeps the objective; 0 if there is none."""
    return _knee(server(setting, machine, curve, load), load)
