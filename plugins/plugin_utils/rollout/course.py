# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The course of a roll-out through a fleet: what a run does next, with which hosts, and what it refuses to begin.

A round is a number of steps with the same hosts in both arms. Before its first step the gateways learn the arms, and
the hosts that are new in the canary's load the new version, a few at a time, each behind its gate. The last round, of
the step of 100 %, has every host in the canary's arm, both versions loaded. Only then do hosts unload the old one.

What is decided here is decided by what hosts have recorded, so that any controller goes on where another has ended.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import RefusalError, WishError, nearest, quoted
from ansible_collections.tfserving.fleet.plugins.module_utils.models import rollout_record
from ansible_collections.tfserving.fleet.plugins.module_utils.visible_text import told, visible

from ..phrases import counted, joined
from ..report.host_names import folded
from ..wishes.models import MODELS, ModelWish
from . import plan, steps, verdict
from . import state as states
from .state import State

# Hosts and versions in one sentence; the rest is counted.
_NAMED = 5
_LONGEST_NAME = 60


@dataclass(frozen=True)
class Fleet:
    """What a run knows of the hosts, in the order of the inventory."""

    serving: Mapping[str, Sequence[str]]
    """The hosts, each with its instances that are to serve the model."""
    in_force: Mapping[str, Sequence[int]]
    """The versions that the plan in force of a host serves; without hosts that serve none."""
    gateways: Sequence[str]
    down: Collection[str] = ()
    """Hosts and gateways that cannot be reached."""
    limit: Collection[str] | None = None
    """What ``--limit`` leaves of hosts and gateways; None for all."""
    serial: Sequence[int | str] = ("25%",)
    """How many hosts may be disturbed at once, as ``fleet_serial`` says."""

    @property
    def up(self) -> list[str]:
        """Return the hosts that serve the model and can be reached."""
        return [host for host, instances in self.serving.items() if instances and host not in self.down]


@dataclass(frozen=True)
class Round:
    """Steps with the same arms; ``first`` and ``last`` are their places among the steps."""

    first: int
    last: int
    canary: tuple[str, ...]
    control: tuple[str, ...]
    batches: tuple[tuple[str, ...], ...]
    """The hosts that load the new version before, in the batches in which they do."""
    is_gated: bool = True
    """Whether they leave the traffic meanwhile; the only host of a fleet does not."""
    is_watched: bool = True
    """Whether there is a gateway whose calls can be judged."""

    def to_json(self) -> dict[str, Any]:
        """Return the round as plain data."""
        return {**asdict(self), "canary": list(self.canary), "control": list(self.control)}


def wish_of(model: str, wishes: Mapping[str, Mapping[str, ModelWish]]) -> ModelWish:
    """Return the wish of the model to roll out; ``wishes`` are the models of each host. Raises WishError."""
    everywhere = {name: each for models in wishes.values() for name, each in models.items()}
    if not model:
        raise WishError("model", "is missing", f"add -e model=NAME; the models are {_some(sorted(everywhere))}")
    if model not in everywhere:
        known = sorted(everywhere)
        remedy = nearest(model, known) or (f"name one of {_some(known)}" if known else f"write it into {MODELS}")
        raise WishError("model", f"is {quoted(model)}, which {MODELS} does not have", remedy)
    by_host = {host: models[model] for host, models in wishes.items() if model in models}
    first, wish = next(iter(by_host.items()))
    for host, other in by_host.items():
        if (other.serve, other.rollout) != (wish.serve, wish.rollout):
            problem = f"differs between hosts: {first} is to serve {_served(wish)}, {host} {_served(other)}"
            same = "the same version and rollout" if _served(wish) != _served(other) else "the same rollout"
            raise WishError(wish.path, problem, f"give every host {same}")
    if wish.rollout is None:
        raise WishError(
            f"{wish.path}.rollout", "is missing, so site.yml moves this model", "run that, or add a rollout"
        )
    return wish


def newest(model: str, found: Mapping[str, Mapping[str, Any]]) -> State | None:
    """Return the state that counts; ``found`` are those that hosts have. Raises WishError for a damaged one."""
    latest = max(found.items(), key=lambda each: rollout_record.age(each[1]), default=None)
    if latest is None:
        return None
    host, data = latest
    try:
        state = states.from_json(data)
        if state.model != model:
            # A copy of another model's, with which that one would be moved.
            raise ValueError(f"it is about {told(state.model, _LONGEST_NAME)}")
    except ValueError as error:
        path = f"{rollout_record.FOLDER}/{model}.json"
        raise WishError(path, f"is damaged on {host} ({error})", rollout_record.REMEDY) from None
    return state


