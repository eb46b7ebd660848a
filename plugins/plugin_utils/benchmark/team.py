# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""All load hosts of a benchmark as one: questions and stages go to each of them, and one result comes back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError

from . import runner
from .crew import PATIENCE_S, Crew
from .stage import Result, merged

Progress = Callable[[dict[str, Any]], None]

# The calibration runs for a few seconds per protocol.
CALIBRATION_S = 60.0


class Team:
    """The conductor's view of the load hosts: its own place, and the others of its crew by name."""

    def __init__(self, crew: Crew, place: runner.Place, load_hosts: Sequence[str]) -> None:
        self._crew, self._place, self.names = crew, place, list(load_hosts)

    @property
    def _others(self) -> list[str]:
        return self.names[1:]

    def ask(self, subject: str, question: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the answer of each load host to a question."""
        self._crew.order({name: {"do": "ask", "subject": subject, "question": question} for name in self._others})
        own = runner.ask(self._place, subject, question)
        return [own, *self._answers(PATIENCE_S)]

    def run(self, specs: Sequence[Mapping[str, Any]], seconds: float, progress: Progress) -> Result:
        """Return the merged result of a stage that takes ``seconds``; ``specs`` has one for each load host.

        Raises WishError as soon as one of them fails: what the others measure is not the stage that was asked for.
        """
        orders = [{"do": "run", "spec": spec, "seconds": seconds} for spec in specs[1:]]
        self._crew.order(dict(zip(self._others, orders)))

        def watch(status: dict[str, Any]) -> None:
            _require_sound(self._crew.answered(self._others))
            progress(status)

        own = _last(runner.measure(self._place, "run", specs[0], seconds), watch)
        return merged([own, *self._answers(runner.OVERTIME_S + PATIENCE_S)])

    def calibrate(self) -> dict[str, Any]:
        """Return the calibration of the generator on the conductor's host; the others have the same program."""
        return _last(runner.measure(self._place, "calibrate", {}, CALIBRATION_S), lambda _progress: None)

    def _answers(self, within_s: float) -> list[dict[str, Any]]:
        answers = self._crew.answers(self._others, within_s)
        _require_sound(answers)
        return [answer["answer"] for answer in answers]


def follow(crew: Crew, place: runner.Place, longest_s: float) -> None:
    """Carry out the conductor's orders on this load host until it dismisses its crew, or is not heard of any more."""
    for order in crew.orders(longest_s):
        try:
            crew.answer({"answer": _carried_out(order, place, crew)})
        except WishError as error:
            crew.answer({"refusal": str(error)})


def _require_sound(answers: Sequence[Mapping[str, Any]]) -> None:
    for answer in answers:
        if "refusal" in answer:
            raise WishError("", answer["refusal"], "")


def _carried_out(order: Mapping[str, Any], place: runner.Place, crew: Crew) -> dict[str, Any]:
    if order["do"] == "ask":
        return runner.ask(place, order["subject"], order["question"])

    def watch(_status: dict[str, Any]) -> None:
        if crew.is_overtaken():
            runner.interrupt(place)
            raise WishError("", "the stage was given up", "")

    return _last(runner.measure(place, "run", order["spec"], order["seconds"]), watch)


def _last(steps: Any, progress: Progress) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for step in steps:
        if found:
            progress(found)
        found = step
    return found
