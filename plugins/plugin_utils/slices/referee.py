# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Answers what slices ask: whether they fit together, whether all have come as far, whose turn it is.

Pure: a question is a ticket and a message, and whatever happens may answer some of the tickets that wait.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError, kind
from ansible_collections.tfserving.fleet.plugins.module_utils.visible_text import told

from ..fleet.hosts import named
from . import split
from .turns import LAST, Batch, Turns

Answers = list[tuple[Any, dict[str, Any]]]

STOPPED = "the run stops, and no further batch begins"


@dataclass(frozen=True)
class Question:
    """What waits for an answer."""

    ticket: Any
    slice: int
    message: Mapping[str, Any]


class Referee:
    """One run of slices.

    :param slices: by number the hosts of each.
    :param domain: by host its failure domain; empty where none are named.
    :param most: how many hosts of the fleet may be disturbed at once, batch by batch.
    :param version: of the collection that conducts.
    :param stops: whether a slice that fails stops the others; nothing is at stake where all of them only read.
    """

    def __init__(
        self,
        slices: Mapping[int, Sequence[str]],
        domain: Mapping[str, str],
        most: Sequence[int],
        version: str,
        stops: bool = True,
    ) -> None:
        self._stops = stops
        self._slices = slices
        self._domain = domain
        self._most = most
        self._version = version
        self._living = set(slices)
        self._arrived: dict[str, dict[int, list[str]]] = {}
        self._waiting: list[Question] = []
        self._made: dict[str, split.Schedule] = {}
        self.turns = Turns(domain)
        self.drivers: list[str] = []
        """Hosts whose driver is to be changed first, by a run that is not sliced."""

    def ask(self, ticket: Any, number: int, message: Mapping[str, Any]) -> Answers:
        """Return the answers that follow from a question; its own may come later, or be a refusal."""
        try:
            answer = self._answer(Question(ticket, number, message))
        except WishError as error:
            self.turns.stop(str(error))
            answer = {"refused": str(error)}
        return [*([(ticket, answer)] if answer is not None else []), *self._settle()]

    def _answer(self, question: Question) -> dict[str, Any] | None:
        does = {
            "hello": self._hello,
            "share": self._ready,
            "ready": self._ready,
            "take": self._take,
            "give": self._give,
        }
        action = does.get(str(question.message.get("ask")))
        if action is None or question.slice not in self._living:
            raise WishError("tfserving-fleet", f"slice {question.slice} asks for what is not known", "run it again")
        return action(question)

    def _hello(self, question: Question) -> dict[str, Any]:
        version = question.message.get("version")
        if version != self._version:
            problem = f"runs tfserving.fleet {told(str(version), 40)}, and {self._version} conducts it"
            remedy = "have one version in the collections path; nothing has been changed"
            raise WishError(f"slice {question.slice}", problem, remedy)
        hosts = _hosts(question)
        split.check([hosts], self._slices[question.slice])
        return {}

    def _ready(self, question: Question) -> dict[str, Any] | None:
        what, hosts = _kind(question), _hosts(question)
        self._refuse_strangers(question.slice, hosts)
        self._arrived.setdefault(what, {})[question.slice] = hosts
        drivers = _hosts(question, "drivers")
        self._refuse_strangers(question.slice, drivers)
        self.drivers += drivers
        self._waiting.append(question)
        return None

    def _take(self, question: Question) -> dict[str, Any] | None:
        batch = Batch(question.slice, _kind(question), tuple(_hosts(question)))
        self._refuse_strangers(question.slice, batch.hosts)
        strangers = self.turns.unknown(batch)
        if self.turns.holds(question.slice):
            raise WishError(
                f"slice {question.slice}", "asks for a turn before it has ended the last one", "run it again"
            )
        if strangers or not batch.hosts:
            raise WishError(named(strangers) or "a batch", "was not announced for its turn", "run it again")
        self._waiting.append(question)
        return None

    def _give(self, question: Question) -> dict[str, Any]:
        self.turns.end(question.slice, _hosts(question))
        return {}

    def _refuse_strangers(self, number: int, hosts: Sequence[str]) -> None:
        own = set(self._slices[number])
        strangers = [host for host in hosts if host not in own]
        if strangers:
            raise WishError(named(strangers), f"is in slice {number} and in another one", "name each host once")

    def withdrawn(self, ticket: Any) -> None:
        """Forget a question whose asker is gone."""
        self._waiting = [each for each in self._waiting if each.ticket != ticket]

    def doubt(self, number: int) -> None:
        """Hold back other batches until a slice whose task has failed goes on or ends."""
        self.turns.doubt(number)

    def ended(self, number: int, why: str = "") -> Answers:
        """Note the end of a slice, with a reason where it failed.

        One whose every batch is proven may end with an error all the same, for a host that was left out or for the
        monitoring. That stops nobody.
        """
        through = self._is_through(number)
        self._living.discard(number)
        self._waiting = [each for each in self._waiting if each.slice != number]
        self.turns.ended(number, [] if why else self._slices[number], why if self._stops and not through else "")
        return self._settle()

    def _is_through(self, number: int) -> bool:
        announced = self._arrived.get(LAST, {}).get(number)
        return announced is not None and set(announced) <= set(self.turns.done)

    def stop(self, why: str) -> Answers:
        """Begin no further batch."""
        self.turns.stop(why)
        return self._settle()

    def _settle(self) -> Answers:
        """Return the answers that can be given now, in the order of the questions."""
        answers: Answers = []
        for question in list(self._waiting):
            answer = self._now(question)
            if answer is not None:
                self._waiting.remove(question)
                answers.append((question.ticket, answer))
        return answers

    def _now(self, question: Question) -> dict[str, Any] | None:
        if self.turns.why_stopped:
            return {"refused": f"{STOPPED}: {self.turns.why_stopped}"}
        if question.message["ask"] in ("ready", "share"):
            return self._all_here(question)
        batch = Batch(question.slice, _kind(question), tuple(_hosts(question)))
        if not self.turns.may_begin(batch):
            return None
        self.turns.begin(batch)
        # Whoever asks gateways for room has to count those that others have taken out.
        return {"leaving": self.turns.held()}

    def _all_here(self, question: Question) -> dict[str, Any] | None:
        what = _kind(question)
        here = self._arrived[what]
        if not self._living <= here.keys():
            return None
        if question.message["ask"] == "share":
            return {"slices": sorted(here)}
        if self.drivers:
            return {
                "refused": f"{STOPPED} before the drivers of {named(self.drivers)} are changed, which is not sliced"
            }
        if what not in self._made:
            ordered = {each: here[each] for each in sorted(here)}
            self._made[what] = split.schedule(ordered, self._domain, self._most)
            self.turns.plan(what, self._made[what], self._most)
        return {"serial": self._made[what].serial[question.slice] or [1]}


def _kind(question: Question) -> str:
    return str(question.message.get("kind"))


def _hosts(question: Question, key: str = "hosts") -> list[str]:
    """Return a list of names that a slice has sent."""
    given = question.message.get(key) or []
    if not isinstance(given, list) or not all(isinstance(each, str) for each in given):
        raise WishError(f"slice {question.slice}", f"sends {kind(given)} as {key}", "run it again")
    return given