def opened(wish: ModelWish, fleet: Fleet, last: State | None, now: float) -> State:
    """Return the state with which this run begins or goes on, or raise WishError, one sentence, for why it cannot."""
    try:
        if last and last.stage == "prepare" and last.new not in wish.serve["versions"]:
            # Nothing serves it yet, so another version takes its place.
            last = replace(last, stage="reverted")
        if last is None or last.stage not in states.UNDER_WAY:
            state = _begun(wish, fleet, last, now)
        else:
            state = _resumed(wish, last, now)
    except RefusalError as error:
        raise WishError(f"{wish.path}.{error.key}", error.problem, error.remedy) from None
    if state.stage != "reverting":
        _refuse_new_hosts(wish, fleet)
    return state


def _begun(wish: ModelWish, fleet: Fleet, last: State | None, now: float) -> State:
    assert wish.rollout is not None
    _refuse_stray(wish, fleet, last)
    old, new = _move(wish, fleet)
    state = states.begin(last, wish.name, old, new, wish.rollout["steps"], now, wish.rollout["retry"])
    if last is not None and last.stage == "done" and last.new == new:
        # Hosts that were down follow the others, who have been through the steps. A rollback is about those: what the
        # hosts that follow served before may be older than any version that the others still have.
        return replace(state, stage="rest", old=last.old)
    return state


def _refuse_new_hosts(wish: ModelWish, fleet: Fleet) -> None:
    """Refuse hosts that site.yml has not set up: what they lack would count against the version."""
    within = [host for host in fleet.up if fleet.limit is None or host in fleet.limit]
    new = [host for host in within if not fleet.in_force.get(host)]
    if new:
        problem = f"cannot go on with {_some(new)}, where nothing serves {wish.name} yet"
        raise WishError(f"{wish.path}.rollout", problem, "run site.yml first, which has them serve what the others do")


def _refuse_stray(wish: ModelWish, fleet: Fleet, last: State | None) -> None:
    """Refuse to begin beside hosts on a version that was taken back: it would be the one before, to go back to."""
    if last is None or last.stage != "reverted" or str(last.new) not in last.reverted:
        return
    stray = [host for host, versions in fleet.in_force.items() if last.new in versions]
    if stray and last.new not in wish.serve["versions"]:
        problem = f"names {_served(wish)}, and {_some(stray)} may still serve {last.new}, which was taken back"
        raise RefusalError(problem, f"run rollback.yml first, after which every host serves {last.old}", "version")


def _resumed(wish: ModelWish, last: State, now: float) -> State:
    assert wish.rollout is not None
    if last.stage != "reverting" and last.new not in wish.serve["versions"]:
        problem = f"names {_served(wish)}, and the roll-out {last.old} -> {last.new} is not over (stage {last.stage})"
        raise RefusalError(problem, f"set it to {last.new} until that is over, or run rollback.yml first", "version")
    if last.stage in ("prepare", "canary") and tuple(wish.rollout["steps"]) != last.steps:
        # No share has been given yet, so the steps may still change.
        last = replace(last, steps=tuple(wish.rollout["steps"]), step=0)
    state = states.resume(last, now)
    return states.release(state, now) if state.held else state


def _move(wish: ModelWish, fleet: Fleet) -> tuple[int, int]:
    """Return the version in force and the one to come."""
    wished, name = wish.serve["versions"], wish.name
    known = {host: versions for host, versions in fleet.in_force.items() if versions}
    if not known:
        raise RefusalError(f"no host serves {name} yet", "deploy its first version with site.yml", "version")
    missing = [version for version in wished if any(version not in versions for versions in known.values())]
    if len(missing) > 1:
        said = f"names {len(missing)} versions that are not in force ({_some(list(map(str, missing)))})"
        raise RefusalError(said, "take them through rollout.yml one after another", "serve")
    if not missing:
        others = {version for versions in known.values() for version in versions} - set(wished)
        more = f'-e \'{{"host_plan_rollout": {{"{name}": "new"}}}}\''
        remedy = f"to unload {joined(list(map(str, sorted(others))))}" if others else "to move labels"
        problem = f"has nothing to roll out: every host serves {_served(wish)}"
        raise RefusalError(problem, f"name another version; {remedy}, run site.yml with {more}", "version")
    new = missing[0]
    # Callers that name no version get the highest; of a mixed fleet what most hosts serve, and the older among equals.
    present = [max(versions) for versions in known.values() if max(versions) != new]
    if not present:
        before = [version for versions in known.values() for version in versions if version != new]
        present = before or [new]
    return min(set(present), key=lambda version: (-present.count(version), version)), new


