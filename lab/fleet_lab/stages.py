# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""One line a stage, and a table of all of them at the end."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TextIO

from fleet_lab.errors import Stop


@dataclass(frozen=True)
class Done:
    name: str
    seconds: float
    note: str
    passed: bool = True


@dataclass
class Stages:
    """Runs stages one after another; a stage that raises ends the run, and is still in the table."""

    out: TextIO = field(default_factory=lambda: sys.stdout)
    clock: Callable[[], float] = time.monotonic
    done: list[Done] = field(default_factory=list)

    def run(self, name: str, work: Callable[[], str]) -> None:
        """Runs a quiet stage; `work` returns a few words on what it did."""
        self._say(f"▸ {name} … ", end="")
        with self._timed(name) as result:
            result.append(work())
        self._say(_outcome(self.done[-1]))

    def show(self, name: str, work: Callable[[], object]) -> None:
        """Runs a stage whose own output goes to the terminal."""
        self._say(f"▸ {name}")
        with self._timed(name):
            work()
        self._say(f"▸ {name} … {_outcome(self.done[-1])}")

    def table(self) -> str:
        """All stages with their times, and the sum."""
        width = max((len(stage.name) for stage in self.done), default=0)
        width = max(width, len("total"))
        lines = [f"{stage.name:<{width}}  {stage.seconds:7.1f} s  {stage.note}".rstrip() for stage in self.done]
        total = sum(stage.seconds for stage in self.done)
        return "\n".join([*lines, f"{'total':<{width}}  {total:7.1f} s"])

    @contextmanager
    def _timed(self, name: str) -> Iterator[list[str]]:
        start = self.clock()
        result: list[str] = []
        try:
            yield result
        except BaseException as error:
            note = "failed" if isinstance(error, Stop) else "interrupted"
            self.done.append(Done(name, self.clock() - start, note, passed=False))
            self._say(_outcome(self.done[-1]))
            raise
        self.done.append(Done(name, self.clock() - start, "".join(result)))

    def _say(self, text: str, end: str = "\n") -> None:
        print(text, end=end, file=self.out, flush=True)


def _outcome(stage: Done) -> str:
    return f"{stage.seconds:.1f} s  {stage.note}".rstrip()
