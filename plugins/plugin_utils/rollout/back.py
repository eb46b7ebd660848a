# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What hosts have answered on the way back (module rollout_return): the state that counts, and who answers by now."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.disk.plain_files import fits
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.models import rollout_record
from ansible_collections.tfserving.fleet.plugins.module_utils.visible_text import told, visible

from ..phrases import counted
from . import course, gathered
from .state import State

Answers = Mapping[str, Mapping[str, Any]]

_INSTANCES = [{"name": str, "answers": bool, "words": str}]
_NAMED = 5
_WORDS = 200


def refuse_limit(gateways: Sequence[str], within: Collection[str]) -> None:
    """Refuse a limit without all gateways: the others would go on sending calls to the version. Raises WishError."""
    beyond = [gateway for gateway in gateways if gateway not in within]
    if beyond:
        others = f" and {counted(len(beyond) - _NAMED, 'more gateway')}" if len(beyond) > _NAMED else ""
        problem = f"leaves out {', '.join(beyond[:_NAMED])}{others}, which would keep sending calls to the version"
        raise WishError("--limit", problem, "add :tfserving_gateways to it, or leave it out")


def decided(model: str, gateways: Answers, found: Answers, reason: str, now: float) -> State:
    """Return the state that takes a roll-out back: that of the gateways, who have been in every roll-out.

    ``found`` are answers of rollout_state, of a fleet without gateways that know of it. Raises WishError where nobody
    knows of a roll-out, and for a damaged state.
    """
    back = {host: {"states": {model: answer.get("state")}} for host, answer in gateways.items()}
    known = course.newest(model, gathered.states(model, back))
    if known and known.stage in rollout_record.BACK:
        return known
    others = course.newest(model, gathered.states(model, found))
    latest = max(filter(None, (known, others)), key=lambda state: rollout_record.age(state.to_json()), default=None)
    return course.taken_back(model, latest, reason, now)


def short(state: State) -> dict[str, int]:
    """Return what hosts have to know of a way back: whole states for 200 of them would take seconds."""
    return {"generation": state.generation, "old": state.old, "new": state.new}


def line(state: State, answers: Answers, seconds: float) -> str:
    """Return how many hosts answer with the version before, and below it who does not yet."""
    late = {
        host: words for host, words in ((host, _lack(answer, state.old)) for host, answer in answers.items()) if words
    }
    serving = sum(bool(answer.get("instances")) for host, answer in answers.items() if host not in late) + len(late)
    move = f"{state.model} {state.new} -> {state.old}"
    if not serving:
        return visible(f"{move}: no host serves it; confirming files")
    good = f"{serving - len(late)} of {counted(serving, 'host')}"
    verb = "answers" if serving == 1 else "answer"
    told_lines = [f"{move}: {good} {verb} with {state.old} ({seconds:.1f} s); confirming files"]
    told_lines += [f"  not yet: {host} ({words})" for host, words in list(late.items())[:_NAMED]]
    if len(late) > _NAMED:
        told_lines.append(f"  not yet: {counted(len(late) - _NAMED, 'more host')}")
    return "\n".join(map(visible, told_lines))


def _lack(answer: Mapping[str, Any], old: int) -> str:
    """Return why a host does not answer with the version before; empty where it does, or serves other models."""
    if answer.get("unreachable"):
        return "it cannot be reached"
    instances = answer.get("instances")
    if instances is None:
        return told(str(answer.get("msg") or "it has not been asked"), _WORDS)
    if not fits(instances, _INSTANCES):
        return "its answer is damaged"
    if not instances and answer.get("msg"):
        return told(str(answer["msg"]), _WORDS)
    if instances and answer.get("old") != old:
        return "it knows of a newer roll-out"
    late = [each for each in instances if not each["answers"]]
    return told(f"instance {late[0]['name']}: {late[0]['words'] or 'no reason is known'}", _WORDS) if late else ""
