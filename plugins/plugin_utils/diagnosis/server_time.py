# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What the server tells of its own time, by entrypoint: overhead, queue and execution.

`request_latency` is all that happens inside of it and knows the entrypoint. `runtime_latency`, the run of the session
with its wait in the batcher, knows the model and the API; `queuing_latency`, that wait, knows neither.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from . import latencies, page


@dataclass(frozen=True)
class ServerTime:
    """The mean time of the calls by one entrypoint between two samples, in milliseconds; None is not known."""

    requests: int
    request: float
    overhead: float | None
    queue: float | None
    execution: float | None
    p99: tuple[float, float] | None


def server_times(before: latencies.Page, after: latencies.Page, batches: bool) -> dict[str, ServerTime]:
    """Return the times by entrypoint (GRPC, REST), of those that had calls.

    :param batches: whether the server forms batches.
    """
    requests = {name: _requests(before, after, name) for name in _entrypoints(after)}
    seen = {name: each for name, each in requests.items() if each is not None and each.mean is not None}
    runs = {name: _runtime(before, after, name) for name in seen}
    wait = _wait(before, after, batches)
    return {name: _time(name, seen, runs, wait) for name in seen}


def _time(name: str, seen: dict[str, latencies.Grown], runs: dict[str, float | None], wait: float | None) -> ServerTime:
    request, run = seen[name], runs[name]
    whole = request.mean or 0.0
    overhead = _overhead(name, seen, runs)
    execution = None if run is None or wait is None else max(0.0, run - wait)
    queue = wait
    # The wait is a mean over all entrypoints; of one among several it is what its calls' own time leaves.
    if wait and len(seen) > 1 and overhead is not None and execution is not None:
        queue = max(0.0, whole - overhead - execution)
    bracket = request.bracket(0.99)
    return ServerTime(
        requests=request.count,
        request=whole / 1000,
        overhead=_ms(overhead),
        queue=_ms(queue),
        execution=_ms(execution),
        p99=bracket and (bracket[0] / 1000, bracket[1] / 1000),
    )


def _overhead(name: str, seen: dict[str, latencies.Grown], runs: dict[str, float | None]) -> float | None:
    """Return what a call costs around its run.

    The mean of runs is one over all entrypoints: where those by gRPC join a batch that calls by REST have begun, they
    wait less than the mean, and the others more. So it is at most the overhead of all entrypoints together.
    """
    run = runs[name]
    if run is None:
        return None
    each = [(grown.count, (grown.mean or 0.0) - (runs[other] or 0.0)) for other, grown in seen.items()]
    own = max(0.0, (seen[name].mean or 0.0) - run)
    if None in runs.values():
        return own
    return min(own, max(0.0, sum(count * left for count, left in each)) / seen[name].count)


def _requests(before: latencies.Page, after: latencies.Page, entrypoint: str) -> latencies.Grown | None:
    # The server's page counts questions for the status of a model as well, with an empty API.
    return latencies.grown(
        before, after, page.LATENCY, lambda labels: labels.get("entrypoint") == entrypoint and bool(labels.get("API"))
    )


def _entrypoints(after: latencies.Page) -> list[str]:
    return sorted({labels.get("entrypoint", "") for labels, _value in after.get(f"{page.LATENCY}_count", ())})


def _runtime(before: latencies.Page, after: latencies.Page, entrypoint: str) -> float | None:
    """Return the mean run of the calls by one entrypoint: the histogram of runs knows models and APIs alone."""
    total, calls = 0.0, 0
    for model, api in _kinds(after, entrypoint):
        request = latencies.grown(before, after, page.LATENCY, _of(model, api, entrypoint))
        run = latencies.grown(before, after, page.RUNTIME, _of(model, api))
        if request is None or request.count == 0:
            continue
        if run is None or run.mean is None:
            return None
        total, calls = total + request.count * run.mean, calls + request.count
    return total / calls if calls else None


def _kinds(after: latencies.Page, entrypoint: str) -> list[tuple[str, str]]:
    rows = (
        labels for labels, _value in after.get(f"{page.LATENCY}_count", ()) if labels.get("entrypoint") == entrypoint
    )
    return sorted({(each.get("model_name", ""), each["API"].lower()) for each in rows if each.get("API")})


def _of(model: str, api: str, entrypoint: str | None = None) -> Any:
    def wanted(labels: latencies.Labels) -> bool:
        # REST writes the name of the API in lower case.
        same = labels.get("model_name") == model and labels.get("API", "").lower() == api
        return same and entrypoint in (None, labels.get("entrypoint"))

    return wanted


def _wait(before: latencies.Page, after: latencies.Page, batches: bool) -> float | None:
    """Return the mean wait in the batcher in microseconds: none at all where the server forms no batches."""
    waits = latencies.grown(before, after, page.QUEUEING)
    if waits is not None and waits.count:
        return waits.mean
    return None if batches else 0.0


def _ms(microseconds: float | None) -> float | None:
    return None if microseconds is None else microseconds / 1000
