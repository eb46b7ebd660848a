# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What it takes to put settings in force, in seconds, as the trials so far have shown."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from ..phrases import counted, joined
from .history import Told
from .space import Setting
from .trial import Failed
from .ways import KEPT, RESTART, VERSION, way

_WORDS = {RESTART: "by a restart", VERSION: "by another version of the model", KEPT: "by what ran"}


def measured_s(history: Sequence[Told], how: str) -> float | None:
    """Return the median of what a way took; None without a trial that shows it."""
    found = [each.outcome.change_s for each in _tried(history) if each.outcome.tried_by == how]
    return statistics.median(found) if any(found) else None


def change_s(history: Sequence[Told], settings: Sequence[Setting], assumed_s: float) -> float:
    """Return what it will take to put settings in force one after the other, from the last trial on.

    :param assumed_s: what a restart takes, before one was measured; a version takes as long until one has been tried.
    """
    restart_s, version_s = measured_s(history, RESTART), measured_s(history, VERSION)
    restart_s = assumed_s if restart_s is None else restart_s
    costs = {RESTART: restart_s, VERSION: restart_s if version_s is None else version_s, KEPT: 0.0}
    running = next((each.trial.setting for each in reversed(_tried(history))), None)
    return sum(costs[way(before, after).how] for before, after in zip([running, *settings], settings))


def pace(history: Sequence[Told], stages_s: Sequence[float], assumed_s: float) -> float:
    """Return how much longer than planned the stages of the trials took, 1 before the first one.

    :param stages_s: what the stages of each trial were to take.
    """
    changes_s = sum(each.outcome.change_s or assumed_s for each in history)
    spent_s = sum(each.outcome.seconds for each in history)
    return max(0.0, spent_s - changes_s) / sum(stages_s) if history else 1.0


def remark(history: Sequence[Told]) -> list[str]:
    """Return how the settings were put in force, as a sentence, where it was not always by a restart."""
    hows = [each.outcome.tried_by for each in _tried(history)]
    said = [_said(history, how, hows.count(how)) for how in _WORDS if how in hows]
    return [f"settings were put in force {joined(said)}"] if VERSION in hows else []


def _said(history: Sequence[Told], how: str, trials: int) -> str:
    took_s = measured_s(history, how)
    return f"{_WORDS[how]} for {counted(trials, 'trial')}" + (f" ({took_s:.1f} s each)" if took_s else "")


def _tried(history: Sequence[Told]) -> list[Told]:
    return [each for each in history if not (isinstance(each.outcome, Failed) and each.outcome.outcome == "illegal")]
