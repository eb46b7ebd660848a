# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Where the roll-out of a model stands, as data on the hosts, and the only ways from one state to the next.

The generation rises with every controller that takes over: who carries an older one than the hosts know writes nothing
more. Within a generation the revision rises with every write, so that hosts that a killed controller left behind are
told from those that it had reached.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.disk.plain_files import fits
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import RefusalError
from ansible_collections.tfserving.fleet.plugins.module_utils.models import rollout_record
from ansible_collections.tfserving.fleet.plugins.module_utils.visible_text import told

from .verdict import Verdict

SCHEMA = 1
# The stages in order, and from each the ones that may follow.
FOLLOWS: Mapping[str, Sequence[str]] = {
    "prepare": ("canary", "reverting"),
    "canary": ("share", "reverting"),
    "share": ("rest", "reverting"),
    "rest": ("done", "reverting"),
    "done": ("reverting",),
    "reverting": ("reverted",),
    "reverted": (),
}
UNDER_WAY = ("prepare", "canary", "share", "rest", "reverting")
# Verdicts that a state remembers; a poll each few seconds that changes nothing is not one of them.
MOST_VERDICTS = 50
LONGEST = 400


@dataclass(frozen=True)
class State:
    """Where a roll-out stands. Plain data by ``to_json``; see ``from_json`` for what a host may send."""

    model: str
    generation: int
    revision: int
    old: int
    new: int
    steps: tuple[int, ...]
    stage: str = "prepare"
    step: int = 0
    """The place of the present step in ``steps``, of the stage share."""
    since: float = 0.0
    """When the stage or step began, in seconds of the epoch."""
    held: str = ""
    """Why the roll-out waits for a person, empty where it does not."""
    is_share_zero: bool = False
    history: tuple[Mapping[str, Any], ...] = ()
    """Verdicts: ``{"at": s, "stage": text, "percent": number, "outcome": text, "sentence": text}``."""
    reverted: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Versions that are refused, by number, with ``{"reason": text, "at": s}``."""
    evidence: Mapping[str, Any] | None = None
    """What the present step has shown (``verdict.Evidence``)."""
    reason: str = ""
    """Why it is taken back."""
    arms: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The hosts of ``canary`` and ``control`` as the gateways have them; empty before the first and after the last."""
    ready: int = -1
    """The place of the last step for which the canary's hosts have loaded the version."""
    edge_s: float | None = None
    """From where on a call is slow, in seconds, as measured once (tail.measured); None as long as it is not known."""

    @property
    def percent(self) -> int:
        """Return the share of traffic that the new version is to have, in percent."""
        if self.is_share_zero or self.stage in ("prepare", "canary", "reverting", "reverted"):
            return 0
        return self.steps[self.step] if self.stage == "share" else 100

    @property
    def given(self) -> int:
        """Return the share in percent that gateways may give: that of a step whose hosts are ready."""
        return min(self.percent, self.steps[self.ready] if self.ready >= 0 else 0)

    @property
    def serving(self) -> int:
        """Return the version that the fleet is to serve once the stage is over."""
        return self.old if self.stage in ("reverting", "reverted") else self.new

    def to_json(self) -> dict[str, Any]:
        """Return the state as plain data."""
        arms = {arm: list(hosts) for arm, hosts in self.arms.items()}
        plain = {"steps": list(self.steps), "history": list(self.history), "arms": arms}
        return {"schema": SCHEMA, **asdict(self), **plain}


def begin(last: State | None, model: str, old: int, new: int, steps: Sequence[int], now: float, retry: bool) -> State:
    """Return the state of a new roll-out.

    Raises RefusalError while another one is under way, and for a version that was reverted unless ``retry``.
    """
    if old == new:
        raise RefusalError(f"{model} serves version {new} already", "name another version", "version")
    if last and last.stage in UNDER_WAY:
        raise RefusalError(
            f"the roll-out of {model} {last.old} -> {last.new} is not over (stage {last.stage})",
            "let rollout.yml finish it, or take it back with rollback.yml",
            "version",
        )
    reverted = dict(last.reverted) if last else {}
    refuse_reverted(last, model, new, retry)
    reverted.pop(str(new), None)
    generation = last.generation + 1 if last else 1
    return State(model, generation, 1, old, new, tuple(steps), since=now, reverted=reverted)


