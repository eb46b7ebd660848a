# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What the trials speak for: the least extreme setting within the interval of the best, with its reasons.

Knees that were measured one after another favour a setting; whether it is better than the plan is for the comparison
in turns to say (``turns``), which comes last.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .history import Epoch, Told
from .physics import Site
from .service_time import Curve, per_second, shown
from .space import POOLS, SIZES, Setting
from .trial import Measured

# The rungs from the most thorough measurement to the least.
THOROUGH = ("final", "confirm", "explore")


@dataclass(frozen=True)
class Evidence:
    """What was measured of one setting, at its most thorough."""

    setting: Setting
    trials: tuple[int, ...]
    rate: float
    """Mean of the knees, in requests a second."""
    low: float
    high: float
    p99_us: float
    p99_high_us: float
    """The highest upper bound of p99 at any of these knees."""

    @property
    def carries(self) -> str:
        """The knee with its interval, as a sentence has it."""
        bounds = per_second(self.low).split()[0], per_second(self.high).split()[0]
        return f"{per_second(self.rate)} [{bounds[0]} to {bounds[1]}]"


@dataclass(frozen=True)
class Pick:
    """The setting that the trials speak for."""

    chosen: Evidence
    verdict: str
    """tuned, plan (it was right already) or no batching."""
    reasons: tuple[str, ...]
    planned: Evidence | None
    """What the plan has shown; None where it keeps the objective at no rate."""
    must_win: bool
    """Whether the setting has to be better than the plan in turns; no batches need only be no worse where batches do
    not pay."""
    evidence: tuple[Evidence, ...]
    """All settings that keep the objective, the best first."""

    @property
    def is_contested(self) -> bool:
        """Whether a comparison with the plan in turns has something to decide."""
        return self.verdict != "plan" and self.planned is not None


def pick(site: Site, epoch: Epoch) -> Pick | None:
    """Return what the trials since the host last drifted speak for; None where no setting keeps the objective."""
    shown_by = evidence(epoch, site.load.slo_us)
    if not shown_by:
        return None
    thorough = next(rung for rung in THOROUGH if any(_is_of(each, epoch, rung) for each in shown_by))
    finalists = [each for each in shown_by if _is_of(each, epoch, thorough)]
    known = {each.setting: each for each in shown_by}
    planned = known.get(site.planned)
    chosen, verdict, reasons = _pick(site, finalists[0], finalists, planned, known.get(site.single))
    # One failed trial, for want of time say, puts the plan out of the choice, but does not spare others the turns.
    planned = planned or _carried(epoch, site.planned)
    if planned is None:
        reasons.append("the plan as it is keeps the objective at no rate that was measured")
    size = site.planned.batches.max_batch_size if site.planned.batches else 1
    must_win = verdict != "no batching" or site.curve.pays(size)
    return Pick(chosen, verdict, tuple(reasons), planned, must_win, tuple(shown_by))


def evidence(epoch: Epoch, slo_us: float) -> list[Evidence]:
    """Return what the settings that keep the objective have shown, the best first.

    Only settings of the most thorough rungs compete: those that were sorted out on the way have had their chance. The
    plan and the baseline stay, each with its own most thorough measurement.
    """
    told: dict[Setting, list[Told]] = {}
    for rung in THOROUGH:
        for setting in dict.fromkeys(each.trial.setting for each in epoch.of(rung)):
            told.setdefault(setting, [each for each in epoch.of(rung) if each.trial.setting == setting])
    found = [_summed(each) for each in told.values() if all(one.rate > 0 for one in each)]
    return sorted((each for each in found if each.p99_high_us <= slo_us), key=lambda each: -each.rate)


def _carried(epoch: Epoch, setting: Setting) -> Evidence | None:
    """Return what a setting has shown wherever it was measured; None where it keeps the objective at no rate."""
    told = [each for each in epoch.told if each.trial.setting == setting and each.rate > 0]
    return _summed(told) if told else None


def _summed(told: Sequence[Told]) -> Evidence:
    outcomes = [each.outcome for each in told if isinstance(each.outcome, Measured)]
    return Evidence(
        told[0].trial.setting,
        tuple(each.trial.number for each in told),
        sum(each.rate for each in outcomes) / len(outcomes),
        min(each.low for each in outcomes),
        max(each.high for each in outcomes),
        sum(each.p99_us for each in outcomes) / len(outcomes),
        max(each.p99_high_us for each in outcomes),
    )


def _pick(
    site: Site, best: Evidence, finalists: Sequence[Evidence], planned: Evidence | None, single: Evidence | None
) -> tuple[Evidence, str, list[str]]:
    """Return the chosen setting, the verdict and the reasons."""
    size = site.planned.batches.max_batch_size if site.planned.batches else _size(best)
    within = planned is not None and planned.high >= best.rate
    # Where batches do not pay, none are simpler than those of a plan that is no better.
    if single and single.high >= best.rate and (not within or not site.curve.pays(size) or single == planned):
        return single, "plan" if single == planned else "no batching", _no_batching(site.curve, size, single, best)
    if planned and within:
        return planned, "plan", [f"the plan was already right: {planned.carries}, the best of all {best.carries}"]
    close = [each for each in finalists if each.rate >= best.low]
    chosen = min(close, key=lambda each: (extremeness(each.setting, site.planned), -each.rate))
    if chosen == single:
        return single, "no batching", _no_batching(site.curve, size, single, best)
    reasons = [f"{chosen.carries} within p99 of {shown(site.load.slo_us)}"]
    reasons += [f"the plan carries {planned.carries}"] if planned else []
    reasons += [f"without batching it is {single.carries}"] if single else []
    if chosen != best:
        reasons.append(
            f"the best of all is {best.carries}, which is no more than noise better and farther from the plan"
        )
    verdict = "tuned" if chosen.setting.batches or not site.planned.batches else "no batching"
    return chosen, verdict, [*reasons, site.curve.sentence(_size(chosen) if chosen.setting.batches else size)]


def _no_batching(curve: Curve, size: int, single: Evidence, best: Evidence) -> list[str]:
    reasons = [f"without batching it carries {single.carries}"]
    if best != single:
        reasons.append(f"the best of all carries {best.carries}, which is no more than noise better")
    return [*reasons, curve.sentence(size)]


def _is_of(each: Evidence, epoch: Epoch, rung: str) -> bool:
    return any(told.trial.number == each.trials[0] for told in epoch.of(rung))


def _size(each: Evidence) -> int:
    return each.setting.batches.max_batch_size if each.setting.batches else 1


def extremeness(setting: Setting, planned: Setting) -> float:
    """Return how far a setting is from the plan: each factor of two in a figure counts one, as do batches at all."""
    far = sum(_octaves(getattr(setting, pool), getattr(planned, pool)) for pool in POOLS)
    if setting.batches is None:
        return far
    if planned.batches is None:
        return far + 1 + math.log2(setting.batches.max_batch_size)
    figures = zip(
        (getattr(setting.batches, name) for name in SIZES), (getattr(planned.batches, name) for name in SIZES)
    )
    return far + sum(_octaves(*pair) for pair in figures)


def _octaves(one: float, other: float) -> float:
    """Return the distance of two figures in factors of two; a timeout of 0 counts as 1 us."""
    return abs(math.log2(max(1.0, one) / max(1.0, other)))
