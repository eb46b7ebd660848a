# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The verdict on a step of a roll-out: pass, fail or inconclusive, with its numbers; and what follows from it.

Fail blames the version and comes only from what the control does not show as well. Pass takes data: enough calls of
callers, and errors that are settled. Everything else is inconclusive. How often each of them is wrong is in
``docs/rollout-statistics.md``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.scalars import is_whole
from ansible_collections.tfserving.fleet.plugins.module_utils.visible_text import shortened

from ..phrases import counted, joined
from . import dead, sequential, tail
from .samples import ARMS, Delta
from .sequential import NOTHING, Arm, Compared, Test

# The probability of reverting a version that is no worse, over all steps and gates of one roll-out. Each test gets its
# part: together they are wrong at most as often as the sum of them.
ALPHA = 0.01
# The probability, in one test, of settling on good although the canary is as much worse as the test asks for.
BETA = 0.05
# Compared by their events; the third gate, restarts, is not a matter of chance.
EVENTS = {"errors": "errors", "slow": "slow", "golden": "golden_errors"}
# Sentences that stand in a state file.
LONGEST = 400


@dataclass(frozen=True)
class Rules:
    """How one step is judged."""

    comparisons: Mapping[str, Test]
    """The gates that compare, with their tests."""
    weights: Mapping[str, str]
    """For each gate ``critical`` or ``dry_run``."""
    interval_s: float
    min_samples: int
    min_healthy_s: float
    deadline_s: float
    ceiling: float
    edge_s: float | None
    on_inconclusive: str
    auto_revert: bool
    auto_promote: bool

    @property
    def tests(self) -> Mapping[str, Test]:
        """Return the comparisons that can be made: slow calls are not judged before it is known which ones are."""
        return {gate: test for gate, test in self.comparisons.items() if gate != "slow" or self.edge_s}


def rules(wish: Mapping[str, Any], edge_s: float | None = None) -> Rules:
    """Return the rules for each step of a roll-out, of the wish as ``wishes.rollout`` returns it.

    :param edge_s: from where on a call is slow if the wish does not say so; see ``tail.measured``. None: not known yet.
    """
    ratios = {"errors": wish["error_ratio"], "slow": tail.RATIO, "golden": wish["error_ratio"]}
    steps = sum(1 for percent in wish["steps"] if percent < 100)
    # Slow calls have their part from the beginning, as they may be judged from some look on.
    alpha = ALPHA / max(steps, 1) / len(ratios)
    return Rules(
        comparisons={gate: Test(ratio, alpha, BETA) for gate, ratio in ratios.items()},
        weights=wish["gates"],
        interval_s=wish["interval"],
        min_samples=wish["min_samples"],
        min_healthy_s=wish["min_healthy_time"],
        deadline_s=wish["progress_deadline"],
        ceiling=wish["error_ceiling"],
        edge_s=wish["slow_share_over"] or edge_s,
        on_inconclusive=wish["on_inconclusive"],
        auto_revert=wish["auto_revert"],
        auto_promote=wish["auto_promote"],
    )


@dataclass(frozen=True)
class Evidence:
    """What a step has shown so far. Plain data by ``to_json``, from which another controller goes on."""

    since: float
    """When the step began, in seconds of the epoch."""
    has_control: bool = True
    """Whether the step leaves a share to the control."""
    before: Arm = NOTHING
    """The control's calls and errors in the steps before: how much of the trouble is everybody's."""
    gates: Mapping[str, Compared] = field(default_factory=dict)
    restarted: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(ARMS, 0))
    broken: str = ""
    """What was wrong with the sources at the last poll."""

    def of(self, gate: str) -> Compared:
        """Return what a gate has seen."""
        return self.gates.get(gate, Compared())

    def to_json(self) -> dict[str, Any]:
        """Return the evidence as plain data."""
        return {
            "since": self.since,
            "has_control": self.has_control,
            "before": [self.before.calls, self.before.events],
            "gates": {gate: seen.to_json() for gate, seen in self.gates.items()},
            "restarted": dict(self.restarted),
            "broken": self.broken,
        }


def from_json(data: Any) -> Evidence:
    """Return the evidence that ``to_json`` gave; raise ValueError for what it cannot have given."""
    try:
        since, has_control, broken = data["since"], data["has_control"], data["broken"]
        gates = {gate: sequential.from_json(data["gates"][gate]) for gate in EVENTS if gate in data["gates"]}
        before = sequential.from_json({"canary": data["before"], "control": [0, 0], "score": 0.0}).canary
        restarted = {arm: data["restarted"][arm] for arm in ARMS}
    except (KeyError, TypeError):
        raise ValueError("the evidence of a step is not complete") from None
    if not (isinstance(has_control, bool) and isinstance(broken, str) and all(map(is_whole, restarted.values()))):
        raise ValueError("the evidence of a step has a value of the wrong kind")
    if not isinstance(since, (int, float)) or not math.isfinite(since):
        raise ValueError("the evidence of a step has no time at which it began")
    return Evidence(float(since), has_control, before, gates, restarted, broken)


