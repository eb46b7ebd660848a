# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The stage of a roll-out in which callers decide: looks every few seconds, judges, and acts.

Everything outside is an effect that is given, so that whole roll-outs run in simulated time. Whatever becomes of the
controller, the hosts know more than the gateways do: a share is raised only once most hosts have recorded it. The one
exception is the way back: the share goes to 0 first, and is recorded then.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import RefusalError, WishError

from ..phrases import joined
from . import state as states
from . import steps, tail, verdict
from .samples import ARMS, Counts, Delta, between
from .state import State
from .verdict import Action, Evidence, Rules, Verdict

# Short beside the minute of a step; what comes between two looks weighs as one error (sequential.py).
LOOK_S = 5.0
# After a share was raised, a rollback that came just then is seen sooner.
SOON_S = 1.0
# What a killed controller may forget of what was seen. A record goes to every host, so it is not made at each look.
RECORD_S = 30.0
# Golden requests of each look and arm while callers are too few: no load beside the callers of any model.
GOLDEN = 5
# How often a record of the way back, and the share of 0, are tried where they do not arrive.
TRIES = 6

Age = tuple[int, int]
"""The generation and the revision of a state."""


@dataclass(frozen=True)
class Recorded:
    """What came of a record: on how many of the hosts it is, and who failed how."""

    written: int
    asked: int
    kept: Age | None = None
    """The newest state that a host has kept instead, as it is newer or takes the roll-out back."""
    failed: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_kept(self) -> bool:
        """Return whether most hosts have it, so that the next controller finds it with some of them down."""
        return 2 * self.written > self.asked


class Effects(Protocol):
    """What the conductor can do. None of these raises for a host that fails, and each is bounded in time."""

    def read(self, edge_s: float | None) -> Mapping[str, Any]:
        """Return a reading (samples.between), with ``broken`` and ``notes``, sentences, and ``age``, if any.

        Calls above ``edge_s`` are slow. Without it, answers of gateways have the ``latencies`` of the old version.
        """

    def share(self, permille: int) -> Mapping[str, str]:
        """Give the canary a share of the calls on every gateway; return in words why some have not taken it."""

    def record(self, state: State) -> Recorded:
        """Write the state on every host that has no newer one."""

    def golden(self, calls: int) -> Mapping[str, tuple[int, int]]:
        """Send golden requests to both arms; return by arm how many were answered, and how many of them wrongly."""

    def now(self) -> float:
        """Return the time in seconds of the epoch."""

    def sleep(self, seconds: float) -> None:
        """Wait."""

    def tell(self, line: str) -> None:
        """Show a line to people."""


@dataclass(frozen=True)
class Outcome:
    """How a watch ended."""

    ended: str
    """``rest``: every step has passed. ``arms``: the next step has other hosts. ``held``: a person has to decide.
    ``reverting``: it is taken back. ``overtaken``: another run has it."""
    state: State
    sentence: str
    missed: tuple[str, ...] = ()
    """Gateways that have not taken the share of 0."""


def watch(state: State, rules: Rules, effects: Effects, gateways: Collection[str], last_step: int) -> Outcome:
    """Return how the stage share went, from the recorded state on.

    :param gateways: those that have to answer.
    :param last_step: the place of the last step for which the hosts of the arms are ready.
    """
    if state.stage != "share":
        raise WishError("state", f"the stage {state.stage} of {state.model} has no traffic to judge", "")
    if state.held:
        return Outcome("held", state, state.held)
    if state.step > last_step:
        return Outcome("arms", state, f"{state.percent} %: its hosts are not ready yet")
    return _Watch(state, rules, effects, gateways, last_step).run()


