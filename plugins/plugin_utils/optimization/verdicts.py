# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Rows of a verdict: what was checked, what came out, and what was allowed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from ..phrases import counted
from . import bounds

PASSED, FAILED, UNPROVEN = "passed", "failed", "not proven"


@dataclass(frozen=True)
class Row:
    """One check of the gate. ``figure`` and ``bound`` are None where it has none."""

    check: str
    verdict: str
    sentence: str
    figure: float | None = None
    bound: float | None = None

    @property
    def passed(self) -> bool:
        """Whether the candidate may go on: what is not proven has not passed."""
        return self.verdict == PASSED

    def to_json(self) -> dict[str, Any]:
        """Return the row as it stands in a report."""
        return {
            "check": self.check,
            "passed": self.passed,
            "verdict": self.verdict,
            "figure": _plain(self.figure),
            "bound": _plain(self.bound),
            "sentence": self.sentence,
        }


def _plain(figure: float | None) -> float | None:
    """Return a figure that JSON can hold."""
    return None if figure is None or not math.isfinite(figure) else float(f"{figure:.6g}")


def judged(check: str, passes: bool, sentence: str, figure: float | None = None, bound: float | None = None) -> Row:
    """Return the row of a check that needs no proof: it is so or it is not."""
    return Row(check, PASSED if passes else FAILED, sentence, figure, bound)


def share(check: str, what: str, loss: float, requests: float, allowed: float) -> Row:
    """Return the row of a loss whose upper bound must keep what is allowed.

    :param loss: the mean loss that was seen, 0 to 1, in as many requests as speak for themselves.
    """
    most = bounds.upper(loss, requests)
    seen = f"{what} in {loss:.2%} of what {counted(int(requests), 'independent request')} show"
    sentence = f"{seen}, and in {most:.2%} at most; {allowed:.2%} allowed"
    if most <= allowed:
        return Row(check, PASSED, sentence, most, allowed)
    enough = bounds.needed(loss, allowed)
    if enough is None or bounds.lower(loss, requests) > allowed:
        return Row(check, FAILED, sentence, most, allowed)
    return Row(check, UNPROVEN, f"{sentence}: {enough:,} requests like these would prove it", most, allowed)
