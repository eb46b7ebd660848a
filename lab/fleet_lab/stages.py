# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Stages of a command: one line for each, and a table of all at the end."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TextIO

from fleet_lab.errors import Stop

# A stage's name and its work, which puts the label it is given before every line of its output.
Shown = tuple[str, Callable[[str], object]]


@dataclass(frozen=True)
class Done:
    name: str
    began: float
    seconds: float
    note: str
    passed: bool = True

    @property
    def ended(self) -> float:
        return self.began + self.seconds


@dataclass
class Stages:
    """A run of stages, one after another or side by side; one that raises ends the run but is still in the table."""

    out: TextIO = field(default_factory=lambda: sys.stdout)
    clock: Callable[[], float] = time.monotonic
    done: list[Done] = field(default_factory=list)

    def run(self, name: str, work: Callable[[], str]) -> None:
        """Run a quiet stage; `work` returns a few words about what it did."""
        self._say(f"▸ {name} … ", end="")
        with self._timed(name) as result:
            result.append(work())

    def show(self, name: str, work: Callable[[], object]) -> None:
        """Run a stage whose own output goes to the terminal."""
        self._say(f"▸ {name}")
        with self._timed(name, f"▸ {name} … "):
            work()

    def show_all(self, stages: Sequence[Shown], at_once: int) -> None:
        """Run stages whose own output goes to the terminal, up to `at_once` side by side.

        After a failure no more are started; running ones are finished, so that they leave nothing behind.
        """
        labelled = min(at_once, len(stages)) > 1
        waiting, failures = iter(stages), []

        def work_off() -> None:
            for name, work in waiting:
                try:
                    self.show(name, partial(work, name if labelled else ""))
                except Stop as stop:
                    failures.append(stop)
                if failures:
                    return

        with ThreadPoolExecutor(at_once) as pool:
            workers = [pool.submit(work_off) for _ in range(at_once)]
        for worker in workers:
            worker.result()
        if failures:
            details = "\n".join(stop.details for stop in failures if stop.details)
            raise Stop("; ".join(str(stop) for stop in failures), details)

    def table(self) -> str:
        """Return all stages with their times, slowest first, and the total time from first to last."""
        width = max((len(stage.name) for stage in self.done), default=0)
        width = max(width, len("total"))
        slowest_first = sorted(self.done, key=lambda stage: -stage.seconds)
        lines = [f"{stage.name:<{width}}  {stage.seconds:7.1f} s  {stage.note}".rstrip() for stage in slowest_first]
        ends, begins = [stage.ended for stage in self.done], [stage.began for stage in self.done]
        total = max(ends, default=0.0) - min(begins, default=0.0)
        return "\n".join([*lines, f"{'total':<{width}}  {total:7.1f} s"])

    @contextmanager
    def _timed(self, name: str, prefix: str = "") -> Iterator[list[str]]:
        """Time the body, record how it ends, and print both after a prefix."""
        began = self.clock()
        result: list[str] = []
        passed = False
        try:
            yield result
            passed = True
        except Stop:
            result.append("failed")
            raise
        except BaseException:
            result.append("interrupted")
            raise
        finally:
            stage = Done(name, began, self.clock() - began, "".join(result), passed)
            self.done.append(stage)
            self._say(f"{prefix}{stage.seconds:.1f} s  {stage.note}".rstrip())

    def _say(self, text: str, end: str = "\n") -> None:
        self.out.write(text + end)  # at once: print() writes the end of a line apart
        self.out.flush()