def refuse_reverted(last: State | None, model: str, version: int, retry: bool) -> None:
    """Raise RefusalError for a version that was reverted with blame, unless it is to be tried again."""
    bad = last.reverted.get(str(version)) if last else None
    if bad and not retry:
        raise RefusalError(
            f"version {version} of {model} was reverted: {told(str(bad.get('reason', '')), LONGEST)}",
            "name another version, or set rollout.retry to true",
            "version",
        )


def newest(states: Iterable[State]) -> State | None:
    """Return the state that counts of those that the hosts have: of the newest generation the last write."""
    return max(states, key=lambda state: (state.generation, state.revision), default=None)


def check_generation(mine: State, theirs: State | None) -> None:
    """Raise RefusalError where the hosts know a newer generation than this controller."""
    if theirs and theirs.generation > mine.generation:
        raise RefusalError(
            f"another run took over the roll-out of {mine.model} (generation {theirs.generation}, this is"
            f" {mine.generation})",
            "let that one finish",
            "generation",
        )


def resume(state: State, now: float) -> State:
    """Return the state with which another controller goes on: a generation later, at the same place.

    Evidence is kept, since calls count whoever watches; the time of a step begins again, as nobody watched.
    """
    if state.stage not in UNDER_WAY:
        raise RefusalError(f"the roll-out of {state.model} is over (stage {state.stage})", "begin a new one", "version")
    evidence = {**state.evidence, "since": now} if state.evidence else None
    return replace(state, generation=state.generation + 1, revision=1, since=now, evidence=evidence)


def note(state: State, verdict: Verdict, now: float) -> State:
    """Return the state with one more verdict; one that says the same as the last takes its place."""
    entry = {
        "at": now,
        "stage": state.stage,
        "percent": state.percent,
        "outcome": verdict.outcome,
        "sentence": told(verdict.sentence, LONGEST),
    }
    kept = state.history
    if kept and all(kept[-1][key] == entry[key] for key in ("stage", "percent", "outcome")):
        kept = kept[:-1]
    return _next(state, history=(*kept, entry)[-MOST_VERDICTS:])


def advance(state: State, now: float) -> State:
    """Return the state after a stage, or a step, that has passed."""
    if state.held:
        raise RefusalError(f"the roll-out of {state.model} is held: {state.held}", "release it first", "stage")
    if state.stage == "share" and state.step + 1 < len(state.steps):
        return _next(state, step=state.step + 1, since=now, evidence=None, is_share_zero=False)
    following = FOLLOWS[state.stage][0] if FOLLOWS[state.stage] else ""
    if following not in ("canary", "share", "rest"):
        raise RefusalError(f"no stage follows {state.stage} of {state.model} but its end", "finish it", "stage")
    return _next(state, stage=following, since=now, evidence=None, is_share_zero=False)


def with_arms(state: State, canary: Sequence[str], control: Sequence[str]) -> State:
    """Return the state with the hosts among which the gateways are to split the traffic."""
    return _next(state, arms={"canary": tuple(canary), "control": tuple(control)})


def with_hosts_ready(state: State, last: int) -> State:
    """Return the state in which the hosts of the canary's arm are ready for the steps up to a place."""
    return _next(state, ready=last)


def with_edge(state: State, edge_s: float) -> State:
    """Return the state in which it is known from where on a call is slow; it stays so to the end of the roll-out."""
    return _next(state, edge_s=edge_s)


def with_evidence(state: State, evidence: Mapping[str, Any]) -> State:
    """Return the state with what the present step has shown."""
    if state.stage != "share":
        raise RefusalError(f"the stage {state.stage} of {state.model} has no traffic to judge", "", "stage")
    return _next(state, evidence=evidence)


def hold(state: State, reason: str, is_share_zero: bool) -> State:
    """Return the state that waits for a person."""
    if state.stage not in UNDER_WAY or state.stage == "reverting":
        raise RefusalError(f"the stage {state.stage} of {state.model} cannot be held", "", "stage")
    return _next(state, held=told(reason, LONGEST), is_share_zero=state.is_share_zero or is_share_zero)


def without_share(state: State) -> State:
    """Return the state in which the canary gets no calls, and the step goes on all the same."""
    return _next(state, is_share_zero=True)


def release(state: State, now: float) -> State:
    """Return the state that goes on after a hold, from the beginning of its step."""
    if not state.held:
        raise RefusalError(f"the roll-out of {state.model} is not held", "", "stage")
    return _next(state, held="", is_share_zero=False, since=now, evidence=None)


