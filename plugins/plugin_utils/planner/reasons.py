# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The sheet on which the planner notes the reason for each figure, and which figures the user has set."""

from __future__ import annotations

from typing import TypeVar

T = TypeVar("T")

# How many results to cache for each figure that follows from a few numbers alone: the instances of a fleet have few
# shapes, so each figure and its sentence are worked out once.
SHAPES = 1024


class Sheet:
    """Reasons and overrides of one instance."""

    def __init__(self) -> None:
        self.reasons: dict[str, str] = {}
        self.overrides: list[str] = []
        self.warnings: list[str] = []

    def settle(self, figure: str, planned: T, reason: str, wished: T | None = None) -> T:
        """Return the value of ``figure``, the user's before the planned one, and note the reason."""
        if wished is None:
            self.reasons[figure] = reason
            return planned
        self.overrides.append(figure)
        without = "leave it unset" if planned is None else f"have {planned}"
        self.reasons[figure] = f"(override) the plan would {without}: {reason}"
        return wished


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number and its noun: ``1 core``, ``2 cores``."""
    return f"{number} {one}" if number == 1 else f"{number} {many or one + 's'}"


def joined(names: list[str]) -> str:
    """Return the names as a list in a sentence: ``a, b and c``."""
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1]))) if names else ""