def refuse_gateways(wish: ModelWish, fleet: Fleet) -> None:
    """Refuse a roll-out in steps without all gateways: one of them would go on sending calls to a bad version."""
    assert wish.rollout is not None
    path = f"{wish.path}.rollout"
    if not fleet.gateways and wish.rollout["steps"] != [100]:
        remedy = "add hosts to the group tfserving_gateways, or set steps to [100]"
        raise WishError(f"{path}.steps", "shares the traffic, and the inventory has no gateway that could", remedy)
    lost = [gateway for gateway in fleet.gateways if gateway in fleet.down]
    if lost:
        problem = f"cannot begin without {_some(lost)}, which cannot be reached and would keep its share of calls"
        raise WishError(path, problem, "bring it up, or take it out of the inventory")
    beyond = [gateway for gateway in fleet.gateways if fleet.limit is not None and gateway not in fleet.limit]
    if beyond:
        problem = f"needs every gateway, and this run's limit leaves out {_some(beyond)}"
        raise WishError(path, problem, "add :tfserving_gateways to --limit")


def rounds(wish: ModelWish, fleet: Fleet, state: State) -> list[Round]:
    """Return the rounds that are left; raise WishError, one sentence, for steps that this fleet cannot take."""
    if state.stage not in ("prepare", "canary", "share"):
        _refuse_left_out(wish, fleet, state)
        return []
    assert wish.rollout is not None
    path = f"{wish.path}.rollout"
    plan.refuse_deadline(path, wish.rollout)
    canary = _first_hosts(wish, fleet, state)
    hosts = {host: instances for host, instances in fleet.serving.items() if instances}
    _refuse_one_host(path, fleet, state.steps)
    arms = [_arms(steps.assign(path, hosts, percent, canary, fleet.down, fleet.limit)) for percent in state.steps]
    present = state.step if state.stage == "share" else 0
    same: list[Round] = []
    for place, (given, others) in enumerate(arms):
        if same and (same[-1].canary, same[-1].control) == (given, others):
            same[-1] = replace(same[-1], last=place)
        else:
            same.append(Round(place, place, given, others, (), len(fleet.up) > 1, bool(fleet.gateways)))
    loaded = {host for host in fleet.up if state.new in fleet.in_force.get(host, ())}
    left: list[Round] = []
    # Rounds that are over load nothing any more: what a host still lacks is for the present one.
    for each in (each for each in same if each.last >= present):
        waiting = [host for host in each.canary if host not in loaded]
        loaded.update(waiting)
        left.append(replace(each, batches=_batches(waiting, fleet.serial, len(fleet.up), alone=each.first == 0)))
    return left


def _refuse_left_out(wish: ModelWish, fleet: Fleet, state: State) -> None:
    """Refuse to end without some hosts: the gateways forget the arms then, and would call those with both versions."""
    beyond = [host for host in fleet.up if fleet.limit is not None and host not in fleet.limit]
    if state.arms and beyond:
        stage = f"is at the stage {state.stage}, which takes every host"
        problem = f"{stage}, and this run's limit leaves out {_some(beyond)}"
        raise WishError(f"{wish.path}.rollout", problem, "run without --limit")


def _first_hosts(wish: ModelWish, fleet: Fleet, state: State) -> int | list[str]:
    """Return the hosts with which the canary's arm begins: those that have it already, if any."""
    assert wish.rollout is not None
    had = [host for host in state.arms.get("canary", ()) if host in fleet.up] if state.stage == "share" else []
    asked: int | list[str] = wish.rollout["canary"]
    return had or asked


def _arms(assigned: steps.Assignment) -> tuple[tuple[str, ...], tuple[str, ...]]:
    canary, control = (tuple(dict.fromkeys(host for host, _ in units)) for units in (assigned.canary, assigned.control))
    return canary, control


def _refuse_one_host(path: str, fleet: Fleet, given: Sequence[int]) -> None:
    # Instances of one host serve one set of versions, and gateways split by host.
    if len(fleet.up) == 1 and tuple(given) != (100,):
        host = fleet.up[0]
        problem = f"has a step of {given[0]} %, and only {host} serves the model, which cannot be split"
        raise WishError(f"{path}.steps", problem, "add a host, or set it to [100]")


