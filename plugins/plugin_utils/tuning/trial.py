# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a search asks for, and what it is told."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Union

from ..benchmark.document import TrialHost
from . import space
from .service_time import per_second, shown
from .space import Setting
from .ways import RESTART

# Why a setting was tried, and how long it is measured.
OUTCOMES = ("stopped early", "failed", "illegal")


@dataclass(frozen=True)
class Trial:
    """One setting to measure: the highest rate at which it keeps the objective."""

    number: int
    """From 1, in order of the run."""
    setting: Setting
    origin: str
    rung: str
    """explore; again (the baseline, to see drift); confirm; final; turns (against the plan, at one rate)."""
    repeat: int
    """From 1."""
    stage_s: float
    """Seconds of each stage."""
    precision: float
    """To which share the knee is to be found."""
    start_rate: float
    """The knee to expect, in requests a second: where to begin."""
    must_carry: float | None
    """A rate that the setting must carry to be of interest: if the lower bound of p99 is over the objective there, tell
    ``Failed("stopped early", ...)``."""
    predicted: float
    """The knee that physics predicts."""
    why: str
    below: float | None = None
    """Of the turns: the setting's knee, below which their rate is looked for."""

    def to_json(self) -> dict[str, Any]:
        """Return the trial as plain data."""
        return {**vars(self), "setting": self.setting.to_json()}


@dataclass(frozen=True)
class Measured:
    """A knee that was found; a rate of 0 means that the setting keeps the objective at no rate."""

    rate: float
    low: float
    high: float
    p99_us: float
    p99_high_us: float
    """Upper bound of p99 at the rate."""
    seconds: float
    """What the trial took in all."""
    tried_by: str = RESTART
    """How the setting was put in force (``ways``)."""
    change_s: float = 0.0
    """What of its seconds that took."""
    host: list[TrialHost] = field(default_factory=list)
    """What the measured host told of each stage."""

    def to_json(self) -> dict[str, Any]:
        """Return the result as plain data."""
        return dict(vars(self))


@dataclass(frozen=True)
class Failed:
    """A trial without a knee."""

    outcome: str
    """One of OUTCOMES."""
    why: str
    seconds: float
    tried_by: str = RESTART
    change_s: float = 0.0
    host: list[TrialHost] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Return the result as plain data."""
        return dict(vars(self))


@dataclass(frozen=True)
class Compared:
    """The setting of a trial against the plan, in turns at one rate. Times in microseconds."""

    rate: float
    blocks: int
    """Of each side."""
    block_s: float
    planned_p99_us: float | None
    p99_us: float | None
    keeps: bool
    """Whether the upper bound of the setting's p99, over all its blocks, keeps the objective."""
    found: Mapping[str, Any]
    """measure.comparison.Comparison as JSON, the setting over the plan."""
    seconds: float
    tried_by: str = "turns"
    change_s: float = 0.0
    """The starts of the turns are no change of one trial."""
    host: list[TrialHost] = field(default_factory=list)

    @property
    def verdict(self) -> str:
        """Return better, worse, no difference or not comparable: the setting's p99 against that of the plan."""
        return str(self.found["verdict"])

    def to_json(self) -> dict[str, Any]:
        """Return the result as plain data."""
        return dict(vars(self))

    def shown(self) -> dict[str, Any]:
        """Return the comparison as the tune document has it."""
        figures = {name: value for name, value in vars(self).items() if name not in _UNSHOWN}
        return {**figures, **self.found}

    def sentence(self) -> str:
        """Return the comparison as a reason."""
        sides = f"p99 {_time(self.p99_us)} against {_time(self.planned_p99_us)} as planned"
        over = "" if self.keeps else ", and its upper bound is over the objective"
        return (
            f"in turns with the plan at {per_second(self.rate)}: {self.verdict}, {sides}{over}; {self.found['reason']}"
        )


# What the document has elsewhere, or not at all.
_UNSHOWN = ("found", "seconds", "tried_by", "change_s")


def _time(us: float | None) -> str:
    return "without a value" if us is None else shown(us)


Outcome = Union[Measured, Compared, Failed]


def trial_from_json(data: Any) -> Trial:
    """Return the trial that ``to_json`` wrote; raise ValueError for anything else."""
    if not isinstance(data, dict) or set(data) != {field.name for field in dataclasses.fields(Trial)}:
        raise ValueError("not a trial")
    return Trial(**{**data, "setting": space.from_json(data["setting"])})


def outcome_from_json(data: Any) -> Outcome:
    """Return the result that ``to_json`` wrote; raise ValueError for anything else."""
    for kind in (Measured, Compared, Failed):
        if isinstance(data, dict) and set(data) == {field.name for field in dataclasses.fields(kind)}:
            found: Outcome = kind(**data)
            return found
    raise ValueError("not the outcome of a trial")
