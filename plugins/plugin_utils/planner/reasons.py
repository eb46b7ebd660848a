# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The sheet on which the planner notes the reason for each figure, and which figures the user has set."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TypeVar

T = TypeVar("T")

# How many results to cache for each figure that follows from a few numbers alone: the instances of a fleet have few
# shapes, so each figure and its sentence are worked out once.
SHAPES = 1024


class Sheet:
    """Reasons and overrides of one instance.

    ``tuned`` are the figures that a measurement has found, each with what was measured.
    """

    def __init__(self, tuned: Mapping[str, str] = MappingProxyType({})) -> None:
        self.tuned = tuned
        self.reasons: dict[str, str] = {}
        self.overrides: list[str] = []
        self.warnings: list[str] = []

    def settle(self, figure: str, planned: T, reason: str, wished: T | None = None) -> T:
        """Return the value of ``figure``, the user's before the planned one, and note the reason."""
        if wished is None:
            self.reasons[figure] = reason
            return planned
        without = "leave it unset" if planned is None else f"have {planned}"
        if figure in self.tuned:
            self.reasons[figure] = f"(tuned) {self.tuned[figure]}; the plan would {without}: {reason}"
            return wished
        self.overrides.append(figure)
        self.reasons[figure] = f"(override) the plan would {without}: {reason}"
        return wished
