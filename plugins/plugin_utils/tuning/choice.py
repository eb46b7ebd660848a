# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The choice: what the trials speak for, if the comparison with the plan in turns bears it out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .pick import Evidence, Pick, pick
from .search import Search
from .service_time import shown
from .space import Setting
from .trial import Compared, Failed, Outcome


@dataclass(frozen=True)
class Choice:
    """The setting to use, or None where none keeps the objective, and the reasons as sentences."""

    setting: Setting | None
    trial: int | None
    verdict: str
    """tuned, plan (it was right already), no batching, or none."""
    reasons: tuple[str, ...]
    against_planned: tuple[float, float, float] | None
    """Ratio of the knees, chosen over planned: value, low, high."""
    evidence: tuple[Evidence, ...]
    """All settings that keep the objective, the best first."""
    turns: Compared | None = None
    """The comparison of what the trials spoke for with the plan, in turns; None where there was none."""

    def to_json(self) -> dict[str, Any]:
        """Return the choice as the tune document has it."""
        ratio = self.against_planned
        against = {"value": ratio[0], "low": ratio[1], "high": ratio[2]} if ratio else None
        return {
            "trial": self.trial,
            "verdict": self.verdict,
            "reasons": list(self.reasons),
            "against_planned": against,
            "turns": self.turns.shown() if self.turns else None,
        }


def choose(search: Search) -> Choice:
    """Return the choice after a search, from the trials since the host last drifted."""
    found = pick(search.site, search.epoch)
    if found is None:
        return Choice(None, None, "none", (_none(search),), None, ())
    told = next((each.outcome for each in search.epoch.of("turns")), None)
    chosen, verdict, reasons = found.chosen, found.verdict, found.reasons
    if found.is_contested and found.planned:
        borne_out, sentence = _judged(found, told)
        if borne_out:
            reasons = (reasons[0], sentence, *reasons[1:])
        else:
            chosen, verdict = found.planned, "plan"
            reasons = (sentence, f"the trials spoke for another setting: {reasons[0]}", *reasons[1:])
    if drift := next((each for each in search.drifts if not each.restarted), None):
        reasons = (*reasons, f"uncertain, since {drift.sentence()}")
    against = _ratio(chosen, found.planned) if found.planned else None
    turns = told if isinstance(told, Compared) else None
    return Choice(chosen.setting, chosen.trials[-1], verdict, reasons, against, found.evidence, turns)


def _judged(found: Pick, told: Outcome | None) -> tuple[bool, str]:
    """Return whether the turns bear out what the trials speak for, and a sentence about them."""
    if not isinstance(told, Compared):
        why = told.why if isinstance(told, Failed) else "the budget had no time left for it"
        return False, f"the plan stays, since it could not be set against the best in turns: {why}"
    borne_out = told.verdict == "better" and told.keeps
    if not found.must_win:
        borne_out = told.verdict in ("better", "no difference")
    return borne_out, told.sentence() if borne_out else f"the plan stays: {told.sentence()}"


def _none(search: Search) -> str:
    slo = shown(search.site.load.slo_us)
    tried = len({each.trial.setting for each in search.history})
    failed = [each.outcome for each in search.history if isinstance(each.outcome, Failed)]
    if len(failed) == len(search.history) and failed:
        return f"no setting of {tried} could be measured, so nothing is known of the objective: {failed[-1].why}"
    return (
        f"no setting of {tried} keeps p99 within {slo} at any rate, with the upper bound of its interval; raise"
        " slo_p99_ms, or make the model faster"
    )


def _ratio(chosen: Evidence, planned: Evidence) -> tuple[float, float, float]:
    """Return the ratio of two knees and its bounds; 1 without doubt for the plan itself."""
    if chosen.setting == planned.setting:
        return 1.0, 1.0, 1.0
    return chosen.rate / planned.rate, chosen.low / planned.high, chosen.high / planned.low
