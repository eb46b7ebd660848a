# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""All gates of a host as they are now: what the plan, the records, the marks and the looks say, put together."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from ..disk import durable, plain_files
from . import health as healths
from . import marks as marks_of
from . import record as records
from .config import Config, Instance, Watched
from .health import Health, Look
from .judge import Facts, Judgement, judge

# For an instance that the plan does not know: whoever asks for it is behind the times.
UNKNOWN = Judgement("unknown", "unknown: no such instance on this host")

_MOST_BYTES = 1 << 20
_SHAPE = {"invocation": str, "models": [str]}


class Gates:
    """The gates, with a thread that looks at each server. Everything but the looks happens in the caller's thread."""

    def __init__(
        self, watched: Watched, marks: marks_of.Marks, folder: str = records.FOLDER, memory: str = "",
        ask: Callable[[int, list[str], float], Look] = healths.look,
    ) -> None:  # fmt: skip
        self.watched = watched
        self.marks = marks
        self.folder = folder
        self.memory = memory
        """Where it is remembered over a restart of this program which servers were whole; empty for nowhere."""
        self.ask = ask
        self.healths: dict[str, Health] = {}
        self._watchers: dict[str, threading.Thread] = {}

    @property
    def config(self) -> Config:
        """Return what the plan says now."""
        return self.watched.now()

    def judgement(self, name: str) -> Judgement:
        """Return whether an instance may get traffic, by what is on the disk at this moment."""
        instance = self.config.instances.get(name)
        return judge(self._facts(instance)) if instance else UNKNOWN

    def _facts(self, instance: Instance) -> Facts:
        name, marks = instance.name, self.marks
        invocation = marks.invocation(name)
        known = self.healths.get(name, Health())
        return Facts(
            record=records.read(name, time.time(), self.folder),
            invocation=invocation,
            leaving=marks.of(name, marks_of.LEAVING),
            admitted=marks.of(name, marks_of.ADMITTED),
            refused=bool(marks.of(name, marks_of.REFUSED)),
            problem=healths.problem(known, invocation, instance.models, time.monotonic()),
        )

    def page(self) -> dict[str, Any]:
        """Return everything about every instance, as plain data."""
        return {name: self._page_of(instance) for name, instance in self.config.instances.items()}

    def _page_of(self, instance: Instance) -> dict[str, Any]:
        facts, known = self._facts(instance), self.healths.get(instance.name, Health())
        judgement = judge(facts)
        states = {model: dict(known.states.get(model, {})) for model in instance.models}
        return {
            "open": judgement.open,
            "state": judgement.state,
            "words": judgement.words,
            "record": asdict(facts.record) if facts.record else None,
            "invocation": facts.invocation,
            "health": {"problem": facts.problem, "models": states},
        }

    def watch(self) -> None:
        """Begin to look at servers that nobody looks at yet."""
        for name in self.config.instances:
            if name not in self._watchers or not self._watchers[name].is_alive():
                self._watchers[name] = threading.Thread(target=self._look_on, args=(name,), daemon=True)
                self._watchers[name].start()

    @property
    def looked(self) -> bool:
        """Return whether every server that runs has been looked at."""
        return all(name in self.healths for name in self.config.instances)

    def _look_on(self, name: str) -> None:
        """Look at a server until the plan knows it no more."""
        while True:
            started = time.monotonic()
            instance = self.config.instances.get(name)
            if instance is None:
                self.healths.pop(name, None)
                return
            self.look(instance, started)
            time.sleep(max(0.0, started + healths.INTERVAL_S - time.monotonic()))

    def look(self, instance: Instance, now: float) -> None:
        """Look at a server once."""
        # Asked before and after: what was said in between was said by this process.
        invocation = self.marks.invocation(instance.name)
        if not invocation:
            self.healths[instance.name] = Health()
            return
        found = self.ask(instance.rest, list(instance.models), now)
        if self.marks.invocation(instance.name) != invocation:
            return
        before = self.healths.get(instance.name) or self._remembered(instance)
        after = healths.after(before, found, invocation, instance.models)
        if (after.whole, after.proven) != (before.whole, before.proven) and after.whole:
            self._remember(instance.name, after)
        self.healths[instance.name] = after

    def _remembered(self, instance: Instance) -> Health:
        """Return what a killed predecessor knew, so that a server in a swap of versions is not closed for it."""
        if not self.memory:
            return Health()
        try:
            found = plain_files.json_of(self._memory_of(instance.name), _MOST_BYTES)
        except (OSError, ValueError):
            return Health()
        if not plain_files.fits(found, _SHAPE):
            return Health()
        return Health(found["invocation"], proven=frozenset(found["models"]), whole=True)

    def _remember(self, name: str, known: Health) -> None:
        if self.memory:
            content: Mapping[str, Any] = {"invocation": known.invocation, "models": sorted(known.proven)}
            with suppress(OSError):  # a successor would have to see for itself
                durable.write(self._memory_of(name), json.dumps(content).encode())

    def _memory_of(self, name: str) -> str:
        return os.path.join(self.memory, f"{name}.json")
