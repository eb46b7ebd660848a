# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A server in simulated time: Poisson arrivals, several workers, one queue; results as the load generator writes them.

With exponential service times its percentiles are known (M/M/c), and so is the knee.
"""

from __future__ import annotations

import heapq
import math
import os
import random
from collections.abc import Callable, Sequence
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.load.histogram import Histogram, bounds, index
from ansible_collections.tfserving.fleet.plugins.plugin_utils.measure import series
from ansible_collections.tfserving.fleet.plugins.plugin_utils.measure.series import Second

Service = Callable[[], float]

# `make test-long` asks for all runs, else a sample is made, of the same seeds.
AT_LENGTH = bool(os.environ.get("LAB_LONG"))


def exponential(draw: random.Random, mean_s: float) -> Service:
    """Return what draws exponential service times."""
    return lambda: -math.log(1 - draw.random()) * mean_s


def lognormal(draw: random.Random, mean_s: float, sigma: float = 0.5) -> Service:
    """Return what draws lognormal service times."""
    mu = math.log(mean_s) - sigma**2 / 2
    return lambda: math.exp(draw.gauss(mu, sigma))


def stage(draw: random.Random, rate: float, seconds: int, service: Service, workers: int = 1) -> list[Second]:
    """Return the seconds of a stage of an idle server, the first five of which are thrown away."""
    warmup = 5
    free = [0.0] * workers
    counts: list[dict[int, int]] = [{} for _ in range(seconds + warmup)]
    arrived, done = [0] * (seconds + warmup), [0] * (seconds + warmup)
    log, uniform, replace, end_of_stage = math.log, draw.random, heapq.heapreplace, seconds + warmup
    now = -log(1 - uniform()) / rate
    while now < end_of_stage:
        begin = free[0]
        end = (now if now > begin else begin) + service()
        replace(free, end)
        second, us = int(now), int((end - now) * 1e6)
        # The same as index(us), written out: a call for each request would be most of the time.
        shift = us.bit_length() - 8
        bucket = (us or 1) if shift <= 0 else (shift << 7) + (us >> shift)
        buckets = counts[second]
        buckets[bucket] = buckets.get(bucket, 0) + 1
        arrived[second] += 1
        if end < end_of_stage:
            done[int(end)] += 1
        now -= log(1 - uniform()) / rate
    found, open_ = [], 0
    for t, (buckets, came, went) in enumerate(zip(counts, arrived, done)):
        open_ += came - went
        found.append(Second(t, came, came, open_, from_counts(buckets)))
    return found[warmup:]


def times(seconds: Sequence[Second], factor: Callable[[int], float]) -> list[Second]:
    """Return seconds whose latencies are multiplied by a factor of the second's number."""
    return [
        Second(each.t, each.offered, each.ok, each.open, _times(each.histogram, factor(number)))
        for number, each in enumerate(seconds)
    ]


def _times(histogram: Histogram, factor: float) -> Histogram:
    counts: dict[int, int] = {}
    for bucket, count in histogram.counts.items():
        other = index(round(_middle(bucket) * factor))
        counts[other] = counts.get(other, 0) + count
    return from_counts(counts)


def wandering(
    draw: random.Random, seconds: int, spread: float, memory: float, every: int = 1
) -> Callable[[int], float]:
    """Return factors that change each ``every`` seconds: lognormal, each remembering a share of the one before."""
    level, found = draw.gauss(0, spread), []
    for _ in range(seconds // every + 1):
        found.append(math.exp(level))
        level = memory * level + draw.gauss(0, spread * math.sqrt(1 - memory**2))
    return lambda t: found[t // every]


def from_counts(counts: dict[int, int]) -> Histogram:
    """Return a histogram of a number of latencies in each bucket."""
    return Histogram(counts, sum(counts.values()), 1, 3_600_000_000, 0)


def result(seconds: Sequence[Second], **others: Any) -> dict[str, Any]:
    """Return the result of a stage of whole seconds, without warm-up and with nothing to remark on."""
    offered, ok = sum(each.offered for each in seconds), sum(each.ok for each in seconds)
    return {
        "offered": offered,
        "ok": ok,
        "errors": {"UNAVAILABLE": offered - ok} if offered > ok else {},
        "late": 0,
        "cpu": [0.4],
        "warmup_s": 0,
        "duration_s": len(seconds),
        "counters": None,
        "all": {"sent": offered, "ok": ok},
        "histogram": _recorded(series.whole(seconds)).to_json(),
        "seconds": [as_json(each, t) for t, each in enumerate(seconds)],
        **others,
    }


def as_json(second: Second, t: int) -> dict[str, Any]:
    """Return a second as the load generator writes it, with the least and the greatest that its buckets allow."""
    return {
        "t": t,
        "offered": second.offered,
        "ok": second.ok,
        "errors": second.offered - second.ok,
        "late": 0,
        "open": second.open,
        "histogram": _recorded(second.histogram).to_json(),
    }


def _recorded(counts: Histogram) -> Histogram:
    """Return a histogram of counts alone with the least and the greatest latency, too."""
    whole = Histogram()
    for bucket, count in counts.counts.items():
        whole.record(_middle(bucket), count)
    return whole


def _middle(bucket: int) -> int:
    return sum(bounds(bucket)) // 2


def knee(slo_s: float, mean_s: float, workers: int) -> float:
    """Return the rate at which p99 of an M/M/c queue is the objective.

    The time in the system of M/M/c: with Erlang's probability of waiting C, and a = workers / mean - rate,
    P(T > t) = exp(-t / mean) * (1 - C / (1 - mean * a)) + C / (1 - mean * a) * exp(-a * t), e.g. Kleinrock, Queueing
    Systems I, 3.5.
    """
    # Not from 0: where 1 = mean * a the formula has a gap, which halves of the capacity would meet.
    low, high = 0.001, workers / mean_s
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _tail(slo_s, middle, mean_s, workers) < 0.01 else (low, middle)
    return low


def _tail(t: float, rate: float, mean_s: float, workers: int) -> float:
    load = rate * mean_s
    last = load**workers / math.factorial(workers) * workers / (workers - load)
    waits = last / (sum(load**k / math.factorial(k) for k in range(workers)) + last)
    spare = workers / mean_s - rate
    part = waits / (1 - mean_s * spare)
    return math.exp(-t / mean_s) * (1 - part) + part * math.exp(-spare * t)
