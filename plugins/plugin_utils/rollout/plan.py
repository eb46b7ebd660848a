# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a roll-out will take, told before it begins: calls and minutes of each step, and what cannot be promised.

The figures are those of tests of a fixed size, which the sequential tests of a verdict undercut where a version is
clearly bad or clearly good.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

from ..measure.statistics import binomial
from . import dead, steps, tail
from .sequential import Arm, weight
from .verdict import Rules

# What the tables of docs/rollout-statistics.md are for.
ALPHA, POWER = 0.01, 0.9
# The rate of errors of a service in order, for the estimate.
USUAL = 0.001


@dataclass(frozen=True)
class Estimate:
    """What one step takes."""

    percent: int
    calls: int
    """Calls of each arm."""
    seconds: float | None
    """The time that they take, None without traffic."""
    sentence: str


def fixed_size(usual: float, worse: float, alpha: float = ALPHA, power: float = POWER) -> int:
    """Return the calls of each arm with which a rate of ``worse`` is told from ``usual`` (two shares, one-sided)."""
    at_alpha, at_power = NormalDist().inv_cdf(1 - alpha), NormalDist().inv_cdf(power)
    middle = (usual + worse) / 2
    spread = at_alpha * math.sqrt(2 * middle * (1 - middle)) + at_power * math.sqrt(
        usual * (1 - usual) + worse * (1 - worse)
    )
    return math.ceil((spread / (worse - usual)) ** 2)


def clean_calls(rules: Rules) -> int:
    """Return the calls without a single error after which a step may pass."""
    limits = dead.limits(rules.ceiling)
    needed = math.ceil(math.log(dead.RISK) / limits.score(Arm(1, 0)))
    return max(rules.min_samples, needed)


def estimates(wish: Mapping[str, Any], rules: Rules, rate: float) -> list[Estimate]:
    """Return what each step takes at a rate of calls a second of the whole model, with a sentence for people."""
    return [_estimate(percent, rules, rate) for percent in wish["steps"]]


def _estimate(percent: int, rules: Rules, rate: float) -> Estimate:
    calls = clean_calls(rules)
    least = rules.min_healthy_s + rules.interval_s
    if rate <= 0:
        return Estimate(percent, calls, None, f"{percent} %: {calls:,} calls; without traffic it never passes")
    mine = rate * percent / 100
    seconds = max(calls / mine + rules.min_healthy_s, least)
    pace = f"{mine:,.0f}" if mine >= 10 else f"{mine:.2g}"
    told = f"{percent} %: {calls:,} calls at {pace} a second, {minutes(seconds)} at least"
    if seconds > rules.deadline_s:
        told += (
            f", longer than progress_deadline ({minutes(rules.deadline_s)}), so it would end without a verdict; raise"
            " that, or begin with a larger step"
        )
    return Estimate(percent, calls, seconds, told)


def fewest_looks(rules: Rules, percent: int) -> int:
    """Return after how many looks a version is found of which every call fails, while the control has no error."""
    given, test = steps.shares(percent), rules.tests["errors"]
    return math.ceil(test.worse_at / weight(Arm(given.canary, 1), Arm(given.control, 0), test))


def limits(wish: Mapping[str, Any], rules: Rules) -> list[str]:
    """Return in words what the verdict of a step can and cannot show with the calls that it takes at least."""
    calls = clean_calls(rules)
    ratio = wish["error_ratio"]
    found = [
        f"no error in {calls:,} calls shows no more than a rate below {3 / calls:.2%}",
        f"{ratio:g} times as many errors as {USUAL:.1%} show with {fixed_size(USUAL, min(USUAL * ratio, 0.99)):,} calls"
        f" of each arm, twice as many only with {fixed_size(USUAL, 2 * USUAL):,}: a doubling is not promised",
    ]
    if wish["steps"][0] < 100:
        looks = fewest_looks(rules, wish["steps"][0])
        found.append(f"a version of which every call fails is found after {looks} looks in which the canary was called")
    if rules.edge_s:
        found.append(
            f"{tail.threshold(calls)} of {calls:,} calls beyond a p99 are more than chance; a doubled share of slow"
            f" calls is seen in {tail.power(calls, 2):.0%} of such steps, a tripled one in {tail.power(calls, 3):.0%}"
        )
    if [each for each in wish["steps"] if each < 100] and not _has_equal_arms(wish):
        found.append("a step above 50 % leaves the control less than the canary, so it takes more calls")
    if wish["steps"][0] == 100:
        found.append("a single step of 100 % leaves nothing to compare with: only a dead version is noticed")
    return found


def _has_equal_arms(wish: Mapping[str, Any]) -> bool:
    shared = [steps.shares(each) for each in wish["steps"] if each < 100]
    return all(each.canary == each.control for each in shared)


def share_bounds(calls: int, permille: int, risk: float = 0.001) -> tuple[int, int]:
    """Return the least and the most calls that a share of the traffic gets but for a small risk, half on each side.

    A share is drawn call by call: of 1,000 calls 250 permille get 206 to 296, and 10 permille get 2 to 22.
    """
    if permille in (0, steps.WHOLE):
        exact = calls * permille // steps.WHOLE
        return exact, exact
    first, below = binomial(calls, permille / steps.WHOLE)
    least = first + sum(1 for part in below if part <= risk / 2)
    most = first + next(place for place, part in enumerate(below) if part >= 1 - risk / 2)
    return least, most


def minutes(seconds: float) -> str:
    """Return a duration as people say it: ``45 s``, ``12 min``, ``3.5 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
