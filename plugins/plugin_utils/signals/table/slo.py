# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Budgets of 30 days that are used up too fast: of failed calls, and of calls slower than the objective for sure."""

from __future__ import annotations

from typing import NamedTuple

from .. import sources
from ..model import Alert, Severity, Threshold

# One failure among a few calls is a large share and says nothing.
FEWEST_CALLS = 100


class Burn(NamedTuple):
    """Two windows over which a budget is used up so many times as fast as allowed."""

    name: str
    factor: float
    long: str
    short: str
    severity: Severity
    budget: str


BURNS = (
    Burn("Fast", 14.4, "1h", "5m", "page", "2 % of the budget in an hour"),
    Burn("Steady", 6, "6h", "30m", "page", "5 % of the budget in six hours"),
    Burn("Slow", 3, "1d", "2h", "ticket", "10 % of the budget in a day"),
    Burn("Creeping", 1, "3d", "6h", "ticket", "10 % of the budget in three days"),
)


class Budget(NamedTuple):
    """What is used up, the signals that tell, and what to do."""

    name: str
    burn: str
    calls: str
    words: str
    remedy: str


_ERRORS = Budget(
    "Errors",
    "tfserving:availability_burn",
    "tfserving:availability_calls",
    "calls of {{ $labels.serving_instance }} fail",
    "See which status and which host the page of the instance shows; playbooks/diagnose.yml names the cause. If it"
    " began with a version, go back (playbooks/rollback.yml).",
)
_LATENCY = Budget(
    "Latency",
    "tfserving:slo_burn",
    "tfserving:slo_calls",
    "calls of {{ $labels.serving_instance }} are slower than the limit above its objective",
    "Look where the time goes on the page of the instance: queue, execution or overhead; playbooks/diagnose.yml names"
    " the cause.",
)


def _alert(budget: Budget, burn: Burn) -> Alert:
    def over(window: str) -> str:
        return f'{budget.burn}{{window="{window}"}} > {burn.factor:g}'

    return Alert(
        f"{budget.name}Burn{burn.name}",
        f"{over(burn.long)} and on (serving_instance) {over(burn.short)}"
        f' and on (serving_instance) {budget.calls}{{window="{burn.long}"}} >= {FEWEST_CALLS}',
        "0s",
        burn.severity,
        "fleet",
        Threshold(
            f"{burn.factor:g} times as fast as allowed over {burn.long} and {burn.short}, {FEWEST_CALLS} calls or more",
            f"{burn.budget}; the short window lets the alert end soon after the fault does",
            f"{sources.WORKBOOK}; {sources.SLOTH}",
        ),
        f'So many {budget.words} that the budget of 30 days is used up {{{{ printf "%.1f" $value }}}} times too fast.',
        budget.remedy,
        (budget.burn, budget.calls),
    )


ALERTS = tuple(_alert(budget, burn) for budget in (_ERRORS, _LATENCY) for burn in BURNS)
