# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What of an earlier run is repeated for a comparison: its stages at one rate, and as many seconds of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError

from ..measure.interleave import LEAST_S, SHORTEST
from .document import Document
from .options import Options


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
    """Return what to send for a comparison. Raises WishError where the time of either side is too short for one."""
    compared = stages(before)
    known_s = whole_blocks_s(compared)
    if known_s < LEAST_S:
        problem = f"has {known_s:g} s to compare with, and a comparison takes {LEAST_S} s of each side"
        raise WishError("against", problem, f"measure it again with a duration of {LEAST_S}s or longer")
    if asked.duration_s is not None and asked.duration_s < LEAST_S:
        problem = f"is {asked.duration_s:g} s, and a comparison takes {LEAST_S} s of each side"
        raise WishError("duration", problem, "give a longer one, or none for as long as the earlier run")
    return Repeat(asked.rate or compared[0]["rate"], asked.duration_s or known_s)
