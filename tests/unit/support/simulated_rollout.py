# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Roll-outs in simulated time: calls that fail or are slow at given rates, polled and judged as in a real one."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.tfserving.fleet.plugins.plugin_utils.rollout import steps, verdict
from ansible_collections.tfserving.fleet.plugins.plugin_utils.rollout.samples import Counts, Delta
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes.rollout import rollout
from simulated_queue import AT_LENGTH

# `make test-long` makes all runs of the figures, else a sample is made, of the same seeds.
RUNS = 1000 if AT_LENGTH else 60
POLL_S = 5.0


@dataclass(frozen=True)
class Rates:
    """The shares of an arm's calls that fail, and that are slow."""

    errors: float
    slow: float = 0.0


def wish(**changes: Any) -> dict[str, Any]:
    """Return a wish with its defaults filled in."""
    return rollout("rollout", changes)


def happens(draw: random.Random, calls: int, rate: float) -> int:
    """Return how many of the calls something happens to: binomial, in steps from one event to the next."""
    if not 0 < rate < 1:
        return calls if rate >= 1 else 0
    log, scale, found, at = math.log, math.log(1 - rate), 0, -1
    while True:
        at += 1 + int(log(1 - draw.random()) / scale)
        if at >= calls:
            return found
        found += 1


def counts(draw: random.Random, calls: int, rates: Rates) -> Counts:
    """Return the counts of one arm between two polls."""
    return Counts(calls, happens(draw, calls, rates.errors), happens(draw, calls, rates.slow))


def step(
    draw: random.Random,
    evidence: verdict.Evidence,
    rules: verdict.Rules,
    rate: Mapping[str, float],
    arms: Mapping[str, Rates],
    most_calls: int,
) -> Iterator[tuple[verdict.Evidence, verdict.Verdict]]:
    """Yield the evidence and the verdict of each poll.

    It ends when the canary has got so many calls and the deadline is over.
    """
    now = begin = evidence.since
    while evidence.of("errors").canary.calls < most_calls or now < begin + rules.deadline_s:
        now += POLL_S
        # Which call reaches which arm is by chance, so that the counts of both vary.
        calls = {arm: max(round(draw.gauss(rate[arm] * POLL_S, math.sqrt(rate[arm] * POLL_S))), 0) for arm in arms}
        delta = Delta(*(counts(draw, calls[arm], arms[arm]) for arm in ("canary", "control")))
        evidence = verdict.look(evidence, delta, rules, now)
        yield evidence, verdict.judge(evidence, rules, now)


def whole(seed: str, wished: Mapping[str, Any], rate: float, arms: Mapping[str, Rates], most_calls: int = 5000) -> str:
    """Return how a whole roll-out ends: ``pass``, or the step, the outcome and the sentence of where it did not.

    :param rate: calls a second of the whole model.
    :param most_calls: of the canary in one step; where traffic is little, its progress_deadline is that much longer.
    """
    draw, rules = random.Random(seed), verdict.rules(wished)
    evidence = verdict.Evidence(0.0)
    for percent in wished["steps"]:
        shares = steps.shares(percent)
        evidence = verdict.next_step(evidence, 0.0, shares.control > 0)
        each = {"canary": rate * shares.canary / 1000, "control": rate * shares.control / 1000}
        last = verdict.Verdict("inconclusive", "nothing was looked at")
        for seen, verdict_now in step(draw, evidence, rules, each, arms, most_calls):
            evidence, last = seen, verdict_now
            if last.outcome != "inconclusive" or last.is_urgent:
                break
        if last.outcome != "pass":
            return f"{percent} %: {last.outcome}: {last.sentence}"
    return "pass"


def share(found: Sequence[str], words: str) -> float:
    """Return the share of ends that hold some words."""
    return sum(words in each for each in found) / len(found)
