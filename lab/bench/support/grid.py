# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""An exhaustive grid of settings, raced: what cannot carry a little more than the best is not better.

A knee of its own for each of 200 settings would take hours. So each setting gets a rate just above the best knee known
so far, and is dropped when it clearly fails there; only those that carry it get a search.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from support import knees
from support.local_load import part

# Batch sizes, timeouts as shares of the objective, and lengths of the queue, from half of what the objective has time
# for on (tuning.physics.shaped). Batch threads are no axis: on one CPU the planner takes one.
SIZES = tuple(sorted({2**power for power in range(1, 9)} | {3 * 2**power for power in range(1, 7)}))
TIMEOUTS = (0.0, 0.02, 0.05, 0.1, 0.2)
QUEUES = (1, 2, 4)
# By how much a setting has to be better to be of interest. The target is to be within 5 % of the best.
AHEAD = 1.03
# Seconds of the first try, of the second where the first is in doubt, and of the one that a new best is confirmed by:
# the best of many is the luckiest of them too, and would turn the others away.
SHORT_S, LONGER_S, CONFIRM_S = 1.5, 5.0, 10.0
SEARCH_S = 5.0
# p99 takes 459 requests, and arrivals fall short of their mean by a tenth at the most.
REQUESTS = 520
# How often a try is repeated that the machine disturbed.
REPEATS = 2
FINALISTS = 2


class Try(NamedTuple):
    """What became of a setting at a rate. `stage` is a tuning.bracket.Stage."""

    stage: Any
    carries: bool
    clear: bool
    """Whether it fails beyond doubt: requests failed, or the lower bound of p99 breaks the objective."""

    @property
    def is_valid(self) -> bool:
        return bool(self.stage.verdict != "invalid")


class NotStarted(SystemExit):
    """A server that does not start with its setting; ends the program where there is nothing to go on with."""


class Bench(Protocol):
    """What loads settings."""

    def attempt(self, setting: Any, rate: float, seconds: float) -> Try: ...

    def knee(self, setting: Any, carries: Any) -> float: ...


def settings(site: Any) -> list[Any]:
    """Every legal setting of the grid once, and that without batches."""
    physics, error = part("plugin_utils.tuning.physics"), part("module_utils.errors").WishError
    shaped = [
        physics.shaped(site, size, int(share * site.load.slo_us), 1, room=0.5)
        for size, share in itertools.product(SIZES, TIMEOUTS)
    ]
    queued = [
        each.with_batches(max_enqueued_batches=times * each.batches.max_enqueued_batches)
        for each, times in itertools.product(shaped, QUEUES)
    ]
    legal = [each for each in map(site.legal, [site.single, *queued]) if not isinstance(each, error)]
    return list(dict.fromkeys(legal))


class Race:
    """The settings of a grid, each against the best known so far, in requests a second."""

    def __init__(self, bench: Bench, best: float, tell: Callable[[str], None]) -> None:
        self.best = best
        self.knees: dict[Any, float] = {}
        """The settings that carried more than the best of their time."""
        self.dropped: dict[Any, float] = {}
        """The others, each with how close it came: the rate, by as much less as p99 was over the objective."""
        self.unmeasured: list[Any] = []
        self._bench, self._tell = bench, tell

    def run(self, entries: Sequence[Any]) -> None:
        for number, setting in enumerate(entries, 1):
            self._tell(f"setting {number} of {len(entries)}, {self.best:.0f}/s is the best so far")
            self._enter(setting)

    def finalists(self) -> list[Any]:
        """The two best of the grid; where fewer carried more than was known, those that came closest."""
        ranked = sorted(self.knees, key=lambda setting: -self.knees[setting])
        close = sorted(self.dropped, key=lambda setting: -self.dropped[setting])
        return [*ranked, *close][:FINALISTS]

    def _enter(self, setting: Any) -> None:
        rate = self.best * AHEAD
        found = self._bench.attempt(setting, rate, max(SHORT_S, REQUESTS / rate))
        if found.is_valid and not found.clear:
            found = self._bench.attempt(setting, rate, max(LONGER_S, REQUESTS / rate))
        if not found.is_valid:
            self.unmeasured.append(setting)
        elif not found.carries:
            self.dropped[setting] = _closeness(found.stage)
        else:
            self.knees[setting] = self._searched(setting, found.stage)
            self.best = max(self.best, self.knees[setting])

    def _searched(self, setting: Any, carries: Any) -> float:
        """The knee of a setting, or the rate that it carries where its knee is not confirmed."""
        knee = self._bench.knee(setting, carries)
        again = self._bench.attempt(setting, knee, max(CONFIRM_S, REQUESTS / knee))
        return knee if again.carries else float(carries.rate)


def _closeness(stage: Any) -> float:
    return float(stage.rate / stage.p99_us) if stage.p99_us else 0.0


class Servers:
    """A Bench of real servers. `host` puts plans in force (tuning.conduct.Host), `load` is benchmark.load.Load."""

    def __init__(self, host: Any, context: Any, load: Any) -> None:
        self._host, self._context, self._load = host, context, load
        self._in_force: Any = None

    def attempt(self, setting: Any, rate: float, seconds: float) -> Try:
        try:
            self.put(setting)
        except NotStarted as error:  # no reason to lose what the race knows of the others
            return Try(part("plugin_utils.tuning.bracket").Stage(rate, "invalid", str(error)), False, False)
        for _ in range(1 + REPEATS):
            judged = self._load.stage("grid", rate, seconds, lambda: 0.0)
            found = tried(rate, judged, self._load.slo_ms * 1000)
            if found.is_valid:
                break
        return found

    def knee(self, setting: Any, carries: Any) -> float:
        self.put(setting)
        found = knees.find(self._load, "grid", carries.rate, SEARCH_S, "explore", carries)
        return float(getattr(found, "rate", 0.0)) or float(carries.rate)

    def turn(self, setting: Any, start: float, stage_s: float) -> Any:
        """A knee as finely as turns compare them (tuning.trial.Measured or Failed)."""
        self.put(setting)
        return knees.find(self._load, "turn", start, stage_s)

    def put(self, setting: Any) -> None:
        if setting == self._in_force:
            return
        answer = self._host.put(self._context.plan_of(setting))
        if answer.get("failed"):
            self._in_force = None
            raise NotStarted(f"a server of the grid did not start: {answer.get('msg')}")
        self._in_force = setting


def tried(rate: float, judged: Any, slo_us: float) -> Try:
    """A stage as a race sees it."""
    stage = part("plugin_utils.tuning.bracket").judged(rate, judged.outcome, judged.percentiles)
    result = judged.entry["result"]
    broken = bool(result["errors"]) or (stage.p99_low_us is not None and stage.p99_low_us > slo_us)
    fails = stage.verdict == "fail"
    return Try(stage, stage.verdict == "pass" or (fails and judged.outcome.close), fails and broken)