def revert(state: State, reason: str, is_blamed: bool, now: float) -> State:
    """Return the state that is taken back: the share is 0 from now on, files come later."""
    if "reverting" not in FOLLOWS[state.stage]:
        raise RefusalError(f"the roll-out of {state.model} is taken back already", "", "stage")
    return _next(_remembering(state, reason, is_blamed, now), stage="reverting", since=now, held="")


def finish(state: State, now: float) -> State:
    """Return the end: ``done`` after the rest, ``reverted`` once the old version serves alone."""
    end = {"rest": "done", "reverting": "reverted"}.get(state.stage)
    if not end:
        raise RefusalError(f"the stage {state.stage} of {state.model} is not the last one", "", "stage")
    return _next(state, stage=end, since=now, evidence=None, arms={}, ready=-1)


def rollback(state: State | None, model: str, reason: str, now: float) -> State:
    """Return the state that a rollback by hand puts in force. It wins over any run, as its generation is newer.

    Twice in a row is fine: what is being taken back, or was, stays so, and never turns to the bad version again.
    """
    if state is None:
        raise RefusalError(
            f"{model} has no roll-out to take back, so no version before it is known",
            "name the version to serve in the inventory and run site.yml",
            "version",
        )
    return from_json(rollout_record.taken_back(state.to_json(), reason, now))


def _remembering(state: State, reason: str, is_blamed: bool, now: float) -> State:
    reverted = rollout_record.with_reverted(state.to_json(), reason, now) if is_blamed else _without(state)
    return replace(state, reverted=reverted, reason=told(reason, LONGEST), is_share_zero=True)


def _without(state: State) -> dict[str, Mapping[str, Any]]:
    return {version: bad for version, bad in state.reverted.items() if version != str(state.new)}


def _next(state: State, **changes: Any) -> State:
    return replace(state, revision=state.revision + 1, **changes)


_KINDS: Mapping[str, type | tuple[type, ...]] = {
    "model": str,
    "generation": int,
    "revision": int,
    "old": int,
    "new": int,
    "steps": list,
    "stage": str,
    "step": int,
    "since": (int, float),
    "held": str,
    "is_share_zero": bool,
    "history": list,
    "reverted": dict,
    "evidence": (dict, type(None)),
    "reason": str,
    "arms": dict,
    "ready": int,
    "edge_s": (int, float, type(None)),
}
_NOTED = {"at": (int, float), "stage": str, "percent": int, "outcome": str, "sentence": str}
# A fleet has fewer hosts; a longer list is none of ours.
MOST_HOSTS = 10_000


def from_json(data: Any) -> State:
    """Return the state that a host has; raise ValueError, in words, for what ``to_json`` cannot have given."""
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        raise ValueError(f"the state of a roll-out is not of schema {SCHEMA}")
    for key, kind in _KINDS.items():
        value = data.get(key)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise ValueError(f"the state of a roll-out has no usable {key}")
    steps = data["steps"]
    if data["stage"] not in FOLLOWS or not steps or not fits(steps, [_is_percent]):
        raise ValueError("the state of a roll-out has no usable stage or steps")
    are_places = 0 <= data["step"] < len(steps) and -1 <= data["ready"] < len(steps)
    if not are_places or min(data["generation"], data["revision"]) < 1:
        raise ValueError("the state of a roll-out has a step or generation that cannot be")
    if not fits(data["history"], [_NOTED]) or not fits(list(data["reverted"].values()), [{}]):
        raise ValueError("the state of a roll-out has no usable history")
    arms = data["arms"]
    if not all(arm in ("canary", "control") and _are_names(hosts) for arm, hosts in arms.items()):
        raise ValueError("the state of a roll-out has no usable arms")
    if data.get("edge_s") is not None and not 0 < data["edge_s"] < math.inf:
        raise ValueError("the state of a roll-out has no usable edge_s")
    kept: dict[str, Any] = {key: data.get(key) for key in _KINDS}
    history = tuple(each for each in data["history"][-MOST_VERDICTS:])
    split = {arm: tuple(hosts) for arm, hosts in arms.items()}
    return State(**{**kept, "steps": tuple(steps), "history": history, "arms": split})


def _is_percent(value: Any) -> bool:
    return fits(value, int) and 1 <= value <= 100


def _are_names(hosts: Any) -> bool:
    return isinstance(hosts, list) and len(hosts) <= MOST_HOSTS and all(isinstance(host, str) for host in hosts)
