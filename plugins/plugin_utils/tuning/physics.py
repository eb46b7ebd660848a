# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The rules by which the parts of a setting belong together, and the knee that a setting should have."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError

from ..planner.threads import MOST_REQUEST_THREADS
from . import queueing, space
from .queueing import Load
from .service_time import Curve
from .space import Batches, Context, Machine, Setting

# A request waits for the batch that runs, then for its own (Nexus, SOSP 2019): both must fit in the objective.
BATCHES_TO_WAIT_FOR = 2
# Beyond this a batch is no longer an answer to a latency objective.
LARGEST_BATCH = 4096
# The longest queue that is of any use, as in planner/batching.py.
LONGEST_QUEUE = 1000
# What a prediction is good for. A knee that misses its own by more shows something that the curve does not know.
GOOD = 0.15
# How often the curve is brought nearer to a measured knee: each round leaves a fraction of what was missing.
ROUNDS = 4


@dataclass(frozen=True)
class Site:
    """What is known of an instance before settings are compared."""

    context: Context
    machine: Machine
    curve: Curve
    load: Load
    planned: Setting
    """The plan as the inventory has it."""
    single: Setting
    """The same without batches."""

    def predicted(self, setting: Setting) -> float:
        """Return the knee to expect of a setting, in requests a second."""
        return queueing.knee(setting, self.machine, self.curve, self.load)

    def legal(self, setting: Setting) -> Setting | WishError:
        """Return the setting as the planner has it, or its refusal."""
        try:
            return self.context.canonical(setting)
        except WishError as error:
            return error


def survey(context: Context, curve: Curve, load: Load) -> Site:
    """Return the site of an instance; raise WishError if its inventory cannot be planned."""
    plan = context.planned()
    planned = space.of_plan(plan)
    single = context.canonical(dataclasses.replace(planned, batches=None))
    return Site(context, space.machine(plan), curve, load, planned, single)


def calibrated(site: Site, single: float, batched: Mapping[Setting, float]) -> Site:
    """Return the site with the curve of a server at work, of which knees without batches and with some are known.

    Calls are timed one by one on a server that is mostly idle. At work it may be faster (in the lab a call of `dense`
    took half as long): that is what the knee without batches tells. One that is slower than timed is left to be scaled,
    because longer calls might not fit in the objective at all. And what a server does for each request, such as reading
    it, is part of the fixed cost of a call of one request, but no batch shares it; of this the knees of batches tell.
    Where a prediction was good or too low, nothing changes.

    :param single: requests a second; 0 where it is not known.
    """
    site = _at_work(site, single)
    scale = site.predicted(site.single) / single if single else 1.0
    for setting, rate in batched.items():
        site = _with_own_cost(site, setting, rate * scale)
    return site


def _at_work(site: Site, single: float) -> Site:
    for _ in range(ROUNDS):
        expected = site.predicted(site.single)
        if not expected or single <= expected * (1 + GOOD):
            break
        share = expected / single
        site = _with_curve(site, site.curve.a * share, site.curve.c * share)
    return site


def _with_own_cost(site: Site, setting: Setting, rate: float) -> Site:
    for _ in range(ROUNDS):
        model, expected = queueing.server(setting, site.machine, site.curve, site.load), site.predicted(setting)
        if not rate or model.batch < 2 or expected <= rate * (1 + GOOD):
            break
        missing = model.us(model.batch) * (expected / rate - 1)
        own = min(missing / (model.batch - 1), site.curve.a)
        site = _with_curve(site, site.curve.a - own, site.curve.c + own / site.load.items)
    return site


def _with_curve(site: Site, a: float, c: float) -> Site:
    return dataclasses.replace(site, curve=dataclasses.replace(site.curve, a=a, c=c))


def fits(site: Site, size: int, timeout_us: float, runs: int = 1) -> bool:
    """Return whether the objective has room for a wait and for full batches of a size, one after another.

    Nor may a batch need more callers than request threads can hold: one batch runs while the next one forms.
    """
    callers = 2 * size / site.load.items
    busy = timeout_us + runs * site.curve.us(size)
    return busy + site.load.overhead_us <= site.load.slo_us and callers <= MOST_REQUEST_THREADS


def sizes(site: Site, timeout_us: float = 0, runs: int = BATCHES_TO_WAIT_FOR) -> list[int]:
    """Return the batch sizes to choose from: powers of two from two requests on that fit the objective.

    One run instead of two permits sizes that batches only reach for a moment.
    """
    least = math.ceil(math.log2(max(2.0, 2 * site.load.items)))
    powers = range(least, int(math.log2(LARGEST_BATCH)) + 1)
    return [2**power for power in powers if fits(site, 2**power, timeout_us, runs)]


def shaped(site: Site, size: int, timeout_us: int, threads: int, room: float = 1.0) -> Setting:
    """Return a setting with these batches, and the queue and the request threads that they need.

    The queue holds what the objective has time for: waiting batches * S(size) / threads within what the timeout and
    the batch's own run leave of it; ``room`` takes more or less. It is rounded up, since a refusal is an error, and a
    late answer only one of the hundredth that p99 leaves out. A request thread blocks while its batch forms, so
    fewer threads than two batches (and than the batches that run) would cap the batch.
    """
    batches = Batches(size, timeout_us, threads, 1)
    running = site.machine.servers(dataclasses.replace(site.planned, batches=batches), site.load.busy_cpus)
    run = site.curve.us(size)
    left = max(0.0, site.load.slo_us - site.load.overhead_us - timeout_us - run)
    # One batch waits while the next one forms, which counts as waiting too.
    waiting = max(2.0, min(LONGEST_QUEUE / 2, room * left * running / run))
    # A power of two: the estimate is no finer than that, and equal settings are measured once.
    queue = 2 ** math.ceil(math.log2(waiting))
    full = math.ceil(size / site.load.items)
    callers = min(MOST_REQUEST_THREADS, max(2, threads + 1) * full) + 1
    return dataclasses.replace(
        site.planned,
        batches=dataclasses.replace(batches, max_enqueued_batches=queue),
        grpc=max(site.planned.grpc, callers),
        rest=max(site.planned.rest, callers),
    )
