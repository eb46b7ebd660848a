# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""One large request in 1, 2, 4 ... shards that are sent at once: its latency in each way, and what each way costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, cast

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError

from ..measure import shards
from ..measure.knee import BETWEEN_S
from ..phrases import counted
from .bodies import Request
from .load import FIRST_RATE, FIRST_S, Judged, Load, failures
from .options import Options
from .requests import scaled

# Runs a stage: its name, rate (requests/s), seconds, seconds that are left in all, and its requests.
Stage = Callable[[str, float, float, Callable[[], float], Sequence[Request]], Judged]

# Beyond this many shards the slowest of them is what a request waits for.
USUAL_COUNTS = (2, 4, 8, 16)
# A call for less than this is mostly overhead.
LEAST_SHARD = 8
# The instance is mostly idle, since nobody else's queue is to be measured: a twentieth of what one call after another
# would make, for as long as 459 requests take, within bounds.
IDLE = 0.05
LEAST_RATE = 0.5
REQUESTS = 600
SHORTEST_S, LONGEST_S = 20.0, 120.0
# A shard alone takes the median of this many seconds of calls, 100 of them, which lies between their 40th and 60th
# percentile in 95 of 100 cases; with 20 calls, between the 28th and the 72nd.
ALONE_S = 20.0
# How the names of the stages end that measure one shard; they are too short to be judged.
ALONE = " alone"


class Sharding:
    """Measures the whole request and its shards one after another, all at one rate."""

    def __init__(self, load: Load, stage: Stage) -> None:
        self._load, self._stage = load, stage
        self._items = max(each["items"] for each in load.requests)

    def run(self) -> tuple[list[dict[str, Any]], str]:
        """Return the rows of the document, and the advice as a sentence."""
        rows, capacity = self.assessed()
        return to_json(rows, capacity), shards.conclusion(rows)

    def assessed(self) -> tuple[list[shards.Sharding], float]:
        """Return what each number of shards wins and costs, and the items a second of whole requests."""
        counts = counts_of(self._load.asked, self._items)
        rate = max(LEAST_RATE, IDLE / self._load.first_latency_s())
        seconds = min(max(REQUESTS / rate, SHORTEST_S), LONGEST_S)
        measured, calls = {}, {}
        for place, count in enumerate(counts):
            left_s = (len(counts) - place) * (seconds + self._load.asked.warmup_s)
            whole = together(self._load.requests, self._items, count)
            judged = self._stage(counted(count, "shard"), rate, seconds, partial(float, left_s), whole)
            measured[count] = latency(judged)
            size = whole[0]["items"] // count
            calls[size] = measured[1][0] if count == 1 else self._alone_us(size)
        return self._assessed(measured, calls)

    def _alone_us(self, size: int) -> float:
        """Return how long a shard takes alone, in us."""
        name = f"a shard of {size}{ALONE}"
        judged = self._stage(name, FIRST_RATE, ALONE_S, lambda: ALONE_S, scaled(self._load.requests, size))
        return latency(judged)[0]

    def _assessed(
        self, measured: Mapping[int, tuple[float, float | None]], calls: Mapping[int, float]
    ) -> tuple[list[shards.Sharding], float]:
        target, curve = self._load.target, shards.fit(calls)
        rows = shards.assess(
            self._items,
            measured,
            curve,
            slots=target["slots"],
            utilisation=self._load.asked.utilisation,
            batching=target["batched"],
            objective_us=self._load.slo_ms * 1000,
        )
        return rows, target["slots"] * self._items / curve.at(self._items) * 1e6


def to_json(rows: Sequence[shards.Sharding], capacity: float) -> list[dict[str, Any]]:
    """Return rows as they stand in a document; ``capacity`` is the items a second of whole requests."""
    return [shards.to_json(row, round(capacity / row.work, 1)) for row in rows]


def counts_of(asked: Options, items: int) -> list[int]:
    """Return the numbers of shards to try for requests of so many items. Raises WishError without anything to cut."""
    wanted = asked.shards or tuple(n for n in (1, *USUAL_COUNTS) if items // n >= LEAST_SHARD)
    found = [count for count in wanted if count <= items]
    if len(found) < 2:
        problem = f"has nothing to cut in requests of {counted(items, 'item')}"
        raise WishError("shards", problem, "send larger requests: give items, or samples")
    return found


def longest_s(asked: Options) -> float:
    """Return the seconds that it takes at most, as it does with a slow model and requests of many items."""
    count = len(asked.shards or (1, *USUAL_COUNTS))
    stages_s = [FIRST_S, *[LONGEST_S] * count, *[ALONE_S] * (count - 1)]
    return sum(stages_s) + len(stages_s) * (asked.warmup_s + BETWEEN_S)


def together(requests: Sequence[Request], items: int, count: int) -> list[Request]:
    """Return requests that are each sent as ``count`` calls at once, all of the size of the largest shard."""
    size = max(shards.even(items, count))
    cut = [{**each, "items": size * count, "copies": count} for each in scaled(requests, size)]
    return cast("list[Request]", cut)


def latency(judged: Judged) -> tuple[float, float | None]:
    """Return p50 and p99 of a stage in us; p99 is None where it is withheld. Raises WishError without any answer."""
    found = judged.histogram
    if not found.total:
        problem = f"{judged.entry['name']}: none of the requests was answered ({failures(judged.entry['result'])})"
        raise WishError("shards", problem, "look at the log of the instance")
    p99 = judged.entry["percentiles"].get("p99") or {}
    return float(found.quantile(0.5)), p99.get("us")
