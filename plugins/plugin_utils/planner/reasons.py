# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The sheet on which the planner notes why each figure is what it is, and which of them the user has set."""

from __future__ import annotations

from typing import TypeVar

T = TypeVar("T")

# The instances of a fleet have few shapes, so a figure that follows from a few numbers alone, and the sentence about
# it, is worked out once and kept, for this many of them.
SHAPES = 1024


class Sheet:
    """Reasons and overrides of one instance."""

    def __init__(self) -> None:
        self.reasons: dict[str, str] = {}
        self.overrides: list[str] = []
        self.warnings: list[str] = []

    def settle(self, figure: str, planned: T, reason: str, wished: T | None = None) -> T:
        """Return what holds for ``figure``, the wish before the plan, and note why."""
        if wished is None:
            self.reasons[figure] = reason
            return planned
        self.overrides.append(figure)
        without = "leave it unset" if planned is None else f"have {planned}"
        self.reasons[figure] = f"(override) the plan would {without}: {reason}"
        return wished


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number with its noun: ``1 core``, ``2 cores``."""
    return f"{number} {one}" if number == 1 else f"{number} {many or one + 's'}"


def joined(names: list[str]) -> str:
    """Return names as a sentence lists them: ``a, b and c``."""
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1]))) if names else ""
