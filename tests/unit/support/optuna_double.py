# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The part of Optuna that the tuner calls, with a sampler that draws at random; each call is kept for the tests."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any


@dataclass
class Categorical:
    choices: list[Any]

    def draw(self, source: random.Random) -> Any:
        return source.choice(self.choices)

    def holds(self, value: Any) -> bool:
        return value in self.choices


@dataclass
class Whole:
    low: int
    high: int

    def draw(self, source: random.Random) -> int:
        return source.randint(self.low, self.high)

    def holds(self, value: Any) -> bool:
        return self.low <= value <= self.high


@dataclass
class Study:
    source: random.Random
    trials: list[Any] = field(default_factory=list)
    failed: int = 0

    def add_trial(self, trial: Any) -> None:
        self.trials.append(trial)

    def ask(self, distributions: dict[str, Any]) -> Any:
        return SimpleNamespace(params={name: each.draw(self.source) for name, each in distributions.items()})

    def tell(self, _trial: Any, state: str) -> None:
        assert state == "fail"
        self.failed += 1


class Optuna:
    """Stands in for the module."""

    def __init__(self) -> None:
        self.studies: list[Study] = []
        self.logging = SimpleNamespace(WARNING=30, set_verbosity=lambda level: None)
        self.distributions = SimpleNamespace(CategoricalDistribution=Categorical, IntDistribution=Whole)
        self.samplers = SimpleNamespace(TPESampler=lambda seed, n_startup_trials: random.Random(seed))
        self.trial = SimpleNamespace(create_trial=self._trial, TrialState=SimpleNamespace(FAIL="fail"))

    def create_study(self, direction: str, sampler: random.Random) -> Study:
        assert direction == "maximize"
        self.studies.append(Study(sampler))
        return self.studies[-1]

    @staticmethod
    def _trial(params: dict[str, Any], distributions: dict[str, Any], value: float) -> Any:
        # As Optuna does: what the distributions do not hold is refused.
        assert params.keys() == distributions.keys()
        for name, each in params.items():
            if not distributions[name].holds(each):
                raise ValueError(f"{name} {each}")
        return SimpleNamespace(params=params, value=value)
