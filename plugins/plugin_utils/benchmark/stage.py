# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""One stage of a benchmark: what each load host is asked to do, and one result out of theirs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.load.histogram import Histogram

from .options import Options

SCHEMA = 1
# What a process of the generator sends with real encoding and checked replies, about 4,000 a second, less the room
# that keeps its CPU below the 70 % above which a run is invalid.
REQUESTS_A_PROCESS = 1500.0
# Time for the processes to open their connections before the common start.
START_IN_S = 0.5

Result = dict[str, Any]

SUMS = ("offered", "sent", "answered", "ok", "late", "items")
EACH_SECOND = ("offered", "ok", "errors", "late", "open")


def specs(
    options: Options,
    target: Mapping[str, Any],
    requests: Sequence[Mapping[str, Any]],
    rate: float,
    duration_s: float,
    cores: Sequence[int],
    seed: int,
) -> list[dict[str, Any]]:
    """Return what each load host reads; ``cores`` has the number of CPUs of each, and they share the rate alike.

    Rates are in requests a second. Each host has arrivals of its own, so that no two send in step.
    """
    share = rate / len(cores)
    return [
        {
            "schema": SCHEMA,
            "engine": options.engine,
            "protocol": options.protocol,
            "target": dict(target),
            "requests": [dict(request) for request in requests],
            "rate": share,
            "arrivals": options.arrivals,
            "seed": seed * len(cores) + place,
            "warmup_s": options.warmup_s,
            "duration_s": duration_s,
            "processes": options.processes or processes(share, count),
            "connections": options.connections,
            "timeout_s": options.timeout_s,
            "start_in_s": START_IN_S,
        }
        for place, count in enumerate(cores)
    ]


def processes(rate: float, cores: int) -> int:
    """Return how many processes a load host needs for a rate: as few as carry it, since each disturbs the others."""
    return max(1, min(cores, math.ceil(rate / REQUESTS_A_PROCESS)))


def merged(results: Sequence[Result]) -> Result:
    """Return one result out of those of all load hosts.

    The server's counters are read by every host, so the earliest reading before and the latest after count: they only
    ever grow.
    """
    if len(results) == 1:
        return results[0]
    first = results[0]
    whole = {key: first[key] for key in ("schema", "engine", "protocol", "warmup_s", "duration_s")}
    return {
        **whole,
        "began": min(result["began"] for result in results),
        "rate": sum(result["rate"] for result in results),
        **{key: _sum([result.get(key) for result in results]) for key in SUMS},
        "errors": _added([result["errors"] for result in results]),
        "cpu": [share for result in results for share in result["cpu"]],
        "rss_mb": [size for result in results for size in result["rss_mb"]],
        "counters": _counters([result.get("counters") for result in results]),
        "all": _added([result["all"] for result in results]),
        "histogram": _histogram([result["histogram"] for result in results]),
        "seconds": _seconds([result["seconds"] for result in results]),
        "problems": [problem for result in results for problem in result["problems"]],
        "step_s": max(result.get("step_s", 1) for result in results),
    }


def of_calls(result: Result, copies: int) -> Result:
    """Return a result whose requests are counted in calls where the server's counters are set against them."""
    return {**result, "all": {name: count * copies for name, count in result["all"].items()}}


def _sum(values: Sequence[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _added(mappings: Sequence[Mapping[str, int]]) -> dict[str, int]:
    names = sorted({name for mapping in mappings for name in mapping})
    return {name: sum(mapping.get(name, 0) for mapping in mappings) for name in names}


def _counters(read: Sequence[Mapping[str, Any] | None]) -> dict[str, Any] | None:
    known = [each for each in read if each]
    if not known:
        return None
    names = sorted({name for each in known for moment in ("before", "after") for name in each[moment]})
    return {
        "before": {name: min(each["before"].get(name, 0) for each in known) for name in names},
        "after": {name: max(each["after"].get(name, 0) for each in known) for name in names},
    }


def _histogram(all_of_them: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    total = Histogram()
    for each in all_of_them:
        total.add(Histogram.from_json(each))
    return total.to_json()


def _seconds(series: Sequence[Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """Add the series second by second; hosts start within a second of each other."""
    by_second: dict[int, list[Mapping[str, Any]]] = {}
    for one in series:
        for second in one:
            by_second.setdefault(int(second["t"]), []).append(second)
    return [
        {
            "t": at,
            **{key: sum(each[key] for each in found) for key in EACH_SECOND},
            "histogram": _histogram([each["histogram"] for each in found if each.get("histogram")]),
        }
        for at, found in sorted(by_second.items())
    ]
