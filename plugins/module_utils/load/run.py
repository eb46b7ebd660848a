# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""One stage from its description to its result: ``OUT/status.json`` once a second, ``OUT/result.json`` at the end."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from . import counters, h2load
from .crew import LOOK_S, OVERTIME_S, READY_S, Crew, clock
from .outcome import write_result, write_status
from .signals import Signals
from .spec import BadSpecError, Spec, read
from .tally import Count, Series

SCHEMA = 1
DONE, FAILED, REFUSED, INTERRUPTED = 0, 1, 2, 3


def run(spec_path: Path, out: Path) -> int:
    """Run a stage and return the exit code: 0 done, 1 failed, 2 refused, 3 interrupted."""
    try:
        spec = read(spec_path)
        out.mkdir(parents=True, exist_ok=True)
    except BadSpecError as error:
        return _refuse(str(error))
    except OSError as error:
        return _refuse(f"{out} cannot be written: {(error.strerror or 'unknown error').lower()}")
    if spec["engine"] == "h2load":
        return h2load.run(spec, out)
    with Signals() as signals:
        return Stage(spec, out, signals).run()


def _refuse(sentence: str) -> int:
    print(sentence, file=sys.stderr)
    return REFUSED


class Stage:
    """A stage as it runs."""

    def __init__(self, spec: Spec, out: Path, signals: Signals) -> None:
        self._spec = spec
        self._out = out
        self._crew = Crew()
        self._series = Series()
        self._measured = Count()
        self._warmup = Count()
        self._problems: list[str] = []
        self._signals = signals
        self._began = 0.0  # on the clock of all processes
        self._began_unix = 0.0

    def run(self) -> int:
        """Run it, write its result, and return the exit code."""
        self._crowded()
        before = self._counters()
        try:
            code = self._load()
        finally:
            self._crew.end()
        wait_s = self._spec["timeout_s"] if code == DONE and self._is_given_up() else 0.0
        after = self._counters(wait_s) if before is not None else None
        both = {"before": before, "after": after} if before is not None and after is not None else None
        write_result(self._out, self._result(both), self._series.rows())
        for sentence in self._problems if code == FAILED else ():
            print(sentence, file=sys.stderr)
        return code

    def _crowded(self) -> None:
        processes, cpus = self._spec["processes"], len(os.sched_getaffinity(0))
        if processes > cpus:
            self._problems.append(f"{processes} processes of the load generator share {cpus} CPUs")

    def _is_given_up(self) -> bool:
        """Return whether the server may still hold requests for which nobody waits."""
        return any(count.sent > count.answered for count in (self._measured, self._warmup))

    def _counters(self, wait_s: float = 0.0) -> dict[str, int] | None:
        if not self._spec["target"]["metrics"]:
            return None
        models = sorted({request["model"] for request in self._spec["requests"]})
        try:
            return counters.settled(self._spec["target"], models, wait_s)
        except ValueError as error:
            self._problems.append(f"the server's counters cannot be compared: {error}")
            return None

    def _load(self) -> int:
        self._crew.start(self._spec)
        if not self._ready():
            return self._failed()
        self._begin()
        self._listen(self._began + self._length + self._spec["timeout_s"] + OVERTIME_S)
        if self._signals.came:
            self._problems.append(f"interrupted after {max(clock() - self._began, 0):.1f} s")
            self._crew.tell("stop")
            self._listen(clock() + OVERTIME_S)
            self._problems += self._crew.faults
            return INTERRUPTED
        return self._failed() if self._crew.faults else DONE

    def _failed(self) -> int:
        if self._signals.came and not self._crew.faults:
            self._problems.append("interrupted after 0.0 s")
            return INTERRUPTED
        self._problems += self._crew.faults or [f"the load generator was not ready within {READY_S:g} s"]
        return FAILED

    def _ready(self) -> bool:
        """Return whether all workers are ready to start."""
        until = clock() + READY_S
        while clock() < until and not self._crew.faults and not self._signals.came:
            for _ in self._crew.hear(LOOK_S):
                pass
            if all(worker.ready for worker in self._crew.workers):
                return True
        return False

    def _begin(self) -> None:
        self._began = clock() + self._spec["start_in_s"]
        self._began_unix = time.time() + self._spec["start_in_s"]
        self._crew.tell("start", self._began)

    @property
    def _length(self) -> float:
        return self._spec["warmup_s"] + self._spec["duration_s"]

    def _listen(self, until: float) -> None:
        """Count what workers say until all have ended, a signal comes, or a moment has passed."""
        came = self._signals.came
        stopped = False
        next_status = self._began + 1
        while not self._crew.ended and self._signals.came == came:
            for _, said in self._crew.hear(LOOK_S):
                if said[0] == "counted":
                    self._count(*said[1:])
            if self._crew.faults and not stopped:
                stopped = True
                self._crew.tell("stop")
                until = min(until, clock() + OVERTIME_S)
            if clock() > until:
                self._crew.overdue()
            if clock() >= next_status:
                next_status += 1
                self._status()

    def _count(self, counts: list[tuple[tuple[int, bool], Count]], seen: tuple[int, int]) -> None:
        for (second, measured), count in counts:
            self._series.add(second, count)
            (self._measured if measured else self._warmup).add(count)
        self._series.see(*seen)

    def _status(self) -> None:
        passed = clock() - self._began
        found = self._measured
        status = {
            "t": round(passed, 1),
            "of": self._length,
            "phase": "warmup" if passed < self._spec["warmup_s"] else "measure",
            "offered": found.offered + self._warmup.offered,
            "ok": found.ok + self._warmup.ok,
            "errors": found.failed + self._warmup.failed,
            "late": found.late + self._warmup.late,
            "p99_us": found.histogram.quantile(0.99) if found.histogram.total else None,
        }
        write_status(self._out, status)

    def _result(self, counted: dict[str, Any] | None) -> dict[str, Any]:
        spec, found, warmup = self._spec, self._measured, self._warmup
        return {
            "schema": SCHEMA,
            "engine": "own",
            "protocol": spec["protocol"],
            "began": self._began_unix,
            "warmup_s": spec["warmup_s"],
            "duration_s": spec["duration_s"],
            "rate": spec["rate"],
            "offered": found.offered,
            "sent": found.sent,
            "answered": found.answered,
            "ok": found.ok,
            "errors": found.errors,
            "late": found.late,
            "items": found.items,
            "cpu": [worker.share for worker in self._crew.workers],
            "rss_mb": [worker.peak for worker in self._crew.workers],
            "counters": counted,
            "all": {"sent": found.sent + warmup.sent, "ok": found.ok + warmup.ok},
            "histogram": found.histogram.to_json(),
            "problems": self._problems,
            "step_s": self._series.step_s,
        }
