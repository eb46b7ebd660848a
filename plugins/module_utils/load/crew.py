# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The worker processes of a stage: started, brought to a common start, heard, and ended whatever happens.

Each is a fresh Python, not a fork: grpc does not survive one.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any

from .spec import Spec
from .worker import Job, main

# Starting a Python and opening connections: longer than every time limit in there.
READY_S = 60.0
# What a worker may take beyond the end of a stage and its time-out.
OVERTIME_S = 30.0
# How often the parent looks around, in s, when nothing is said.
LOOK_S = 0.2
# How long, in s, a process whose pipe is closed may take to be dead; it is within milliseconds, but on a busy machine.
DYING_S = 10.0


@dataclass
class Worker:
    """One process: ``share`` of a CPU and ``peak`` MB are known when it is done, ``fault`` when it failed."""

    process: Any
    pipe: Connection
    ready: bool = False
    done: bool = False
    share: float = 0.0
    peak: float = 0.0
    fault: str = ""

    @property
    def ended(self) -> bool:
        """Nothing more will come from it."""
        return self.done or bool(self.fault)


@dataclass
class Crew:
    """All workers of a stage."""

    workers: list[Worker] = field(default_factory=list)

    def start(self, spec: Spec) -> None:
        """Start one process for each part of the stage, each on a CPU of its own as far as there are enough."""
        context = multiprocessing.get_context("spawn")
        cpus = sorted(os.sched_getaffinity(0))
        for number in range(spec["processes"]):
            ours, theirs = context.Pipe()
            cpu = cpus[number % len(cpus)] if len(cpus) > 1 else None
            process = context.Process(target=main, args=(theirs, Job(number, cpu, spec)), daemon=True)
            process.start()
            theirs.close()
            self.workers.append(Worker(process, ours))

    def hear(self, timeout: float) -> Iterator[tuple[Worker, tuple[Any, ...]]]:
        """Yield what workers say within a time in s. One that dies, or fails, gets its ``fault``."""
        there = {worker.pipe: worker for worker in self.workers if not worker.ended}
        for pipe in wait(list(there), timeout):
            worker = there[pipe]  # type: ignore[index]
            try:
                word, *rest = worker.pipe.recv()
            except (EOFError, OSError):
                worker.process.join(DYING_S)
                worker.fault = f"a process of the load generator died ({_ending(worker.process.exitcode)})"
                continue
            self._note(worker, word, rest)
            yield worker, (word, *rest)

    def _note(self, worker: Worker, word: str, rest: list[Any]) -> None:
        if word == "ready":
            worker.ready = True
        elif word == "failed":
            worker.fault = rest[0]
        elif word == "done":
            worker.done, worker.share, worker.peak = True, *rest

    def tell(self, *words: Any) -> None:
        """Say something to all workers."""
        for worker in self.workers:
            if not worker.ended:
                try:
                    worker.pipe.send(words)
                except OSError:  # it died: ``hear`` finds out
                    continue

    def overdue(self) -> None:
        """Wait no longer for the workers that still run: ``end`` ends them."""
        for worker in self.workers:
            if not worker.ended:
                worker.fault = "a process of the load generator did not end in time"

    @property
    def faults(self) -> list[str]:
        """What went wrong, each sentence once."""
        return list(dict.fromkeys(worker.fault for worker in self.workers if worker.fault))

    @property
    def ended(self) -> bool:
        """Whether all workers have ended."""
        return all(worker.ended for worker in self.workers)

    def end(self) -> None:
        """End the workers that still run."""
        for worker in self.workers:
            worker.pipe.close()
        for worker in self.workers:
            worker.process.join(LOOK_S)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()


def _ending(code: int | None) -> str:
    if code is None:
        return "it no longer answers"
    return f"signal {-code}" if code < 0 else f"exit status {code}"


def clock() -> float:
    """Return the moment in s on the clock that all processes share."""
    return time.monotonic()