def next_step(evidence: Evidence, now: float, has_control: bool) -> Evidence:
    """Return the evidence with which the next step begins: nothing but what the control has shown."""
    return Evidence(now, has_control, evidence.before + evidence.of("errors").control)


def look(evidence: Evidence, delta: Delta, rules: Rules, now: float) -> Evidence:
    """Return the evidence with what came since the last poll.

    Within ``min_healthy_time`` calls do not count, as a server that has just loaded is slow. Restarts do.
    """
    restarted = {arm: evidence.restarted[arm] + len(delta.restarted[arm]) for arm in ARMS}
    broken = shortened("; ".join(delta.broken), LONGEST)
    evidence = replace(evidence, restarted=restarted, broken=broken)
    if now - evidence.since < rules.min_healthy_s:
        return evidence
    gates = {
        gate: evidence.of(gate).with_more(delta.canary.arm(EVENTS[gate]), delta.control.arm(EVENTS[gate]), test)
        for gate, test in rules.tests.items()
    }
    return replace(evidence, gates=gates)


@dataclass(frozen=True)
class Verdict:
    """What the evidence says."""

    outcome: str
    """``pass``, ``fail`` or ``inconclusive``."""
    sentence: str
    is_urgent: bool = False
    """Whether the canary must not get another call, whatever the outcome."""
    has_traffic: bool = True
    """Whether the canary has answered callers at all."""


def judge(evidence: Evidence, rules: Rules, now: float) -> Verdict:
    """Return the verdict on a step."""
    trials = _dry(evidence, rules)
    for outcome, why in _findings(evidence, rules, now):
        return Verdict(
            outcome="inconclusive" if outcome == "dead" else outcome,
            sentence=f"{numbers(evidence, rules)}: {why}{trials}",
            is_urgent=outcome in ("dead", "fail"),
            has_traffic=evidence.of("errors").canary.calls > 0,
        )
    unjudged = ", slow calls not judged" if _is_blind_to_slow(evidence, rules) else ""
    return Verdict("pass", f"{numbers(evidence, rules)}: pass{unjudged}{trials}")


def numbers(evidence: Evidence, rules: Rules) -> str:
    """Return the counts of both arms: ``errors: canary 11/412, control 0/420``."""
    parts = [
        f"{_name(gate, rules)}: canary {seen.canary}, control {seen.control}"
        for gate, seen in ((gate, evidence.of(gate)) for gate in rules.tests)
        if gate == "errors" or seen.canary.events or seen.control.events
    ]
    return "; ".join(parts)


def _name(gate: str, rules: Rules) -> str:
    return {"slow": f"slower than {(rules.edge_s or 0) * 1000:.4g} ms", "golden": "wrong golden answers"}.get(
        gate, gate
    )


def _findings(evidence: Evidence, rules: Rules, now: float) -> Iterator[tuple[str, str]]:
    """Yield what stands against a pass, the gravest first; the first one is the verdict."""
    canarys, controls = (evidence.restarted[arm] for arm in ARMS)
    if _decides("restarts", rules) and canarys and not controls:
        yield "fail", f"fail, the canary's server began anew {_times(canarys)} and the control's did not"
    worse = [gate for gate in _worse(evidence, rules) if _decides(gate, rules)]
    if worse:
        yield "fail", f"fail, more than chance explains ({joined([_name(gate, rules) for gate in worse])})"
    if canarys and controls:
        yield "inconclusive", "inconclusive, servers of both arms began anew, so that it is not the version alone"
    errors = evidence.of("errors")
    if not errors.control.calls and dead.limits(rules.ceiling, evidence.before).tripped(errors.canary):
        yield "dead", "inconclusive, the canary fails and nothing compares it, so it gets no traffic and no blame"
    if evidence.broken:
        yield "inconclusive", f"inconclusive, {evidence.broken}; that says nothing about the version"
    yield from _too_little(evidence, rules, now)
    unsettled = [_name(gate, rules) for gate in ("errors", "slow") if not _is_settled(gate, evidence, rules)]
    if unsettled:
        yield "inconclusive", f"inconclusive, {joined(unsettled)} not settled yet"


def _too_little(evidence: Evidence, rules: Rules, now: float) -> Iterator[tuple[str, str]]:
    calls, timed = (evidence.of(gate).canary.calls for gate in ("errors", "slow"))
    if not calls:
        yield "inconclusive", "inconclusive, no caller has reached the canary"
    if calls < rules.min_samples:
        yield "inconclusive", f"inconclusive, {calls:,} of {rules.min_samples:,} calls that it takes (min_samples)"
    if timed < rules.min_samples and "slow" in rules.tests and evidence.has_control and _decides("slow", rules):
        # Where the edge became known late.
        said = f"{timed:,} of {rules.min_samples:,} calls since it is known which ones are slow (min_samples)"
        yield "inconclusive", f"inconclusive, {said}"
    least = rules.min_healthy_s + rules.interval_s
    if now - evidence.since < least:
        yield "inconclusive", f"inconclusive, {now - evidence.since:.0f} of {least:.0f} s that a step takes at least"


