# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a roll-out will take, told before it begins: calls and time of each step, and what cannot be promised."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError

from ..phrases import counted, joined
from . import dead, steps, tail, verdict
from .conduct import LOOK_S
from .sequential import Arm, weight
from .verdict import Rules

# What the tables of docs/rollout-statistics.md are for.
ALPHA, POWER = 0.01, 0.9
# The rate of errors of a service in order, for the estimate.
USUAL = 0.001


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


def needs(percents: Sequence[int], rules: Rules) -> str:
    """Return in words what each of some steps takes before it may pass: time, and calls of the arms and in all."""
    calls, shares = clean_calls(rules), [steps.shares(percent) for percent in percents]
    whose = ""
    if all(given.control for given in shares):
        whose = " of each arm" if all(given.control == given.canary for given in shares) else " of the new version"
    all_calls = [f"{math.ceil(calls * steps.WHOLE / given.canary):,}" for given in shares]
    in_all = f" ({joined(all_calls)} in all)" if whose else ""
    each = " per step" if len(percents) > 1 else ""
    return f"at least {rules.min_healthy_s + rules.interval_s:,.0f} s and {calls:,} calls{whose}{each}{in_all}"


def pace(percent: int, rules: Rules) -> str:
    """Return in words how busy a model has to be for a step to pass before its deadline."""
    calls = clean_calls(rules) * steps.WHOLE / steps.shares(percent).canary
    rate = math.ceil(calls / max(rules.deadline_s - rules.min_healthy_s, 1))
    return (
        f"{percent} % takes {counted(rate, 'call')} a second of the whole model; with fewer it ends without a verdict"
        f" at progress_deadline ({minutes(rules.deadline_s)})"
    )


def refuse_deadline(path: str, wish: Mapping[str, Any]) -> None:
    """Refuse a deadline before which not even a version of which every call fails is found. Raises WishError.

    :param path: of the wish ``rollout``.
    """
    rules = verdict.rules(wish)
    shared = [percent for percent in wish["steps"] if percent < 100]
    if not shared or rules.weights["errors"] != "critical":
        return
    slowest = max(shared, key=lambda percent: fewest_looks(rules, percent))
    looks = fewest_looks(rules, slowest)
    least = math.ceil(rules.min_healthy_s + looks * LOOK_S)
    if least > rules.deadline_s:
        raise WishError(
            f"{path}.progress_deadline",
            f"is {rules.deadline_s:,.0f} s, and at {slowest} % it takes {least:,} s to find a version of which every"
            f" call fails: min_healthy_time, and {looks} looks of {LOOK_S:.0f} s",
            f"set it to {least}s or more{', or leave that step out' if slowest > 50 else ''}",
        )


def fewest_looks(rules: Rules, percent: int) -> int:
    """Return after how many looks a version is found of which every call fails, while the control has no error."""
    given, test = steps.shares(percent), rules.tests["errors"]
    return math.ceil(test.worse_at / weight(Arm(given.canary, 1), Arm(given.control, 0), test))


def limits(wish: Mapping[str, Any], rules: Rules) -> list[str]:
    """Return in words what a step that passes with the fewest calls does and does not show."""
    calls = clean_calls(rules)
    ratio = wish["error_ratio"]
    found = [
        f"no error in {calls:,} calls shows no more than a rate below {3 / calls:.2%}",
        f"{ratio:g} times as many errors as {USUAL:.1%} take"
        f" {fixed_size(USUAL, min(USUAL * ratio, 0.99)):,} calls of each arm to show, a doubling"
        f" {fixed_size(USUAL, 2 * USUAL):,}",
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


def minutes(seconds: float) -> str:
    """Return a duration as people say it: ``45 s``, ``12 min``, ``3.5 h``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
