# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The wish `rollout` of a model: in which steps a new version gets traffic, and what decides about each of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils import scalars
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError, described, kind, nearest

from . import checks as fields

# What may be judged, in the order in which it is reported; plugin_utils/rollout/verdict.py says how.
GATES = ("restarts", "errors", "slow", "golden")
WEIGHTS = ("critical", "dry_run")

_DURATION = re.compile(r"(0|[1-9][0-9]{0,8})(\.[0-9]{1,6})?(ms|s|m|h)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
# A roll-out that takes longer than a week is no longer watched by the one who began it.
LONGEST_S = 7 * 86_400.0

DEFAULTS: dict[str, Any] = {
    # The first step bounds the harm of a dead version to 1 %; from 25 % on, what only shows under load shows.
    "steps": [1, 5, 25, 50, 100],
    # As Flagger's interval: the least time of a step, which covers jobs that run once a minute.
    "interval": 60.0,
    # 509 calls without an error show that fewer than 1 % fail (error_ceiling); 500 is the round number below.
    "min_samples": 500,
    # Calls of a server that has just loaded are slow: caches, lazily made kernels, the first batches.
    "min_healthy_time": 30.0,
    # Nomad's default. How long the version may take to load follows from its size (start_timeout_s of the plan).
    "progress_deadline": 600.0,
    # A smaller ratio takes many more calls than most models get in an hour (docs/rollout-statistics.md).
    "error_ratio": 4,
    "error_ceiling": 0.01,
    "slow_share_over": None,
    "auto_revert": True,
    "auto_promote": True,
    "on_inconclusive": "hold",
    "baseline": "control",
    "gates": dict.fromkeys(GATES, "critical"),
    "canary": 1,
    "retry": False,
}


def duration(least_s: float, most_s: float) -> fields.Check:
    """Return a check for a duration such as 100ms, 60s, 5m or 1h within bounds; it returns seconds."""

    def check(path: str, value: Any) -> float:
        found = _DURATION.fullmatch(value) if isinstance(value, str) else None
        if not found:
            raise WishError(path, f"is {described(value)}", "give a number with its unit: 100ms, 60s, 5m or 1h")
        whole, part, unit = found.groups()
        seconds = round(float(whole + (part or "")) * _SECONDS[unit], 9)
        if not least_s <= seconds <= most_s:
            remedy = f"give {_written(least_s)} to {_written(most_s)}"
            raise WishError(path, f"is {described(value)}", remedy)
        return seconds

    return check


def _written(seconds: float) -> str:
    unit = next((unit for unit in ("h", "m", "s") if seconds >= _SECONDS[unit]), "ms" if seconds else "s")
    return f"{seconds / _SECONDS[unit]:.12g}{unit}"


_percent = fields.whole(1, 100, "a whole percentage of the traffic")


def steps(path: str, value: Any) -> list[int]:
    """Check the shares of traffic, in percent, that a new version gets one after another."""
    found: list[int] = fields.distinct(path, value, _percent)
    for at, (before, after) in enumerate(zip(found, found[1:]), start=1):
        if after < before:
            raise WishError(f"{path}[{at}]", f"falls from {before} to {after}", "let each step be larger than the last")
    if found[-1] != 100:
        raise WishError(path, f"ends at {found[-1]}", "end with 100, which is the whole traffic")
    return found


def gates(path: str, value: Any) -> dict[str, str]:
    """Check what is judged, and whether it decides (critical) or is only reported (dry_run)."""
    given = fields.fields(path, value, "gates", dict.fromkeys(GATES, fields.one_of(*WEIGHTS)))
    return {**dict.fromkeys(GATES, "critical"), **given}


def canary(path: str, value: Any) -> int | list[str]:
    """Check the hosts that get the new version first: how many at least, or their names."""
    number = scalars.decimal(value)
    if scalars.is_whole(number):
        return int(fields.whole(1, fields.MOST_ENTRIES, "a count of hosts, or their names")(path, number))
    if isinstance(value, (list, tuple)):
        return fields.distinct(path, value, scalars.one_line)
    raise WishError(path, f"is {kind(value)}", "give a count of hosts, or a list of their names")


def _baseline(path: str, value: Any) -> str:
    if value == "control":
        return "control"
    remedy = nearest(value, ["control"]) or "leave it out: the only baseline is control, hosts of the old version"
    raise WishError(path, f"is {described(value)}", remedy)


FIELDS: dict[str, fields.Check] = {
    "steps": steps,
    "interval": duration(1, LONGEST_S),
    "min_samples": fields.count("a count of calls"),
    "min_healthy_time": duration(0, 86_400),
    "progress_deadline": duration(1, LONGEST_S),
    # Below 1.5, a test takes tens of thousands of errors.
    "error_ratio": fields.within(1.5, 1000, "how many times as many errors are too many, a number"),
    "error_ceiling": fields.within(0.0001, 0.5, "a share of the calls, 0.01 for 1 %,"),
    "slow_share_over": duration(0.001, 3600),
    "auto_revert": scalars.boolean,
    "auto_promote": scalars.boolean,
    "on_inconclusive": fields.one_of("hold", "revert", "promote"),
    "baseline": _baseline,
    "gates": gates,
    "canary": canary,
    "retry": scalars.boolean,
}


def rollout(path: str, value: Any) -> dict[str, Any]:
    """Check the wish and return it with every default filled in; durations in seconds."""
    found = {**fields.plain(DEFAULTS), **fields.fields(path, value, "a roll-out", FIELDS)}
    _refuse_deadlines(path, found)
    return found


def _refuse_deadlines(path: str, found: Mapping[str, Any]) -> None:
    """Refuse a step whose deadline comes before the end of what it has to wait for anyway."""
    least = found["min_healthy_time"] + found["interval"]
    if least > found["progress_deadline"]:
        problem = (
            f"is {_written(found['progress_deadline'])}, and min_healthy_time and interval take"
            f" {_written(least)} together"
        )
        raise WishError(f"{path}.progress_deadline", problem, f"set it to {_written(least)} or more")