def _is_blind_to_slow(evidence: Evidence, rules: Rules) -> bool:
    return "slow" not in rules.tests and evidence.has_control and _decides("slow", rules)


def _worse(evidence: Evidence, rules: Rules) -> list[str]:
    return [gate for gate, test in rules.tests.items() if evidence.of(gate).outcome(test) == "worse"]


def _is_settled(gate: str, evidence: Evidence, rules: Rules) -> bool:
    """Return whether a gate lets a step pass."""
    if gate not in rules.tests or not _decides(gate, rules):
        return True
    return {"errors": _has_settled_errors, "slow": _has_usual_tail}[gate](evidence, rules)


def _has_settled_errors(evidence: Evidence, rules: Rules) -> bool:
    """Return whether the errors are good beside the control's, or below the ceiling."""
    seen = evidence.of("errors")
    if evidence.has_control and seen.outcome(rules.tests["errors"]) == "good":
        return True
    return dead.limits(rules.ceiling, NOTHING if evidence.has_control else evidence.before).cleared(seen.canary)


def _has_usual_tail(evidence: Evidence, rules: Rules) -> bool:
    """Return whether the canary has no more slow calls than chance gives.

    To settle this as errors are settled would take some 2,600 calls of each arm where 1 % are slow, more than most
    models get in a step; so this much is not asked for, and what it can miss is told beforehand (``plan.limits``).
    """
    seen = evidence.of("slow")
    if not evidence.has_control:
        # Without a control nothing tells a slow version from a slow hour.
        return True
    usual = seen.control.events / seen.control.calls if seen.control.calls >= rules.min_samples else 0.0
    share, slow, calls = min(max(usual, tail.SHARE), dead.DEADEST), seen.canary.events, seen.canary.calls
    # What is not above the mean needs no exact threshold, which takes a sum over thousands of terms.
    return slow <= calls * share or slow < tail.threshold(calls, share)


def _decides(gate: str, rules: Rules) -> bool:
    return rules.weights[gate] == "critical"


def _dry(evidence: Evidence, rules: Rules) -> str:
    """Return what gates that do not decide would have said."""
    found = [_name(gate, rules) for gate in _worse(evidence, rules) if not _decides(gate, rules)]
    if evidence.restarted["canary"] and not evidence.restarted["control"] and not _decides("restarts", rules):
        found.append("restarts")
    return f" (would fail by {joined(found)}, which dry_run leaves out)" if found else ""


def _times(number: int) -> str:
    return "once" if number == 1 else counted(number, "time")


@dataclass(frozen=True)
class Action:
    """What to do after a verdict."""

    kind: str
    """``advance``, ``hold`` or ``revert``."""
    sentence: str
    is_share_zero: bool = False
    """Whether the canary's share goes to 0 before anything else."""
    is_blamed: bool = False
    """Whether the version is remembered as bad, and refused from now on."""
    needs_person: bool = False
    """Whether nothing more can be waited for: of a hold, that a person has to decide."""


def act(verdict: Verdict, evidence: Evidence, rules: Rules, now: float) -> Action:
    """Return what follows from a verdict, by ``auto_promote``, ``auto_revert`` and ``on_inconclusive``."""
    if verdict.outcome == "pass":
        if rules.auto_promote:
            return Action("advance", verdict.sentence)
        waits = f"{verdict.sentence}; auto_promote is off, so it waits for a person"
        return Action("hold", waits, needs_person=True)
    if verdict.outcome == "fail":
        kind, waits = (
            ("revert", "") if rules.auto_revert else ("hold", "; auto_revert is off, so it waits for a person")
        )
        return Action(kind, verdict.sentence + waits, is_share_zero=True, is_blamed=True, needs_person=kind == "hold")
    # Nobody sees what the next step does while a source is broken.
    can_promote = rules.on_inconclusive == "promote" and verdict.has_traffic and not evidence.broken
    return _act_inconclusive(verdict, now - evidence.since, rules, can_promote and not verdict.is_urgent)


def _act_inconclusive(verdict: Verdict, waited_s: float, rules: Rules, can_promote: bool) -> Action:
    is_over = waited_s >= rules.deadline_s
    impatient = rules.on_inconclusive == "revert" and waited_s >= rules.min_healthy_s + rules.interval_s
    if is_over and can_promote:
        return Action("advance", f"{verdict.sentence}; goes on at the deadline, as on_inconclusive says")
    if is_over or impatient:
        when = f"after {waited_s:.0f} s" if not is_over else f"at progress_deadline ({rules.deadline_s:.0f} s)"
        if rules.auto_revert:
            return Action("revert", f"{verdict.sentence}; taken back {when}, without blame", is_share_zero=True)
        waits = f"{verdict.sentence}; {when}; auto_revert is off, so it waits for a person"
        return Action("hold", waits, is_share_zero=verdict.is_urgent, needs_person=True)
    return Action("hold", verdict.sentence, is_share_zero=verdict.is_urgent)
