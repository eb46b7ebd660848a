# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Whether the canary has more errors than the control, looked at as often as one likes.

A sequential test of likelihoods (Wald) on the errors alone. If the two versions are alike, each error is the canary's
with the probability q, its part of the calls of both arms; if the canary fails rho times as often, with the probability
rho q / (rho q + 1 - q). The score is the sum of the logarithms of the quotients. No rate has to be known, and a fault
that hits both arms moves the score down.

Errors come in bursts: a connection that breaks fails all its calls, and a full queue everything for a second. So all
errors between two looks weigh together as much as ``Test.most`` of them, split between the arms as they were found.
With 1 this withstands every dependence within a look: the quotient is a convex function of the canary's part of the
errors, whose mean is q, so its own mean is at most what it is where the part is only 0 or 1, as for a single error: 1.
Counted one by one, errors in bursts of three made 19 % false alarms where 1 % were meant (docs/rollout-statistics.md).

Both bounds hold for any number of looks (Ville's inequality), without any approximation: a canary that is no worse ever
reaches ``Test.worse_at`` with a probability of at most alpha. What that takes for granted: calls reach the arms by
chance, and what happens between two looks does not depend on what happened before.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.scalars import is_whole


@dataclass(frozen=True)
class Test:
    """What is to be told apart, and how often that may go wrong."""

    __test__ = False  # for pytest

    rho: float = 4.0
    """How many times as often the canary fails at least if it is called worse."""
    alpha: float = 0.01
    """The probability of calling a canary worse that is not, at most."""
    beta: float = 0.05
    """The probability of calling a canary good that fails rho times as often, at most."""
    most: float = 1.0
    """As how many errors all those between two looks weigh at most; infinite where each is known to be independent."""

    @property
    def worse_at(self) -> float:
        """Return the score from which on the canary is worse."""
        return -math.log(self.alpha)

    @property
    def good_at(self) -> float:
        """Return the score down from which the canary is good."""
        return math.log(self.beta)


@dataclass(frozen=True)
class Arm:
    """Calls of one arm, and how many of them are events: errors, or slow ones."""

    calls: int = 0
    events: int = 0

    def __add__(self, other: Arm) -> Arm:
        return Arm(self.calls + other.calls, self.events + other.events)

    def __str__(self) -> str:
        return f"{self.events:,}/{self.calls:,}"


NOTHING = Arm()


@dataclass(frozen=True)
class Compared:
    """What a test has seen so far: the sums of both arms and the score. It goes on after a stop from ``to_json``."""

    canary: Arm = NOTHING
    control: Arm = NOTHING
    score: float = 0.0

    def with_more(self, canary: Arm, control: Arm, test: Test) -> Compared:
        """Return the state after the calls of both arms since the last look.

        Calls that came to one arm alone compare nothing: they count in the sums and leave the score.
        """
        gain = weight(canary, control, test)
        return Compared(self.canary + canary, self.control + control, self.score + gain)

    def outcome(self, test: Test) -> str:
        """Return ``worse``, ``good`` or ``open``."""
        if self.score >= test.worse_at:
            return "worse"
        return "good" if self.score <= test.good_at else "open"

    def to_json(self) -> dict[str, Any]:
        """Return the state as plain data."""
        return {
            "canary": [self.canary.calls, self.canary.events],
            "control": [self.control.calls, self.control.events],
            "score": self.score,
        }


def weight(canary: Arm, control: Arm, test: Test) -> float:
    """Return what the errors since the last look add to the score."""
    events = canary.events + control.events
    if not canary.calls or not control.calls or not events:
        return 0.0
    q = canary.calls / (canary.calls + control.calls)
    # The quotients of the two probabilities for an error of the canary and one of the control.
    canarys, controls = test.rho / (test.rho * q + 1 - q), 1 / (test.rho * q + 1 - q)
    whole = canary.events * math.log(canarys) + control.events * math.log(controls)
    return whole * min(1.0, test.most / events)


def from_json(data: Any) -> Compared:
    """Return the state that ``to_json`` gave; raise ValueError for what it cannot have given."""
    try:
        pairs, score = [data["canary"], data["control"]], data["score"]
        arms = [Arm(_count(pair[0]), _count(pair[1])) for pair in pairs]
    except (KeyError, TypeError, IndexError):
        raise ValueError("the state of a test is not complete") from None
    if isinstance(score, bool) or not isinstance(score, (int, float)) or not math.isfinite(score):
        raise ValueError("the score of a test is not a finite number")
    if any(arm.events > arm.calls for arm in arms):
        raise ValueError("the state of a test has more events than calls")
    return Compared(arms[0], arms[1], float(score))


def _count(value: Any) -> int:
    if not is_whole(value) or not 0 <= value < 2**63:
        raise ValueError("the state of a test has a count that is not a whole number")
    return int(value)