def _batches(hosts: Sequence[str], serial: Sequence[int | str], total: int, alone: bool) -> tuple[tuple[str, ...], ...]:
    """Return hosts in batches as Ansible makes them; ``alone``: the first one goes ahead."""
    left, found = list(hosts), []
    sizes = [*([1] if alone else []), *(_size(each, total) for each in serial)]
    while left:
        size = sizes.pop(0) if len(sizes) > 1 else sizes[0]
        found.append(tuple(left[:size]))
        left = left[size:]
    return tuple(found)


def _size(each: int | str, total: int) -> int:
    text = str(each)
    return max(1, int(text[:-1]) * total // 100) if text.endswith("%") else max(1, int(text))


def promoted(state: State, now: float) -> State:
    """Return the state in which a person takes the present step as passed. Raises WishError."""
    if state.stage != "share":
        problem = f"has nothing to pass: no step of {state.model} has traffic (stage {state.stage})"
        raise WishError("promote", problem, "leave it out")
    return states.advance(state, now)


def stages_of_hosts(fleet: Fleet, state: State) -> dict[str, str]:
    """Return for each host that can be reached the stage of its plan once this run is over (``host_plan_rollout``)."""
    if state.stage in ("reverting", "reverted"):
        return dict.fromkeys(fleet.up, "old")
    if state.stage in ("rest", "done"):
        return dict.fromkeys(fleet.up, "new")
    return dict.fromkeys(fleet.up, loading(state))


def loading(state: State) -> str:
    """Return the stage in which a canary host serves the new version to callers who name none: the highest answers."""
    return "both" if state.new > state.old else "new"


def gateway_rollouts(
    found: Mapping[str, Mapping[str, Any]], hosts: Mapping[str, Collection[str]]
) -> dict[str, dict[str, Any]]:
    """Return how gateways split the traffic of each model that is rolled out, for ``gateway_rollouts``.

    :param found: states by model, as a gateway has recorded them.
    :param hosts: for each model the hosts that serve it; others are left out of the arms.
    """
    moving = {}
    for model, data in found.items():
        state = newest(model, {"this gateway": data})
        if state is None or state.stage not in states.UNDER_WAY or not state.arms:
            continue
        there = hosts.get(model, ())
        arms = {arm: [host for host in state.arms.get(arm, ()) if host in there] for arm in ("canary", "control")}
        if arms["canary"]:
            moving[model] = {**arms, "permille": steps.shares(state.given).canary}
    return moving


def checked(mine: State, found: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse to go on where a host knows a state that has won over this run's. Raises WishError."""
    own = rollout_record.age(mine.to_json())
    for host, theirs in found.items():
        if rollout_record.age(theirs) > own:
            stage = told(str(theirs.get("stage", "")), 20)
            problem = f"another run has taken over ({host} is at stage {stage}, generation {theirs['generation']})"
            raise WishError(f"the roll-out of {mine.model}", problem, "let that one finish")


Event = Callable[[State, str, float], State]


def furthest(state: State, found: Mapping[str, Mapping[str, Any]]) -> State:
    """Return the furthest state of this run that a host has recorded.

    Where a record fails on some hosts, the others have it already, and keep nothing that is no newer.
    """
    last = newest(state.model, found)
    is_ahead = last is not None and last.generation == state.generation and last.revision > state.revision
    return last if last is not None and is_ahead else state


def _advanced(state: State, reason: str, now: float) -> State:
    return states.advance(state, now)


def _failed(state: State, reason: str, now: float) -> State:
    """Hold a roll-out of which a host or a gateway failed: that says nothing of the version."""
    return states.hold(state, reason, is_share_zero=False)


def _blamed(state: State, reason: str, now: float) -> State:
    return states.revert(state, reason, True, now)


def _finished(state: State, reason: str, now: float) -> State:
    return states.finish(state, now)


def ready(state: State, last: int, now: float) -> State:
    """Return the state once the hosts of a round, up to its ``last`` step, have loaded the version."""
    found = states.with_hosts_ready(state, last)
    return states.advance(found, now) if found.stage == "canary" else found


# What happens to a roll-out, and what follows.
EVENTS: Mapping[str, Event] = {
    "advance": _advanced,
    "failed": _failed,
    "blamed": _blamed,
    "finish": _finished,
}


def after(event: str, state: State, reason: str, now: float) -> State:
    """Return the state after an event of EVENTS; raise WishError where it cannot happen."""
    try:
        return EVENTS[event](state, reason, now)
    except RefusalError as error:
        raise WishError(f"the roll-out of {state.model}", error.problem, error.remedy) from None


def failure(state: State, is_version: bool, auto_revert: bool) -> str:
    """Return the event that follows a failed task: only the version's failure on the first hosts takes it back.

    Where it serves elsewhere already, a host on which it does not load is more likely to be the reason.
    """
    return "blamed" if is_version and auto_revert and state.stage == "canary" else "failed"


def taken_back(model: str, last: State | None, reason: str, now: float) -> State:
    """Return the state of a rollback by hand. Raises WishError where there is nothing to go back to."""
    try:
        return states.rollback(last, model, reason, now)
    except RefusalError as error:
        raise WishError("model", error.problem, error.remedy) from None


def with_stray(state: State, in_force: Mapping[str, Sequence[int]], now: float) -> State:
    """Return the state of a rollback in which hosts go back that were down when the others did."""
    is_left = any(state.new in versions for versions in in_force.values())
    return replace(state, stage="reverting", since=now) if state.stage == "reverted" and is_left else state


def line(state: State) -> str:
    """Return where a roll-out stands, in one line."""
    told_step = f", step {state.step + 1} of {len(state.steps)}" if state.stage == "share" else ""
    canary = state.arms.get("canary", ())
    hosts = f", canary {_few(canary)}" if canary and state.stage == "share" else ""
    reason = f": {state.reason}" if state.stage in ("reverting", "reverted") and state.reason else ""
    share = f", {state.percent} % of the traffic" if state.stage == "share" else ""
    held = f"; held: {state.held}" if state.held else ""
    versions = f"{state.model} {state.old} -> {state.new}"
    return visible(f"{versions}: {_WORDS[state.stage]}{share}{told_step}{hosts}{reason}{held}")


_WORDS = {
    "prepare": "being prepared",
    "canary": "loading on the first hosts",
    "share": "shared",
    "rest": "unloading the version before",
    "done": "rolled out",
    "reverting": "being taken back",
    "reverted": "taken back",
}


def _few(hosts: Sequence[str]) -> str:
    return folded(hosts) if len(hosts) <= _NAMED else f"{folded(hosts[:_NAMED])} and {len(hosts) - _NAMED} more"


def problem(state: State, playbook: Callable[[str], str]) -> str:
    """Return why a run that ends in this state has failed, with the remedy; empty where it has not.

    ``playbook`` returns the name by which whoever runs it knows a playbook.
    """
    again, back = playbook("rollout"), playbook("rollback")
    if state.held:
        passed = " (with -e promote=true the step counts as passed)" if state.stage == "share" else ""
        return f"{line(state)}; run {again} again to go on{passed}, or {back} to take it back"
    if state.stage not in ("reverting", "reverted"):
        return ""
    if str(state.new) not in state.reverted:
        return f"{line(state)}; nothing is held against version {state.new}, so {again} may begin again"
    return f"{line(state)}; name another version, or set rollout.retry to true"


def summary(found: Iterable[State]) -> str:
    """Return a line for each roll-out under way; empty where there is none."""
    return "\n".join(line(state) for state in found if state.stage in states.UNDER_WAY)


def announced(fleet: Fleet, state: State, left: Sequence[Round], wish: ModelWish) -> str:
    """Return what this run is about to do, and what it takes."""
    assert wish.rollout is not None
    coming, rules = [line(state)], verdict.rules(wish.rollout)
    for each in left:
        begin, end = max(each.first, state.step), each.last + 1
        percents = state.steps[begin:end]
        said = joined([f"{percent} %" for percent in percents])
        control = f", compared with {_few(each.control)}" if each.control else ""
        coming.append(f"  {said}: {_few(each.canary)}{control}")
        if each.is_watched:
            coming.append(f"    {plan.needs(percents, rules)}")
    if left and left[0].is_watched:
        coming.append(f"  {plan.pace(state.steps[max(left[0].first, state.step)], rules)}")
        coming.append("  a step that passes shows this much and no more:")
        coming += [f"    {each}" for each in plan.limits(wish.rollout, rules)]
    lost = [host for host in fleet.serving if host in fleet.down]
    if lost:
        coming.append(f"  {counted(len(lost), 'host')} left out: {_few(lost)}; run rollout.yml again once it is back")
    return "\n".join(coming)


def _served(wish: ModelWish) -> str:
    return joined(list(map(str, wish.serve["versions"])))


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
