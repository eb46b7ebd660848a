# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What came between two polls of everything that counts calls: gateways, and the servers of both arms.

All counters only ever rise while their process lives. A gateway that counts anew begins at 0: that says nothing about
the model. A server that begins anew has died, and that counts against its arm. A source that does not
answer, or answers nonsense, says nothing about the model either: the poll is *broken* and named as such, and what the
source counted meanwhile comes with its next answer.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import described
from ansible_collections.tfserving.fleet.plugins.module_utils.visible_text import told

from .sequential import Arm

ARMS = ("canary", "control")
# What a gateway counts of an arm: calls of callers, the failed ones, those slower than the edge or without an answer;
# and calls of golden requests that the roll-out sends itself, with those that failed or were answered wrongly.
COUNTERS = ("calls", "errors", "slow", "golden_calls", "golden_errors")
# Each of them with what it is a part of.
PARTS = {"errors": "calls", "slow": "calls", "golden_errors": "golden_calls"}
# Where a sum of 64-bit counters of 1,000 gateways stays exact in JSON readers that know doubles only.
MOST = 2**53
LONGEST_NAME = 80
LONGEST_REASON = 300

Reading = Mapping[str, Any]


@dataclass(frozen=True)
class Counts:
    """Calls of one arm between two polls, all gateways together."""

    calls: int = 0
    errors: int = 0
    slow: int = 0
    golden_calls: int = 0
    golden_errors: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(*(getattr(self, name) + getattr(other, name) for name in COUNTERS))

    def arm(self, event: str) -> Arm:
        """Return the calls with one kind of event among them: errors, slow, golden_errors."""
        return Arm(getattr(self, PARTS[event]), getattr(self, event))


@dataclass
class Delta:
    """What came between two polls."""

    canary: Counts = field(default_factory=Counts)
    control: Counts = field(default_factory=Counts)
    restarted: dict[str, list[str]] = field(default_factory=lambda: {arm: [] for arm in ARMS})
    """The servers of each arm that began anew."""
    broken: list[str] = field(default_factory=list)
    """Sentences on sources without an answer that can be used."""
    notes: list[str] = field(default_factory=list)
    """Sentences on what is no fault: a gateway that was reloaded."""


def between(before: Reading, after: Reading, gateways: Collection[str]) -> tuple[Delta, dict[str, Any]]:
    """Return what came between two polls, and what to compare the next poll with.

    A reading is ``{"gateways": {NAME: {"process": text, "canary": {COUNTERS}, "control": {...}}}, "servers": {NAME:
    {"process": text, "arm": "canary" | "control", "calls": number}}}``, of which the process may be missing. Whatever
    has no predecessor counts from now on. ``gateways`` are those that have to answer.
    """
    delta = Delta()
    known: dict[str, Any] = {
        "gateways": dict(_mapping(before.get("gateways"))),
        "servers": dict(_mapping(before.get("servers"))),
    }
    answers = _mapping(after.get("gateways"))
    for name in sorted({*gateways, *map(str, answers)}):
        _gateway(name, answers.get(name), known["gateways"], delta)
    for name, answer in sorted(_mapping(after.get("servers")).items()):
        _server(str(name), answer, known["servers"], delta)
    return delta, known


def _gateway(name: str, answer: Any, known: dict[str, Any], delta: Delta) -> None:
    shown = told(name, LONGEST_NAME)
    fault = _gateway_fault(answer)
    if fault:
        delta.broken.append(f"gateway {shown} {fault}")
        return
    last, known[name] = known.get(name), answer
    if last is None:
        return
    is_other, is_named = _is_other(last, answer), bool(last.get("process") and answer.get("process"))
    is_less = any(answer[arm][each] < last[arm][each] for arm in ARMS for each in COUNTERS)
    if is_less and is_named and not is_other:
        # What it has counted since is not known; all of it again would count calls twice.
        delta.broken.append(f"gateway {shown} has counted fewer calls than before")
        return
    fresh = is_other or is_less
    if fresh:
        delta.notes.append(f"gateway {shown} began to count anew")
    found = {}
    for arm in ARMS:
        gained = {each: answer[arm][each] - (0 if fresh else last[arm][each]) for each in COUNTERS}
        # Counters of one answer are read one after another: an error may be counted whose call is not yet.
        found[arm] = Counts(**{each: min(gained[each], gained[PARTS.get(each, each)]) for each in COUNTERS})
    delta.canary += found["canary"]
    delta.control += found["control"]


def _server(name: str, answer: Any, known: dict[str, Any], delta: Delta) -> None:
    shown = told(name, LONGEST_NAME)
    fault = _server_fault(answer)
    if fault:
        delta.broken.append(f"server {shown} {fault}")
        return
    last, known[name] = known.get(name), answer
    if last is not None and (_is_other(last, answer) or answer["calls"] < last["calls"]):
        delta.restarted[answer["arm"]].append(shown)


def _is_other(last: Mapping[str, Any], answer: Mapping[str, Any]) -> bool:
    """Return whether both answers name their process, and not the same one."""
    names = (last.get("process"), answer.get("process"))
    return all(names) and names[0] != names[1]


def _gateway_fault(answer: Any) -> str:
    """Return what is wrong with an answer as the end of a sentence; empty for one that can be used."""
    if answer is None:
        return "does not answer"
    if not isinstance(answer, Mapping):
        return "does not answer with counters"
    if "failed" in answer:
        return f"does not answer ({told(str(answer['failed']), LONGEST_REASON)})"
    for arm in ARMS:
        counters = _mapping(answer.get(arm))
        for each in COUNTERS:
            if not _is_count(counters.get(each)):
                return f"has no count of {each} of the {arm}: it is {described(counters.get(each))}"
        for part, whole in PARTS.items():
            if counters[part] > counters[whole]:
                return f"counts more {part} ({counters[part]:,}) than {whole} ({counters[whole]:,}) of the {arm}"
    return ""


def _server_fault(answer: Any) -> str:
    if answer is None:
        return "does not answer"
    counters = _mapping(answer)
    if counters.get("arm") not in ARMS:
        return "is of neither arm"
    return (
        "" if _is_count(counters.get("calls")) else f"has no count of calls: it is {described(counters.get('calls'))}"
    )


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
