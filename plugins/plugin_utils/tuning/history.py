# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a search has been told, and what follows from it: drift of the host, and the best settings so far."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .space import Setting
from .trial import Measured, Outcome, Trial

# A baseline that has moved by more than this, beyond its own interval, says that the host has changed.
DRIFT = 0.05
# A host that drifts more often than this cannot be tuned; what was measured last is then compared, with a remark.
MOST_RESTARTS = 2


@dataclass(frozen=True)
class Told:
    """A trial and its outcome."""

    trial: Trial
    outcome: Outcome

    @property
    def rate(self) -> float:
        """The knee in requests a second, 0 without one."""
        return self.outcome.rate if isinstance(self.outcome, Measured) else 0.0


@dataclass(frozen=True)
class Drift:
    """A change of the host between two measurements of the baseline."""

    number: int
    """The trial that showed it."""
    before: float
    after: float
    restarted: bool

    def sentence(self) -> str:
        """Return the drift as a remark."""
        then = (
            "the comparison began again"
            if self.restarted
            else f"after {MOST_RESTARTS} restarts the comparison went on, so its figures are uncertain"
        )
        change = self.after / self.before - 1
        return (
            f"the baseline went from {self.before:.4g} to {self.after:.4g} requests a second ({change:+.1%}) by trial"
            f" {self.number}: {then}"
        )


@dataclass(frozen=True)
class Epoch:
    """The trials between two drifts, which may be compared with each other."""

    told: tuple[Told, ...]

    def of(self, *rungs: str) -> list[Told]:
        """Return the trials of some rungs."""
        return [each for each in self.told if each.trial.rung in rungs]

    def measured(self, *rungs: str) -> dict[Setting, Told]:
        """Return the first trial of each setting in some rungs that found a knee, the highest knee first."""
        found: dict[Setting, Told] = {}
        for each in self.of(*rungs):
            if each.rate > 0:
                found.setdefault(each.trial.setting, each)
        return dict(sorted(found.items(), key=lambda item: -item[1].rate))

    def baseline(self, single: Setting) -> Told | None:
        """Return the first measurement of the baseline."""
        return next((each for each in self.of("explore", "again") if each.trial.setting == single and each.rate), None)


def drifted(before: Told, after: Told) -> bool:
    """Return whether two measurements of the baseline differ by more than noise."""
    first, second = before.outcome, after.outcome
    if not isinstance(first, Measured) or not isinstance(second, Measured) or not first.rate:
        return False
    apart = second.low > first.high or second.high < first.low
    return apart and abs(second.rate / first.rate - 1) > DRIFT


def is_doubted(before: Told, told: Sequence[Told]) -> bool:
    """Return whether the last trial found another baseline, and nothing has confirmed or refuted it yet."""
    return bool(told) and _differs(before, told[-1]) and (len(told) < 2 or told[-2].trial.rung != "again")


def is_confirmed(before: Told, told: Sequence[Told], last: Told) -> bool:
    """Return whether two measurements of the baseline in a row differ from the first and agree with each other."""
    if not told or not _differs(before, last) or not _differs(before, told[-1]):
        return False
    return abs(last.rate / told[-1].rate - 1) <= DRIFT


def _differs(before: Told, after: Told) -> bool:
    return after.trial.rung == "again" and drifted(before, after)


def epochs(history: Sequence[Told], single: Setting) -> tuple[list[Epoch], list[Drift]]:
    """Return the epochs of a history, the last of them the one to compare in, and the drifts between them."""
    found: list[list[Told]] = [[]]
    drifts: list[Drift] = []
    for each in history:
        before = Epoch(tuple(found[-1])).baseline(single)
        if before and is_confirmed(before, found[-1], each):
            restarted = len(found) <= MOST_RESTARTS
            drifts.append(Drift(each.trial.number, before.rate, each.rate, restarted))
            if restarted:
                found.append([])
        found[-1].append(each)
    return [Epoch(tuple(told)) for told in found], drifts


def best_half(settings: Iterable[Setting]) -> list[Setting]:
    """Return the first half of an order, rounded up."""
    listed = list(settings)
    return listed[: (len(listed) + 1) // 2]
