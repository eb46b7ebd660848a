# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Watches an instance until it serves, and recognises when it never will."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..host import process as process_facts
from ..host import run
from ..visible_text import visible
from . import check as serving_check
from .client import Client, UnreachableError, Version, said

# For an instance without a setting: the duration of a load that fails with all of the server's own retries (1 + 5, one
# a minute), so that the server's error arrives before our patience ends.
DEFAULT_TIMEOUT_S = 360
# A loaded model shows within a tenth of a second; a check every second does not slow down a load of minutes.
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 1.0
# One restart may be the one that helps; a second within a single wait is a loop.
RESTARTS_OF_A_LOOP = 2

# The beginning of a log line of TensorFlow (tsl/platform/default/logging.cc), and of absl.
_TIME = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+: |^(?P<level>[IWEF])\d{4} \d\d:\d\d:[\d.]+ +\d+ ")


# A log line makes its point before it lists a whole graph.
LINE_CHARACTERS = 1000


class GivenUpError(Exception):
    """Further waiting is pointless. ``loop``: the unit keeps dying, so that its present start reveals little."""

    def __init__(self, message: str, loop: bool = False) -> None:
        self.loop = loop
        super().__init__(visible(message))


class Watch:
    """One instance under observation; ``look`` until it returns true."""

    def __init__(
        self, instance: Mapping[str, Any], expected: Sequence[serving_check.Expectation], unit: str, probe: bool,
        run: run.Run, proc: Path = process_facts.PROC,
    ) -> None:  # fmt: skip
        self.name = instance["name"]
        self.port = int(instance["ports"]["rest"])
        self.client = Client(self.port)
        self.expected = expected
        self.unit_name = unit
        self.run = run
        self.proc = proc
        self.problems: list[str] = []
        self.waited_s = 0.0
        self.states: dict[str, list[Version]] = {}
        self.probes: dict[str, serving_check.Probe] = {}
        self._probe = probe
        self._restarts_before: int | None = None
        self._deaths = 0
        self._end = ""
        self._settling_s = _settling_time(instance.get("flags") or {})
        self._failed_before: set[tuple[str, int]] | None = None

    def look(self, waited_s: float) -> bool:
        """Return whether everything is as it should be. Raises GivenUpError if it never will be."""
        self.waited_s = waited_s
        self.problems = []
        self._look_at_unit()
        try:
            for expected in self.expected:
                self.states[expected.model], wrong = serving_check.survey(self.client, expected)
                self.problems += wrong
        except UnreachableError as error:
            self.states.clear()
            self.problems = [str(error)]
        self._judge_failures(waited_s)
        if not self.problems and self._probe:
            self._ask_all()
        return not self.problems

    def survey(self) -> None:
        """Take one look for a report, without a prediction or a verdict."""
        self._probe = False
        try:
            self.look(0.0)
        except GivenUpError as error:
            self.problems = [str(error)]

    def report(self) -> dict[str, Any]:
        """Return the last look as plain data."""
        return {
            "name": self.name,
            "models": [self._model(expected) for expected in self.expected],
            "problem": visible("; ".join(self.problems)),
            "waited_s": round(self.waited_s, 2),
        }

    @property
    def deaths(self) -> str:
        """Return how often the unit died under observation, in words; empty if it did not."""
        times = "once" if self._deaths == 1 else f"{self._deaths} times"
        return f"the unit died {times} while waiting{self._end}" if self._deaths > 0 else ""

    def log(self, loop: bool) -> list[str]:
        """Return the last lines of the server's log."""
        try:
            unit = process_facts.unit(self.run, self.unit_name)
        except RuntimeError:
            return []
        return [said(line, LINE_CHARACTERS) for line in process_facts.journal(self.run, unit, of_all_starts=loop)]

    def _model(self, expected: serving_check.Expectation) -> dict[str, Any]:
        versions = serving_check.states(self.states.get(expected.model, []))
        found = {"name": expected.model, "versions": versions, "labels": dict(expected.labels)}
        if expected.model in self.probes:
            found["probe"] = self.probes[expected.model].report()
        return found

    def _look_at_unit(self) -> None:
        try:
            unit = process_facts.unit(self.run, self.unit_name)
        except RuntimeError as error:
            raise GivenUpError(str(error)) from error
        if unit.dead:
            raise GivenUpError(unit.verdict)
        if self._restarts_before is None:
            self._restarts_before = unit.restarts
        if unit.sub == "auto-restart":
            self._end = f" ({unit.end})"
        self._deaths = unit.restarts - self._restarts_before
        if self._deaths >= RESTARTS_OF_A_LOOP:
            raise GivenUpError(self.deaths, loop=True)
        for expected in self.expected:
            if serving_check.absence(expected):
                raise GivenUpError(serving_check.absence(expected))
        stranger = process_facts.stranger_on_port(self.port, unit, self.proc)
        if stranger:
            raise GivenUpError(f"port {self.port} is answered by {stranger}, not by the unit {self.unit_name}")

    def _judge_failures(self, waited_s: float) -> None:
        """Give up on a failed load, unless it may be an old failure that a config reload is about to retry.

        The server never forgets a state. A failure present at the first look counts once the server has had the time to
        reread its config and its directories; a later one counts at once.
        """
        failed = {
            (expected.model, version.version): version.error
            for expected in self.expected
            for version in serving_check.failures(expected, self.states.get(expected.model, []))
        }
        if self._failed_before is None:
            self._failed_before = set(failed)
        for (model, version), error in failed.items():
            if (model, version) not in self._failed_before or waited_s >= self._settling_s:
                remedy = "repair it at its source, or name a version that loads"
                raise GivenUpError(f"model {model} version {version} failed to load: {error.rstrip('.')}; {remedy}")

    def _ask_all(self) -> None:
        for expected in self.expected:
            try:
                misfit = serving_check.misfit(self.client, expected)
                answer = serving_check.probe(self.client, expected) if expected.is_asked and not misfit else None
            except UnreachableError as error:
                self.problems.append(f"model {expected.model}: {error}")
                continue
            if misfit:
                raise GivenUpError(misfit)
            if answer is None:
                continue
            self.probes[expected.model] = answer
            if answer.ok is None:
                raise GivenUpError(f"model {expected.model} is not proven: {answer.note}")
            if answer.ok is False:
                failure = f"model {expected.model} fails its prediction: {answer.note}"
                if not answer.passing:
                    raise GivenUpError(failure)
                self.problems.append(failure)