class _Watch:
    def __init__(self, state: State, rules: Rules, effects: Effects, gateways: Collection[str], last_step: int) -> None:
        self._state, self._effects = state, effects
        self._rules = replace(rules, edge_s=rules.edge_s or state.edge_s)
        self._gateways, self._last_step = gateways, last_step
        self._known: Mapping[str, Any] = {}
        # Gateways that have not taken the share, with the reason.
        self._missed: Mapping[str, str] = {}
        self._is_raised = self._is_warming = False
        self._looked_at = self._read_at = self._recorded_at = self._told_at = 0.0
        self._told = self._edge_problem = ""
        # Nobody watched until now, so that the time of the step begins again (state.resume).
        self._evidence = replace(_evidence(state), since=effects.now())

    def run(self) -> Outcome:
        try:
            return self._run()
        except RefusalError as error:
            if self._is_raised:
                # The other run may have taken the share to 0 just before this one raised it.
                self._share(0)
            sentence = str(error)
            self._say(sentence)
            return Outcome("overtaken", self._state, sentence)

    def _run(self) -> Outcome:
        if not self._insist(self._seen()):
            problem = f"most hosts cannot record the roll-out of {self._state.model}, so no share is raised"
            raise WishError("rollout", problem, "bring them up and run it again")
        # Before the first call: a canary that dies of it is to be seen as one that has died.
        reading = self._read()
        self._known = between({}, reading, self._gateways)[1]
        self._raise()
        while True:
            self._await_look()
            found = self._look()
            action = verdict.act(found, self._evidence, self._rules, self._effects.now())
            ended = self._follow(found, action)
            if ended:
                return ended

    def _await_look(self) -> None:
        """Wait until it is time for the next look: as long after the last one as that itself has left of it."""
        passed = self._effects.now() - self._looked_at
        self._effects.sleep(SOON_S if self._is_raised else max(LOOK_S - passed, SOON_S))
        self._looked_at = self._effects.now()

    def _look(self) -> Verdict:
        if self._missed:
            self._share(self._state.percent * 10)
        reading = self._read()
        self._is_raised = False
        delta, self._known = between(self._known, reading, self._gateways)
        delta.broken.extend(reading.get("broken", ()))
        delta.broken.extend(f"gateway {name} has not taken the share ({why})" for name, why in self._missed.items())
        for line in (*delta.notes, *reading.get("notes", ())):
            self._say(line)
        # Of calls since the last look, some may have come within min_healthy_time.
        self._is_warming = self._read_at - self._evidence.since < self._rules.min_healthy_s
        now = self._effects.now()
        self._evidence = verdict.look(self._evidence, self._judgeable(delta), self._rules, now)
        self._read_at = now
        self._find_edge(reading)
        return verdict.judge(self._evidence, self._rules, self._effects.now())

    def _find_edge(self, reading: Mapping[str, Any]) -> None:
        """Fix from where on a call is slow: once in a roll-out, by calls before those that are judged by it."""
        is_early = self._read_at - self._evidence.since < self._rules.min_healthy_s
        if self._rules.edge_s or is_early or not self._evidence.has_control:
            return
        edge_s, said = tail.measured(reading["gateways"], self._state.old)
        if edge_s:
            self._rules = replace(self._rules, edge_s=edge_s)
            self._state = states.with_edge(self._state, edge_s)
            self._say(said)
        elif not self._edge_problem:
            self._edge_problem = said
            self._say(f"slow calls are not judged yet: {said}")

    def _judgeable(self, delta: Delta) -> Delta:
        """Return what came since the last look, with golden requests of our own where callers are too few.

        Calls count only if all of them came after min_healthy_time, as a server that has just loaded is slow.
        """
        if self._is_warming:
            return replace(delta, canary=Counts(), control=Counts())
        is_enough = self._evidence.of("errors").canary.calls >= self._rules.min_samples
        if is_enough or not self._state.percent:
            return delta
        sent = {arm: Counts(golden_calls=c, golden_errors=e) for arm, (c, e) in self._effects.golden(GOLDEN).items()}
        canary, control = (sent.get(arm, Counts()) for arm in ARMS)
        return replace(delta, canary=delta.canary + canary, control=delta.control + control)

    def _follow(self, found: Verdict, action: Action) -> Outcome | None:
        """Act, and return how the watch ends, or None where it goes on."""
        if action.kind == "advance":
            return self._advance(found, action)
        if action.kind == "revert":
            return self._revert(found, action)
        if action.needs_person:
            return self._hold(found, action)
        if action.is_share_zero and not self._state.is_share_zero:
            self._share(0)
            self._insist(states.without_share(self._seen(found)))
            self._say(f"the canary gets no more calls; {found.sentence}")
        elif self._effects.now() - self._recorded_at >= RECORD_S:
            self._record(self._seen(found))
        if self._is_warming:
            self._say_at_times("warming", f"calls count after {self._rules.min_healthy_s:.0f} s (min_healthy_time)")
        else:
            self._say_at_times(found.outcome, found.sentence)
        return None

    def _advance(self, found: Verdict, action: Action) -> Outcome | None:
        now = self._effects.now()
        state, evidence = states.advance(self._seen(found), now), self._evidence
        if state.stage == "share":
            evidence = verdict.next_step(evidence, now, _has_control(state))
            state = states.with_evidence(state, evidence.to_json())
        passed = self._state
        if not self._record(state, must_be_kept=True):
            self._say_at_times("unrecorded", f"{action.sentence}; waits until most hosts can record it")
            return None
        self._say(action.sentence, passed)
        if state.stage != "share":
            return Outcome("rest", state, action.sentence)
        if state.step > self._last_step:
            return Outcome("arms", state, action.sentence)
        self._evidence = evidence
        self._raise()
        return None

    def _hold(self, found: Verdict, action: Action) -> Outcome:
        if action.is_share_zero:
            self._share(0)
        self._insist(states.hold(self._seen(found), action.sentence, action.is_share_zero))
        self._chase(action.is_share_zero)
        self._say(action.sentence)
        return Outcome("held", self._state, action.sentence, tuple(self._missed))

    def _revert(self, found: Verdict, action: Action) -> Outcome:
        judged_at, before = self._effects.now(), self._state
        self._share(0)
        took = self._effects.now() - judged_at
        self._insist(states.revert(self._seen(found), action.sentence, action.is_blamed, self._effects.now()))
        where = f" but on {joined(list(self._missed))}" if self._missed else ""
        self._say(f"{action.sentence}; the canary's share is 0{where} after {took:.1f} s", before)
        self._chase(True)
        return Outcome("reverting", self._state, action.sentence, tuple(self._missed))

    def _raise(self) -> None:
        self._share(self._state.percent * 10)
        self._is_raised = self._state.percent > 0
        self._say(f"from now on {self._state.percent * 10:,} of 1,000 calls go to the canary")

    def _chase(self, is_zero: bool) -> None:
        """Try to take the share from gateways that still have it, and name those that keep it."""
        for _try in range(TRIES if is_zero else 0):
            if not self._missed:
                return
            self._effects.sleep(LOOK_S)
            self._share(0)
        if is_zero and self._missed:
            said = joined([f"{name} ({why})" for name, why in self._missed.items()])
            self._say(f"not taken by {said}, which may still send calls to the canary; stop it, or close the canary")

    def _share(self, permille: int) -> None:
        self._missed = self._effects.share(permille)

    def _read(self) -> Mapping[str, Any]:
        reading = self._effects.read(self._rules.edge_s)
        age = reading.get("age")
        if age and tuple(age) > (self._state.generation, self._state.revision):
            self._refuse_other(age)
        return reading

    def _seen(self, found: Verdict | None = None) -> State:
        """Return the state with the evidence, and a verdict if there is one."""
        state = states.with_evidence(self._state, self._evidence.to_json())
        return states.note(state, found, self._effects.now()) if found else state

    def _record(self, state: State, must_be_kept: bool = False) -> bool:
        """Record a state; one that has to be kept is the present one only if most hosts have it."""
        done = self._effects.record(state)
        is_present = done.is_kept or not must_be_kept
        # The next record is newer in any case: a few hosts may have this one.
        self._state = state if is_present else replace(self._state, revision=state.revision)
        if done.kept:
            self._refuse_other(done.kept)
        self._recorded_at = self._effects.now()
        return done.is_kept

    def _insist(self, state: State) -> bool:
        """Record a state that is in force in any case, more than once if need be; return whether most hosts have it."""
        for tried in range(TRIES):
            if self._record(state):
                return True
            if not tried:
                self._say("most hosts have not recorded it; trying again")
            self._effects.sleep(SOON_S)
        return False

    def _refuse_other(self, age: Age) -> None:
        mine = self._state
        states.check_generation(mine, replace(mine, generation=age[0]))
        raise RefusalError(
            f"another run writes the roll-out of {mine.model} beside this one (generation {age[0]}, revision {age[1]})",
            "let that one finish",
            "generation",
        )

    def _say_at_times(self, what: str, sentence: str) -> None:
        """Tell something when it is not what was told last, and once in an interval."""
        now = self._effects.now()
        if what != self._told or now - self._told_at >= self._rules.interval_s:
            self._told, self._told_at = what, now
            self._say(sentence)

    def _say(self, sentence: str, of: State | None = None) -> None:
        state = of or self._state
        self._effects.tell(f"{state.model} {state.old} -> {state.new}, {state.percent} %: {sentence}")


def _evidence(state: State) -> Evidence:
    if not state.evidence:
        return Evidence(state.since, _has_control(state))
    try:
        return verdict.from_json(state.evidence)
    except ValueError as error:
        raise WishError("state", str(error), "take the roll-out back with rollback.yml") from None


def _has_control(state: State) -> bool:
    return steps.shares(state.steps[state.step]).control > 0
