# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Instances to tune, on simulated servers, and the runs of a search."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import machines
import planner_cases
from ansible_collections.tfserving.fleet.plugins.plugin_utils.tuning import physics, queueing, seeds, service_time
from ansible_collections.tfserving.fleet.plugins.plugin_utils.tuning.physics import Site
from ansible_collections.tfserving.fleet.plugins.plugin_utils.tuning.search import Options, Search
from ansible_collections.tfserving.fleet.plugins.plugin_utils.tuning.service_time import Curve, Point
from ansible_collections.tfserving.fleet.plugins.plugin_utils.tuning.space import Context
from ansible_collections.tfserving.fleet.plugins.plugin_utils.tuning.trial import Compared, Measured, Outcome, Trial
from batch_server import BatchServer

# One core for the system, four for the instance.
HOST = machines.topology(sockets=1, cores=5, smt=1)

# Batches pay, up to a point; batches do not pay; a high fixed cost, as of a GPU; the same where requests are read by a
# thread beside it, which no time of a call shows.
PAYS = BatchServer(4000, 400, 100_000, host_noise=0.01)
DOES_NOT_PAY = BatchServer(50, 2500, 50_000, host_noise=0.01)
FIXED_COST = BatchServer(20_000, 250, 150_000, host_noise=0.01)
READING = BatchServer(9000, 20, 50_000, host_noise=0.01, reading_us=400)

LONG = Options(budget_s=7200)


def context(slo_ms: float = 50, machine: Any = HOST, **keys: Any) -> Context:
    """Return the context of the only instance of a host."""
    instances = [planner_cases.instance(slo_p99_ms=slo_ms, **keys)]
    return Context(machine, instances, [planner_cases.model()], {}, planner_cases.KEY, "ranker")


def curve(fixed_us: float = 2000, item_us: float = 100) -> Curve:
    """Return a curve without noise."""
    return service_time.fit([Point(size, fixed_us + item_us * size) for size in (1, 2, 4, 8, 16)])


def site(slo_ms: float = 50, fixed_us: float = 2000, item_us: float = 100, **keys: Any) -> Site:
    """Return an instance whose calls take a known time."""
    return physics.survey(context(slo_ms, **keys), curve(fixed_us, item_us), queueing.Load(slo_ms * 1000))


def site_of(server: BatchServer) -> Site:
    """Return an instance on a simulated server, as measured there."""
    load = queueing.Load(server.slo_us, overhead_us=server.network_us)
    return physics.survey(context(server.slo_us / 1000), service_time.fit(server.points()), load)


def run(search: Search, measure: Callable[[Trial], Outcome]) -> Search:
    """Run a search to its end."""
    while (trial := search.next()) is not None:
        search.tell(trial, measure(trial))
    return search


def searched(place: Site, measure: Callable[[Trial], Outcome], options: Options = LONG, **keys: Any) -> Search:
    """Return a search that has come to its end."""
    return run(Search(place, seeds.seeds(place), options, **keys), measure)


def searched_on(server: BatchServer, options: Options = LONG, run: int = 0) -> Search:
    """Return a search on a simulated server that has come to its end."""
    place = site_of(server)
    search = Search(place, seeds.seeds(place), options)
    while (trial := search.next()) is not None:
        is_last, left_s = trial.rung == "turns", search.left_for(trial.rung)
        search.tell(trial, server.turns(trial, place.planned, run) if is_last else server.measure(trial, run, left_s))
    return search


def measured(rate: float, slo_us: float = 50_000, seconds: float = 30, spread: float = 0.02) -> Measured:
    """Return a knee."""
    return Measured(rate, rate * (1 - spread), rate * (1 + spread), 0.8 * slo_us, 0.9 * slo_us, seconds)


def turned(trial: Trial, verdict: str = "better", keeps: bool = True, seconds: float = 320) -> Compared:
    """Return a comparison in turns with the plan."""
    figures = {"p99_ratio": None, "p50_ratio": None, "throughput_ratio": None, "smallest_detectable": 0.05}
    found = {**figures, "errors_difference": None, "verdict": verdict, "reason": "as the test has it"}
    return Compared(trial.start_rate, 4, trial.stage_s, 52_000, 40_000, keeps, found, seconds)


def as_predicted(place: Site, noise: float = 0.0, speed: Callable[[int], float] = lambda _: 1.0) -> Any:
    """Return a measurement that finds what the model predicts, with noise, on a host of changing speed."""

    def measure(trial: Trial) -> Outcome:
        if trial.rung == "turns":
            more = place.predicted(trial.setting) / place.predicted(place.planned)
            return turned(trial, "better" if more > 1.01 else "worse" if more < 0.99 else "no difference")
        error = random.Random(trial.number).uniform(1 - noise, 1 + noise)
        rate = place.predicted(trial.setting) * error * speed(trial.number)
        return measured(rate, place.load.slo_us, 4 * trial.stage_s)

    return measure