def _settling_time(flags: Mapping[str, Any]) -> float:
    """Return the seconds until a server has surely noticed a changed config file and changed directories."""
    config = float(flags.get("model_config_file_poll_wait_seconds") or 0)
    directories = float(flags.get("file_system_poll_wait_seconds") or 1)
    return config + directories + 1.0


def wait(
    watches: Sequence[Watch], timeouts: Mapping[str, float],
    now: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep,
) -> tuple[Watch, GivenUpError] | None:  # fmt: skip
    """Look at all watches in turn until each is ready; return the first to be given up, and why."""
    started, pause, pending = now(), FIRST_PAUSE_S, list(watches)
    while pending:
        for watch in list(pending):
            waited = now() - started
            try:
                if watch.look(waited):
                    pending.remove(watch)
                elif waited >= timeouts[watch.name]:
                    reasons = "; ".join(filter(None, [*watch.problems, watch.deaths]))
                    raise GivenUpError(f"{reasons} after {timeouts[watch.name]:g} s", loop=bool(watch.deaths))
            except GivenUpError as error:
                watch.problems = [str(error)]
                return watch, error
        if pending:
            sleep(pause)
            pause = min(pause * 1.5, LONGEST_PAUSE_S)
    return None


def failure(watch: Watch, error: GivenUpError) -> dict[str, Any]:
    """Return the server's last lines and the message for the instance that was given up, in this order."""
    log = without_repeats(watch.log(error.loop))
    last_words = f"The last lines of instance {watch.name}:\n{chr(10).join(log)}\n" if log else ""
    return {"msg": f"{last_words}instance {watch.name}: {error}", "log": log}


def without_repeats(lines: Sequence[str]) -> list[str]:
    """Return the lines in order, each once: a retrying server repeats its messages with another time in front."""
    first: dict[str, str] = {}
    for line in lines:
        first.setdefault(_TIME.sub(r"\g<level>", line), line)
    return list(first.values())
