# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Batches over load: how they grow by themselves with timeout 0, beside a fixed timeout and no batches at all.

Three reference servers with the real TensorFlow runtime on one CPU of this machine, which get each load in turns; the
load generator has the other CPUs. The mean batch is what the servers count.
"""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

from support import figures, local_load, local_server
from support.local_load import part

TAKES = "7 minutes"
# Loads as shares of what one request after another makes of a server: from mostly idle to beyond what a server without
# batches carries. A call of simulated_device costs the same however large the batch, so it is driven higher.
LOADS = {"dense": (0.2, 0.5, 0.9, 1.4, 2.0), "simulated_device": (0.5, 0.9, 2.0, 5.0, 9.0)}
TIMEOUT_US = 5000  # a tenth of the objective, the longest that the planner gives
# Larger than any batch here gets: what ends a batch is to be the load or the timeout.
LARGEST = 64
STAGE_S = 10.0
# p99 takes 459 requests; Poisson arrivals fall short of their mean by a tenth at the most.
REQUESTS = 520
WARMUP_S = 1
# What the batcher counts for each batch that it has run: its rows with those that pad it, and these alone.
ROWS, RUNS, PADDING = COUNTED = "processed_batch_size_sum", "processed_batch_size_count", "padding_size_sum"
# Less than this answered of what was offered: the rate is beyond the server (measure/validity.py).
ANSWERED = 0.99


class Point(NamedTuple):
    """A load on one server. `batch` is its mean number of rows, None where it forms none; times in ms."""

    rate: float
    batch: float | None
    p50: float
    p99: Any | None
    """Its interval (measure.statistics), None where it is withheld."""
    overloaded: bool
    invalid: str


class Side:
    """One of the servers, and what was measured of it so far."""

    def __init__(self, title: str, server: local_server.LocalServer, load: Any, batched: bool) -> None:
        self.title, self.load, self.points = title, load, list[Point]()
        self._server, self._batched = server, batched

    @property
    def overloaded(self) -> bool:
        """Whether the last load was too much; more would only measure a queue that grows."""
        return bool(self.points) and self.points[-1].overloaded

    def measure(self, rate: float) -> None:
        before = self._server.sums(*COUNTED)
        seconds = max(STAGE_S, math.ceil(REQUESTS / rate))
        judged = self.load.stage(self.title, rate, seconds, lambda: seconds)
        batch = mean_batch(before, self._server.sums(*COUNTED)) if self._batched else None
        self.points.append(point(rate, batch, judged))
        if self.overloaded:
            self._server.stop()  # its queue would take the CPU of the next one


def mean_batch(before: dict[str, float], after: dict[str, float]) -> float | None:
    """Rows of a batch between two readings, without those that pad it; the page shows six digits of a sum."""
    rows, runs, padding = (after[name] - before[name] for name in COUNTED)
    return (rows - padding) / runs if runs else None


def point(rate: float, batch: float | None, judged: Any) -> Point:
    result, outcome = judged.entry["result"], judged.outcome
    p50 = judged.histogram.quantile(0.5) / 1000 if judged.histogram.total else 0.0
    # Where the usual request misses what only one in a hundred may, what is measured is a queue.
    overloaded = result["ok"] < ANSWERED * result["offered"] or bool(result["errors"]) or p50 > local_load.SLO_MS
    return Point(
        rate,
        batch,
        p50,
        judged.percentiles.found.get("p99"),
        overloaded,
        outcome.why if outcome.verdict == "invalid" else "",
    )


def main() -> int:
    options = local_load.arguments(__doc__, LOADS).parse_args()
    local_load.importable()
    print(figures.machine(), flush=True)
    print(figures.takes(TAKES), flush=True)
    with local_load.team() as team:
        for model in options.model or LOADS:
            print(report(model, measured(model, team)), flush=True)
    return 0


def measured(model: str, team: Any) -> list[Side]:
    """The three servers, after each of the loads on each of them; every other round begins with the last."""
    with ExitStack() as stack:
        sides = []
        for title, plan in settings(local_load.context(model)).items():
            server = stack.enter_context(local_load.serving(model, plan))
            asked = local_load.asked(model, warmup=WARMUP_S)
            load = local_load.load(asked, local_load.target(model, server), team)
            sides.append(Side(title, server, load, plan["batching"] is not None))
        alone = 1 / sides[-1].load.first_latency_s()
        for number, share in enumerate(LOADS[model]):
            for side in sides[:: -1 if number % 2 else 1]:
                if not side.overloaded:
                    side.measure(share * alone)
        return sides


def settings(context: Any) -> dict[str, Any]:
    """The plans by title; all alike but for their batches."""
    planned = part("plugin_utils.tuning.space").of_plan(context.planned())
    grown = planned.with_batches(max_batch_size=LARGEST)
    found = {
        "timeout 0": grown,
        f"timeout {TIMEOUT_US / 1000:g} ms": grown.with_batches(batch_timeout_micros=TIMEOUT_US),
        "no batches": dataclasses.replace(planned, batches=None),
    }
    return {title: context.plan_of(setting) for title, setting in found.items()}


def report(model: str, sides: Sequence[Side]) -> str:
    title = (
        f"{model}: mean batch in rows, p50, and p99 with its interval, in ms, by requests a second (Poisson, REST); "
        f"batches of up to {LARGEST}, one batch thread"
    )
    rates = [point.rate for point in max((side.points for side in sides), key=len)]
    rows = [(f"{rate:.0f}", *(cell(side, number) for side in sides)) for number, rate in enumerate(rates)]
    table = figures.table(title, ("requests/s", *(side.title for side in sides)), rows)
    why = [point.invalid for side in sides for point in side.points if point.invalid]
    count = sum(len(side.points) for side in sides)
    return "\n".join([table, *([f"INVALID: {len(why)} of {count} stages, the first because {why[0]}"] if why else [])])


def cell(side: Side, number: int) -> str:
    if number >= len(side.points) or side.points[number].overloaded:
        return "overloaded"
    found = side.points[number]
    batch = f"{found.batch:.1f}; " if found.batch else ""
    return f"{batch}{found.p50:.1f}; {_p99(found.p99)}"


def _p99(found: Any | None) -> str:
    if found is None:
        return "withheld"
    high = f"{found.high / 1000:.0f}" if found.high else "?"
    return f"{found.us / 1000:.1f} ({found.low / 1000:.0f}-{high})"


if __name__ == "__main__":
    sys.exit(main())
