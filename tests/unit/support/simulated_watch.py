# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A fleet in simulated time for the conductor of a roll-out: gateways, servers of both arms, and hosts' records."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.gateway.calls import OLD, Call, Latencies
from ansible_collections.tfserving.fleet.plugins.plugin_utils.rollout import conduct, steps, verdict
from ansible_collections.tfserving.fleet.plugins.plugin_utils.rollout import state as states
from ansible_collections.tfserving.fleet.plugins.plugin_utils.rollout.conduct import Outcome, Recorded
from ansible_collections.tfserving.fleet.plugins.plugin_utils.rollout.samples import ARMS, COUNTERS, Counts
from ansible_collections.tfserving.fleet.plugins.plugin_utils.rollout.state import State
from simulated_rollout import Rates, counts, wish

GOOD = Rates(0.002, 0.005)
START = 1_000_000.0


class KilledError(Exception):
    """The controller is gone."""


@dataclass
class Fleet:
    """The effects of a watch. ``rates`` gives an arm's rates at a time; what happens is drawn from the seed."""

    seed: str = "seed"
    hosts: int = 2
    gateways: tuple[str, ...] = ("edge-1", "edge-2")
    calls_a_second: float = 400.0
    rates: Callable[[str, float], Rates] = lambda _arm, _at: GOOD
    crashes: tuple[float, ...] = ()
    """When the canary's server begins anew, in seconds from the start."""
    crashed_arms: tuple[str, ...] = ("canary",)
    silent: Callable[[str, float], bool] = lambda _name, _at: False
    unseen: Callable[[str, float], bool] = lambda _name, _at: False
    """Hosts whose servers cannot be looked at."""
    reloads: tuple[float, ...] = ()
    """When a gateway forgets what it has counted, in seconds from the start."""
    is_told: bool = True
    """Whether its process has another name then."""
    garbled: Callable[[float], dict[str, Any]] = lambda _at: {}
    """What the last gateway says of the canary instead of its counts."""
    wrong_golden: float = 0.0
    has_golden: bool = False
    latency_ms: Callable[[random.Random, str, float], int] | None = None
    """Draws how late a call of an arm is answered, also of ``stable``; without it, slow calls have a rate."""
    kill_at: int = 0
    """The record at which the controller dies, before or after it is written."""
    is_written: bool = True
    at: float = START
    shares: dict[str, int] = field(default_factory=dict)
    records: dict[str, State] = field(default_factory=dict)
    acts: list[tuple[str, Any, float]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    on_time: Callable[[Fleet], None] = lambda _fleet: None

    def __post_init__(self) -> None:
        self.draw = random.Random(self.seed)
        self.counted = {name: {arm: Counts() for arm in ARMS} for name in self.gateways}
        self.shares = dict.fromkeys(self.gateways, 0)
        self.made = 0
        self.edge_s: float | None = None
        self.latencies = {name: {arm: Latencies() for arm in OLD} for name in self.gateways}

    @property
    def members(self) -> list[str]:
        return [*self.gateways, *(f"gpu-{number}" for number in range(self.hosts))]

    @property
    def passed_s(self) -> float:
        return self.at - START

    # --- effects ---------------------------------------------------------------------------------------------

    def now(self) -> float:
        return self.at

    def tell(self, line: str) -> None:
        self.lines.append(line)

    def sleep(self, seconds: float) -> None:
        self._pass(seconds)

    def read(self, edge_s: float | None) -> dict[str, Any]:
        self._pass(0.4)
        self.edge_s = edge_s
        dead = sum(START + each <= self.at for each in self.crashes)
        return {
            "gateways": {name: self._answer(name) for name in self.gateways},
            "servers": {
                f"gpu-{number}.ranker": {
                    "process": f"start {dead if arm in self.crashed_arms and number < 2 else 0}",
                    "arm": arm,
                    "calls": 0,
                }
                if not self.unseen(f"gpu-{number}", self.passed_s)
                else None
                for number, arm in enumerate(["canary", *["control"] * max(self.hosts - 1, 1)])
            },
            "age": max(((each.generation, each.revision) for each in self.records.values()), default=None),
        }

    def share(self, permille: int) -> dict[str, str]:
        self._pass(0.7)
        self.acts.append(("share", permille, self.at))
        failed = {name: "no answer within 15 s" for name in self.gateways if self._is_silent(name)}
        self.shares.update({name: permille for name in self.gateways if name not in failed})
        return failed

    def record(self, state: State) -> Recorded:
        self._pass(0.3)
        self.made += 1
        if self.made == self.kill_at and not self.is_written:
            raise KilledError
        # What hosts get is what JSON can carry.
        state = states.from_json(state.to_json())
        self.acts.append(("record", state, self.at))
        up = [name for name in self.members if not self._is_silent(name)]
        kept = [self.records[name] for name in up if name in self.records and self._wins(self.records[name], state)]
        written = [name for name in up if not (name in self.records and self._wins(self.records[name], state))]
        self.records.update(dict.fromkeys(written, state))
        if self.made == self.kill_at:
            raise KilledError
        newest = states.newest(kept)
        return Recorded(len(written), len(self.members), newest and (newest.generation, newest.revision))

    def golden(self, calls: int) -> dict[str, tuple[int, int]]:
        if not self.has_golden:
            return {}
        self._pass(0.2)
        wrong = sum(self.draw.random() < self.wrong_golden for _ in range(calls))
        return {"canary": (calls, wrong), "control": (calls, 0)}

    # --- the world -------------------------------------------------------------------------------------------

    def _wins(self, known: State, state: State) -> bool:
        return (known.generation, known.revision) > (state.generation, state.revision)

    def _is_silent(self, name: str) -> bool:
        return self.silent(name, self.passed_s)

    def _answer(self, name: str) -> dict[str, Any] | None:
        if self._is_silent(name):
            return None
        found = {arm: {each: getattr(self.counted[name][arm], each) for each in COUNTERS} for arm in ARMS}
        if name == self.gateways[-1]:
            found["canary"].update(self.garbled(self.passed_s))
        late = {} if self.edge_s else {arm: each.to_json() for arm, each in self.latencies[name].items()}
        forgot = sum(each <= self.passed_s for each in self.reloads) if self.is_told else 0
        return {"process": f"process {forgot}", **found, "latencies": late}

    def _pass(self, seconds: float) -> None:
        for name, permille in self.shares.items():
            given = steps.shares(permille // 10)
            for arm in (*ARMS, "stable") if self.latency_ms else ARMS:
                mean = self.calls_a_second / len(self.shares) * seconds * getattr(given, arm) / 1000
                calls = max(round(self.draw.gauss(mean, mean**0.5)), 0) if mean else 0
                found = counts(self.draw, calls, self.rates(arm, self.passed_s))
                if self.latency_ms:
                    found = replace(found, slow=self._timed(name, arm, calls))
                if arm in ARMS:
                    self.counted[name][arm] += found
        if any(self.passed_s < each <= self.passed_s + seconds for each in self.reloads):
            self.counted[self.gateways[0]] = {arm: Counts() for arm in ARMS}
        self.at += seconds
        self.on_time(self)

    def _timed(self, name: str, arm: str, calls: int) -> int:
        """Note how late calls are answered; return how many of them are slow."""
        assert self.latency_ms
        late = [self.latency_ms(self.draw, arm, self.passed_s) for _ in range(calls)]
        for each in late if arm in OLD and not self.edge_s else ():
            self.latencies[name][arm].record(Call("ranker", arm, False, each, True))
        return sum(each > self.edge_s * 1000 for each in late) if self.edge_s else 0


def begun(**changes: Any) -> State:
    """Return the state with which the stage share begins."""
    state = states.begin(None, "ranker", 7, 8, changes.pop("steps", (1, 5, 25, 50, 100)), START, False)
    return replace(state, stage="share", **changes)


def rolled(fleet: Fleet, state: State | None = None, **wishes: Any) -> Outcome:
    """Return how a watch of the fleet ends."""
    state = state or begun(steps=tuple(wishes.get("steps", (1, 5, 25, 50, 100))))
    rules = verdict.rules(wish(**wishes), None if fleet.latency_ms else 0.1)
    return conduct.watch(state, rules, fleet, fleet.gateways, len(state.steps) - 1)


def rolled_with_kills(fleet: Fleet, **wishes: Any) -> tuple[Outcome, int]:
    """Return how it ends if the controller is killed once and another one goes on, and how often it was killed."""
    state, kills = None, 0
    while True:
        try:
            return rolled(fleet, state, **wishes), kills
        except KilledError:
            kills += 1
            fleet.kill_at = 0
            newest = states.newest(fleet.records.values())
            if newest is None:
                continue
            if newest.stage != "share":
                return Outcome("rest" if newest.stage == "rest" else newest.stage, newest, newest.reason), kills
            state = states.resume(newest, fleet.at)


def raised_without_record(fleet: Fleet) -> list[Any]:
    """Return the shares that were raised before a record on the hosts allowed them."""
    allowed, found = 0, []
    for what, value, _at in fleet.acts:
        if what == "record":
            allowed = value.percent * 10
        elif value > allowed:
            found.append(value)
    return found
