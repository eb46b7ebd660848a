# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What of an earlier run is repeated for a comparison: its stages at one rate, and as many seconds of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.load.tally import MOST_STEPS

from ..measure.interleave import LEAST_S, SHORTEST
from .document import Document
from .options import Options

# Beyond it the load generator counts in steps of 2, 4, ... seconds, warm-up included, and a comparison takes seconds.
LONGEST_S = MOST_STEPS


class Repeat(NamedTuple):
    """The rate (requests/s) and the seconds of the stage that is set against an earlier run."""

    rate: float
    seconds: float


def stages(before: Document) -> list[Mapping[str, Any]]:
    """Return the valid stages of a run at its rate, or at its knee. Raises WishError where there is none."""
    able = [
        each
        for each in before["stages"]
        if each["name"].startswith(("fixed", "confirm")) and each["result"] and each["verdict"] != "invalid"
    ]
    if not able:
        problem = "holds no valid stage to compare with"
        raise WishError("against", problem, "give a run with a knee or at one rate")
    knee = before["knee"]
    rate = knee["rate"] if knee else able[-1]["rate"]
    found: list[Mapping[str, Any]] = [each for each in able if math.isclose(each["rate"], rate)]
    return found or [able[-1]]


def whole_blocks_s(compared: Sequence[Mapping[str, Any]]) -> float:
    """Return the seconds of stages that make whole blocks of a comparison."""
    return float(sum(each["result"]["duration_s"] // SHORTEST * SHORTEST for each in compared))


def repeat(asked: Options, before: Document) -> Repeat:
    """Return what to send for a comparison. Raises WishError where a side is too short for one, or too long."""
    compared = stages(before)
    _require_seconds(compared)
    known_s = whole_blocks_s(compared)
    most_s = (LONGEST_S - math.ceil(asked.warmup_s)) // SHORTEST * SHORTEST
    if known_s < LEAST_S:
        problem = f"has {known_s:g} s to compare with, and a comparison takes {LEAST_S} s of each side"
        raise WishError("against", problem, f"measure it again with a duration of {LEAST_S}s or longer")
    if asked.duration_s is not None and asked.duration_s < LEAST_S:
        problem = f"is {asked.duration_s:g} s, and a comparison takes {LEAST_S} s of each side"
        raise WishError("duration", problem, "give a longer one, or none for as long as the earlier run")
    if asked.duration_s is not None and asked.duration_s > most_s:
        problem = f"is {asked.duration_s:g} s, and a run is compared second by second, which are kept for an hour"
        raise WishError("duration", problem, f"give {most_s}s or less")
    return Repeat(asked.rate or compared[0]["rate"], asked.duration_s or min(known_s, most_s))


def _require_seconds(compared: Sequence[Mapping[str, Any]]) -> None:
    """Refuse a run that lasted so long that its series has coarser steps."""
    step_s = max(each["result"].get("step_s", 1) for each in compared)
    if step_s > 1:
        problem = f"has steps of {step_s} s, since it lasted over an hour, and a comparison takes seconds"
        raise WishError("against", problem, "measure it again for less than an hour")
