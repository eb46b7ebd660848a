# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Whether an instance may get traffic: one judgement out of what was decided and of what was seen."""

from __future__ import annotations

from dataclasses import dataclass

from . import record as records
from .record import Record

STARTING, LEAVING, STOPPED, UNWELL = "starting", "leaving", "stopped", "unwell"


@dataclass(frozen=True)
class Facts:
    """What is known of an instance: ids of its process, of the one that leaves and of the one that was admitted."""

    record: Record | None
    invocation: str
    leaving: str
    admitted: str
    refused: bool
    """Whether new connections to it are refused, so that an open gate would be a lie."""
    problem: str
    """Why its models are not served now; empty if they are."""


@dataclass(frozen=True)
class Judgement:
    """``state`` is a word; ``words`` say who or what holds the gate, and are empty if it is open."""

    state: str
    words: str = ""

    @property
    def open(self) -> bool:
        """Return whether the instance may get traffic."""
        return self.state == records.OPEN


def judge(facts: Facts) -> Judgement:
    """Return the judgement. Open is what is left when nothing speaks against it."""
    if facts.record:
        return Judgement(facts.record.state, facts.record.words())
    if not facts.invocation:
        return Judgement(STOPPED, "stopped: the server is not running")
    if facts.leaving == facts.invocation:
        return Judgement(LEAVING, "leaving: the server is about to stop")
    if facts.admitted != facts.invocation:
        return Judgement(STARTING, f"starting: {facts.problem or 'not admitted yet'}")
    if facts.refused:
        return Judgement(LEAVING, "leaving: new connections are refused until somebody opens the gate")
    if facts.problem:
        return Judgement(UNWELL, f"unwell: {facts.problem}")
    return Judgement(records.OPEN)
