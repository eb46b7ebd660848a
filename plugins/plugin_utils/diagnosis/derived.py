# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Figures that faults of models and settings share, beside those of a case and its instances."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from . import page
from .case import Case
from .finding import Judged, Proof, Verdict
from .instance import Instance
from .reading import at, mapping, number, ratio, total
from .verdicts import cleared, percent, proof, unknown

Entrypoint = Literal["REST", "GRPC"]
# Part of the latency from which on a fault is what to mend first.
MAIN_PART = 0.3
# Of each pool of request threads one holds no request: REST's event loop (tensorflow/serving#1576), gRPC's poller.
_POOLS: dict[Entrypoint, str] = {"REST": "rest_api_num_threads", "GRPC": "grpc_max_threads"}
# The pool counts as used up at this part of it, since the mean over the samples hides that it was full for a while.
_FULL = 0.7
# Of fewer the 99th percentile is their slowest.
_FEWEST = 50.0
NO_PAGE = "its page of metrics could not be read"
NO_REQUESTS = "It ended no requests between the samples."


def each_running(case: Case, judge: Callable[[Case, Instance], Judged | None]) -> list[Judged]:
    """Return what a rule says of each instance that is not known to be down."""
    found = (judge(case, each) for each in case.instances if each.running is not False)
    return [each for each in found if each is not None]


def each_instance(case: Case, judge: Callable[[Case, Instance], Judged | None]) -> list[Judged]:
    """Return what a rule says of each instance, also of one that is down: for what may keep it from starting."""
    return [each for each in (judge(case, instance) for instance in case.instances) if each is not None]


def each_used(case: Case, judge: Callable[[Case, Instance], Judged | None]) -> list[Judged]:
    """Return what a rule says of each instance that answers requests; nothing can be said of one without any."""

    def judged(case: Case, instance: Instance) -> Judged | None:
        if instance.used is None:
            return unknown(NO_PAGE, instance.name)
        return judge(case, instance) if instance.used else cleared(NO_REQUESTS, instance=instance.name)

    return each_running(case, judged)


def mean_ms(case: Case, instance: Instance) -> float | None:
    """Return the mean latency: as callers measured it, or else as the server did.

    The calls of a probe may be smaller than those of others, and no part is more than the whole: the longer one counts.
    """
    seen, own = number(at(case.client, instance.name, "mean_ms")), instance.request_ms()
    return max((each for each in (seen, own) if each is not None), default=None)


def part(case: Case, instance: Instance, ms: float | None) -> float | None:
    """Return the part of the latency that some milliseconds are."""
    found = ratio(ms, mean_ms(case, instance))
    return None if found is None else min(max(found, 0.0), 1.0)


def keeps_objective(case: Case, instance: Instance) -> bool | None:
    """Tell whether p99 keeps the objective; None where it lies in the bucket of p99, or nothing is known."""
    objective = instance.objective_ms
    if objective is None:
        return None
    seen = number(at(case.client, instance.name, "p99_ms"))
    if seen is not None:
        return seen <= objective
    bracket = instance.page.bracket(page.LATENCY, 0.99)
    if bracket is None:
        return None
    return _bracketed(bracket[0] / 1e3, bracket[1] / 1e3, objective)


def _bracketed(low_ms: float, high_ms: float, objective_ms: float) -> bool | None:
    if high_ms <= objective_ms:
        return True
    return False if low_ms >= objective_ms else None


def weighed(case: Case, instance: Instance, share: float | None) -> Verdict:
    """Return whether a fault with such a share of the latency is its cause, or contributes to it."""
    is_main = share is not None and share >= MAIN_PART
    return "cause" if is_main and keeps_objective(case, instance) is not True else "contributor"


def whole(instance: Instance, flag: str) -> int | None:
    """Return a flag of its process as a whole number, None where it is not set."""
    value = instance.flags.get(flag, "")
    return int(value) if value.lstrip("-").isdigit() and len(value) <= 18 else None


def at_work(instance: Instance, entrypoint: Entrypoint) -> float | None:
    """Return the requests of an entrypoint that are in the server at a time (Little's law)."""
    spent = instance.rate(instance.page.grown(page.LATENCY + "_sum", entrypoint=entrypoint))
    return None if spent is None else spent / 1e6


def pool_size(instance: Instance, entrypoint: Entrypoint) -> int | None:
    """Return how many requests of an entrypoint may be at work: its threads less the one that holds none."""
    threads = whole(instance, _POOLS[entrypoint])
    if threads is None and not (instance.flags and instance.cpus):
        return None
    return (threads if threads is not None else 4 * len(instance.cpus)) - 1


def is_pool_full(instance: Instance, entrypoint: Entrypoint) -> bool:
    """Tell whether an entrypoint had nearly all its threads at work."""
    busy, size = at_work(instance, entrypoint), pool_size(instance, entrypoint)
    return busy is not None and size is not None and busy >= _FULL * max(size, 1)


def tail(case: Case, instance: Instance, histogram: str) -> float | None:
    """Return how many times p99 is above p50, at least: the lower edge of its bucket over the upper edge of p50's.

    Of the series in which that is most: a slow model beside a fast one, or REST beside gRPC, is no tail. The probe's
    calls are left out, as the smallest: beside them the usual requests of a few callers would be giants.
    """
    counts = instance.page.growths(histogram + "_count")
    probes = {at_: _probes(case, instance, dict(at_), count) for at_, count in counts.items()}
    enough = min(_FEWEST, max((count - probes[at_] for at_, count in counts.items()), default=0.0)) or 1.0
    tails = (
        _tail(instance, histogram, probes[at_], dict(at_))
        for at_, count in counts.items()
        if count - probes[at_] >= enough
    )
    return max((each for each in tails if each is not None), default=None)


def _tail(instance: Instance, histogram: str, probes: float, labels: dict[str, str]) -> float | None:
    middle, top = (instance.page.bracket(histogram, quantile, probes, **labels) for quantile in (0.5, 0.99))
    return None if middle is None or top is None else ratio(top[0], middle[1])


def _probes(case: Case, instance: Instance, labels: dict[str, str], count: float) -> float:
    """Return how many observations of a series are the probe's: by their part of all calls."""
    client = mapping(case.client.get(instance.name))
    calls = total([number(client.get("calls")), number(at(client, "gateway", "calls"))])
    entrypoint = labels.get("entrypoint")
    if calls is None or entrypoint not in (None, client.get("entrypoint")):
        return 0.0
    every = instance.page.count(page.LATENCY, **({"entrypoint": entrypoint} if entrypoint else {}))
    return count * min(calls / every, 1.0) if every else 0.0


def busy_part(instance: Instance) -> float | None:
    """Return the part of its CPUs that its threads kept busy."""
    cpus = instance.cpus_allowed or instance.cpus
    return ratio(instance.cores_used, float(len(cpus)))


def ended_as(case: Case, part: float | None, status: str) -> Proof:
    """Return the part of the requests that ended with a status as evidence."""
    return proof("request_count", f"{percent(part)} ended as {status}", "none", case.window_s)
