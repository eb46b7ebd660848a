# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""One arm alone: whether a canary is dead while nothing compares it, and whether its errors are below a ceiling.

This cannot blame a version. A fault outside, which hits every version, looks the same: with a rate of errors taken from
a floor or from the control's past, 74 % (2 % errors) to 99.8 % (5 %) of 400 simulated roll-outs of a version beside
itself were reverted. So a trip takes the traffic away and leaves the verdict open, and it counts only where there is no
control to compare with.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

from ..measure.statistics import binomial
from .sequential import NOTHING, Arm

# The risks of the trip: a sound canary stopped, and a dead one kept on. Two errors right at the start trip it.
ALPHA, BETA = 0.01, 0.05
# The risk of calling a rate below the ceiling that is not. 509 calls without an error clear a ceiling of 1 %.
RISK = 0.01
# A sound version has a tenth of the ceiling at most. The further apart, the fewer calls it takes.
APART = 10.0
# No limit above: at half of all calls a service is down, however it was before.
DEADEST = 0.5


@dataclass(frozen=True)
class Limits:
    """The rate of errors of a sound version, and the one from which on it is not."""

    sound: float
    ceiling: float

    def score(self, arm: Arm) -> float:
        """Return the logarithm of the quotient of the likelihoods, above 0 where the ceiling explains more."""
        good = arm.calls - arm.events
        return arm.events * math.log(self.ceiling / self.sound) + good * math.log((1 - self.ceiling) / (1 - self.sound))

    def tripped(self, arm: Arm) -> bool:
        """Return whether the arm fails so often that it must not get another call."""
        return self.score(arm) >= math.log((1 - BETA) / ALPHA)

    def cleared(self, arm: Arm) -> bool:
        """Return whether the arm's rate is below the ceiling; it may be asked at every look."""
        return self.score(arm) <= math.log(RISK)


def limits(ceiling: float, before: Arm = NOTHING) -> Limits:
    """Return the limits for a ceiling, raised where the old version failed more often than a sound one before.

    :param before: the control's calls of the steps before, which say how much of the trouble is everybody's.
    """
    usual = upper(before) if before.events else 0.0
    sound = min(max(ceiling / APART, usual), DEADEST / 2)
    return Limits(sound, min(max(ceiling, sound * APART), DEADEST))


@lru_cache(256)
def upper(arm: Arm, risk: float = RISK) -> float:
    """Return the upper bound of a rate: above it, so few events have a probability below ``risk`` (Clopper-Pearson).

    It holds for one look, at a number of calls that was fixed before.
    """
    if arm.events >= arm.calls:
        return 1.0
    low, high = arm.events / arm.calls, 1.0
    # 30 halvings: closer than one call in a thousand millions.
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (low, middle) if _at_most(arm, middle) < risk else (middle, high)
    return high


def _at_most(arm: Arm, rate: float) -> float:
    if not 0 < rate < 1:
        return 0.0 if rate else 1.0
    first, below = binomial(arm.calls, rate)
    place = arm.events - first
    return 0.0 if place < 0 else below[min(place, len(below) - 1)]
