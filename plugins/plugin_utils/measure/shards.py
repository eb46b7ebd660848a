# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""One large request cut into shards: the latency that wins, the capacity that it costs, and when it pays.

A call takes T(n) = a + c * n for n items. Each shard pays a again, so m shards cost m * a + c * N of a server's time
instead of a + c * N, and a request waits for the slowest of them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from ..phrases import counted

# Above this utilisation sharding makes latency worse: 7 shards of a call whose fixed part is an eighth raise the work
# by 1.75, and 55 % of the capacity become 96 %.
UTILISATION_LIMIT = 0.55
# What sharding has to win to be worth a change of every caller.
WORTH = 1.2


@dataclass(frozen=True)
class Fit:
    """T(n) = a + c * n in us."""

    a_us: float
    c_us: float

    def at(self, items: float) -> float:
        """Return the time of a call with a number of items, in us."""
        return self.a_us + self.c_us * items


@dataclass(frozen=True)
class Sharding:
    """One way to cut a request: what it takes, what it wins, what it costs.

    ``items`` is the size of the largest shard. ``work`` is server time against that of the whole request (1.75 for
    75 % more), ``capacity_lost`` the share of the items a second that is lost by it. ``most_utilised`` is how busy
    whole requests may keep the instance. Each shard has to keep the limit of a request at the percentile
    ``shard_percentile``; ``late_us`` is the objective of a request where its p99 is over it, else None.
    """

    shards: int
    items: int
    p50_us: float
    p99_us: float | None
    latency_won: float
    work: float
    capacity_lost: float
    most_utilised: float
    shard_percentile: float
    late_us: float | None
    refusals: tuple[str, ...]


def even(items: int, shards: int) -> list[int]:
    """Return the sizes of the shards, which differ by one at the most: the largest decides about the latency."""
    if not 1 <= shards <= items:
        raise ValueError(f"{items} items make 1 to {items} shards, not {shards}")
    size, more = divmod(items, shards)
    return [size + 1] * more + [size] * (shards - more)


def fit(times_us: Mapping[int, float]) -> Fit:
    """Return the line through the times of calls by their number of items, by least squares; neither part is negative.

    Raise ValueError with fewer than two sizes.
    """
    if len(times_us) < 2:
        raise ValueError("the time of a call takes at least two sizes to be told apart from that of an item")
    items, times = fmean(times_us), fmean(times_us.values())
    spread = sum((each - items) ** 2 for each in times_us)
    c_us = max(sum((n - items) * (us - times) for n, us in times_us.items()) / spread, 0.0)
    return Fit(max(times - c_us * items, 0.0), c_us)


def shard_percentile(shards: int, q: float = 0.99) -> float:
    """Return the percentile at which each of some shards keeps a limit if their request is to keep it at q.

    All have to keep it: q ** (1 / shards), taking them as independent.
    """
    return float(q ** (1 / shards))


def predicted_us(curve: Fit, items: int, shards: int, slots: int) -> float:
    """Return the latency of a request in shards, when a number of them run at a time."""
    return math.ceil(shards / slots) * curve.at(max(even(items, shards)))


def most_utilised(curve: Fit, items: int, shards: int) -> float:
    """Return the utilisation by whole requests from which on shards would ask for more than the capacity."""
    return min(curve.at(items) / (shards * curve.a_us + curve.c_us * items), UTILISATION_LIMIT)


def assess(
    items: int,
    measured_us: Mapping[int, tuple[float, float | None]],
    curve: Fit,
    *,
    slots: int,
    utilisation: float,
    batching: bool,
    objective_us: float | None = None,
) -> list[Sharding]:
    """Return what each measured number of shards wins and costs.

    :param measured_us: the latency of the request, its p50 and its p99 or None, by the number of shards; 1 is needed.
    :param curve: the time of a call, measured on the live instance.
    :param slots: the calls that the instance runs at a time: its free inter-op threads.
    :param utilisation: of the instance by its real load, 0 to 1.
    :param batching: whether the server forms batches.
    :param objective_us: what 99 of 100 requests are to take at most.
    """
    whole_us = measured_us[1][0]
    rows = []
    for shards, (p50_us, p99_us) in sorted(measured_us.items()):
        work = (shards * curve.a_us + curve.c_us * items) / curve.at(items)
        rows.append(
            Sharding(
                shards=shards,
                items=max(even(items, shards)),
                p50_us=p50_us,
                p99_us=p99_us,
                latency_won=whole_us / p50_us,
                work=work,
                capacity_lost=1 - 1 / work,
                most_utilised=most_utilised(curve, items, shards),
                shard_percentile=shard_percentile(shards),
                late_us=objective_us if objective_us and p99_us and p99_us > objective_us else None,
                refusals=tuple(_refusals(shards, work, slots, utilisation, batching)) if shards > 1 else (),
            )
        )
    return rows


def _refusals(shards: int, work: float, slots: int, utilisation: float, batching: bool) -> list[str]:
    found = []
    if batching:
        found.append("the server forms batches and would merge the shards again: turn batching off, or do not shard")
    if shards > slots:
        found.append(f"{shards} shards wait for each other in {counted(slots, 'free slot')}")
    if utilisation >= UTILISATION_LIMIT:
        found.append(f"the instance is {utilisation:.0%} busy, and shards pay below {UTILISATION_LIMIT:.0%}")
    elif utilisation * work >= 1:
        found.append(f"the instance is {utilisation:.0%} busy, and {work:.2f} times the work is more than it has")
    return found


def advice(row: Sharding) -> str:
    """Return what may be said of a number of shards, in one sentence with its figures."""
    if row.shards == 1:
        return f"whole: {row.p50_us / 1000:.3g} ms"
    price = f"{row.latency_won:.2g} times as fast for {row.capacity_lost:.0%} less capacity"
    if row.refusals:
        return f"not recommended: {'; '.join(row.refusals)}"
    if row.latency_won < WORTH:
        return f"not worth it: {price}"
    limit = f"as long as whole requests keep the instance less than {row.most_utilised:.0%} busy"
    kept = f"each shard has to keep the objective at p{100 * row.shard_percentile:.2f}"
    late = f" (they do not: p99 is over the {row.late_us / 1000:g} ms of a request)" if row.late_us else ""
    return f"{price}, {limit}; {kept}{late}"


def recommended(rows: Sequence[Sharding]) -> Sharding | None:
    """Return the fastest way that is not refused and worth it, None where requests had better stay whole.

    One that keeps the objective comes before a faster one that does not.
    """
    able = [row for row in rows if row.shards > 1 and not row.refusals and row.latency_won >= WORTH]
    return min(able, key=lambda row: (bool(row.late_us), row.p50_us, row.shards), default=None)


def conclusion(rows: Sequence[Sharding]) -> str:
    """Return the advice on the whole, in one sentence."""
    best = recommended(rows)
    if best:
        return f"cut requests into {best.shards} shards of {best.items} items: {advice(best)}"
    reasons = [reason for row in rows for reason in row.refusals]
    return f"leave requests whole: {reasons[0]}" if reasons else "leave requests whole: shards win too little"


def to_json(row: Sharding, capacity_items_per_s: float | None = None) -> dict[str, Any]:
    """Return a row as it stands in a document."""
    keys = ("shards", "items", "p50_us", "p99_us", "latency_won", "capacity_lost")
    shown = {key: getattr(row, key) for key in keys}
    return {**shown, "capacity_items_per_s": capacity_items_per_s, "advice": advice(row)}
