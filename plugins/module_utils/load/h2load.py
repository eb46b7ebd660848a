# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The engine for rates beyond Python's: h2load of the package nghttp2-client, with the same result as the own one.

h2load sends one body again and again and looks at nothing but the HTTP status, so its result says what it cannot know.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from . import counters, h2load_log
from .h2load_command import PROGRAM, H2loadError, Plan, body_of, command, heaviest, planned
from .h2load_log import GRACE_S
from .histogram import Histogram
from .outcome import write_result, write_status
from .replies import shown
from .signals import Signals
from .tally import Count, Series

# Exit codes of the program.
DONE, REFUSED, INTERRUPTED = 0, 2, 3

LOOK_S = 1.0
MOST_OUTPUT_BYTES = 16 * 1024


def run(spec: Mapping[str, Any], out: Path) -> int:
    """Run a stage, write ``status.json`` and ``result.json`` into ``out``, and return the exit code of the program."""
    try:
        with Signals() as signals:
            found = measure(spec, out, lambda status: write_status(out, status), lambda: signals.came)
    except H2loadError as error:
        print(error, file=sys.stderr)
        return REFUSED
    write_result(out, found, found.pop("seconds"))
    return INTERRUPTED if signals.came else DONE


def measure(
    spec: Mapping[str, Any],
    folder: Path,
    tell: Callable[[dict[str, Any]], None],
    stopped: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """Run a stage and return its result. ``tell`` gets the stage's status once a second; files go to ``folder``.

    Once ``stopped`` returns true, the run ends, and the result is that of the requests so far. Raises H2loadError if
    h2load is missing or cannot run such a stage.
    """
    if shutil.which(PROGRAM) is None:
        raise H2loadError("h2load is not on this host; install the package nghttp2-client")
    number, request = heaviest(spec["requests"])
    plan = planned(spec, int(request["items"]))
    body = folder / "h2load.body"
    body.write_bytes(body_of(spec["protocol"], request))
    commands = [
        command(spec, request, plan, str(body), str(folder / f"h2load-{place}.log"))
        for place in range(int(spec["processes"]))
    ]
    models = [str(request["model"])]
    before, missing = _counters(spec, models)
    processes = _run(commands, folder, plan, tell, stopped)
    found = _result(spec, plan, processes)
    wait_s = float(spec["timeout_s"]) if found["sent"] > found["answered"] and not stopped() else 0.0
    after, missing_after = _counters(spec, models, wait_s) if before is not None else (None, "")
    found["counters"] = {"before": before, "after": after} if before is not None and after is not None else None
    found["problems"] = [*_limits(spec, number), *found["problems"], *filter(None, (missing, missing_after))]
    if spec["protocol"] == "grpc":
        found["problems"] += take_failures(found)
    for process in processes:
        with suppress(OSError):
            os.unlink(process.log)
    return found


def _counters(spec: Mapping[str, Any], models: Sequence[str], wait_s: float = 0.0) -> tuple[dict[str, int] | None, str]:
    if not spec["target"].get("metrics"):
        return None, "the server has no page of metrics, so its counts are not compared"
    try:
        return counters.settled(spec["target"], models, wait_s), ""
    except counters.CountersError as error:
        return None, str(error)


# --- the processes -------------------------------------------------------------------------------------------


@dataclass
class Process:
    """One h2load: ``cpu`` is its share of a CPU, ``rss_mb`` its memory."""

    handle: subprocess.Popen[bytes]
    log: str
    output: str
    since: float
    ended: bool = False
    cpu: float = 0.0
    rss_mb: float = 0.0
    problem: str = ""

    def look(self) -> bool:
        """Return whether it still runs, and keep what it used once it does not."""
        if not self.ended:
            pid, status, used = os.wait4(self.handle.pid, os.WNOHANG)
            self.ended = pid != 0
            if self.ended:
                self.handle.returncode = os.waitstatus_to_exitcode(status)
                self.cpu = (used.ru_utime + used.ru_stime) / max(time.monotonic() - self.since, 1e-3)
                self.rss_mb = used.ru_maxrss / 1024
        return not self.ended

    def kill(self) -> None:
        """End it, if it still runs."""
        if self.look():
            self.handle.kill()
            while self.look():
                time.sleep(0.01)


def _run(
    commands: Sequence[Sequence[str]],
    folder: Path,
    plan: Plan,
    tell: Callable[[dict[str, Any]], None],
    stopped: Callable[[], bool],
) -> list[Process]:
    """Run all processes to their ends, or to the moment after which no reply is awaited any more."""
    processes: list[Process] = []
    try:
        for place, each in enumerate(commands):
            processes.append(_start(each, str(folder / f"h2load-{place}")))
        progress = Progress(plan, processes)
        while any([process.look() for process in processes]):
            passed = time.monotonic() - progress.since
            is_stopped = stopped()
            if is_stopped or passed > plan.due.seconds + plan.due.timeout + GRACE_S:
                words = (
                    f"interrupted after {passed:.1f} s" if is_stopped else "h2load did not end in time and was ended"
                )
                for process in processes:
                    process.problem = "" if process.ended else words
                break
            time.sleep(LOOK_S)
            tell(progress.status())
        tell(progress.status())
    finally:
        for process in processes:
            process.kill()
    return processes


def _start(command: Sequence[str], base: str) -> Process:
    output, log = f"{base}.txt", f"{base}.log"
    Path(log).write_bytes(b"")
    with open(output, "wb") as handle:
        started = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=handle, stderr=subprocess.STDOUT)
    return Process(started, log, output, time.monotonic())


class Progress:
    """What the logs say so far."""

    def __init__(self, plan: Plan, processes: Sequence[Process]) -> None:
        self.plan = plan
        self.logs = {process.log: 0 for process in processes}
        self.since = time.monotonic()
        self.first = 0
        self.rows = self.ok = 0
        self.latencies = Histogram()

    def status(self) -> dict[str, Any]:
        """Return the status of the stage. Latencies are those from sending, late requests are not known yet."""
        for log in self.logs:
            self._read(log)
        passed = time.monotonic() - self.since
        return {
            "t": round(passed, 1),
            "of": self.plan.due.seconds,
            "phase": "warmup" if passed < self.plan.due.warmup else "measure",
            "offered": self.rows,
            "ok": self.ok,
            "errors": self.rows - self.ok,
            "late": None,
            "p99_us": self.latencies.quantile(0.99) if self.latencies.total else None,
        }

    def _read(self, log: str) -> None:
        with open(log, "rb") as handle:
            handle.seek(self.logs[log])
            for line in handle:
                if not line.endswith(b"\n"):
                    break
                self.logs[log] += len(line)
                self._count(h2load_log.row(line))

    def _count(self, row: h2load_log.Row | None) -> None:
        if row is None:
            return
        self.first = self.first or row.start
        is_ok = 200 <= row.status < 300
        self.rows += 1
        self.ok += is_ok
        if is_ok and row.start - self.first >= self.plan.due.warmup * 1e6:
            self.latencies.record(row.duration)


# --- the result ----------------------------------------------------------------------------------------------


def _result(spec: Mapping[str, Any], plan: Plan, processes: Sequence[Process]) -> dict[str, Any]:
    firsts = [h2load_log.first(process.log) for process in processes]
    began = min(filter(None, firsts), default=int(time.time() * 1e6))
    series, warm, measured = Series(), Count(), Count()
    read = []
    for process, first in zip(processes, firsts):
        due = plan.due if not process.problem else replace(plan.due, count=0)
        read.append(h2load_log.count(process.log, due, first, began, series))
        warm.add(read[-1].warm)
        measured.add(read[-1].measured)
    return {
        "schema": 1,
        "engine": PROGRAM,
        "protocol": spec["protocol"],
        "began": began / 1e6,
        **{key: spec[key] for key in ("warmup_s", "duration_s", "rate")},
        **{key: getattr(measured, key) for key in ("offered", "sent", "answered", "ok", "errors", "late", "items")},
        "cpu": [round(process.cpu, 4) for process in processes],
        "rss_mb": [round(process.rss_mb, 1) for process in processes],
        "all": {"sent": warm.sent + measured.sent, "ok": warm.ok + measured.ok},
        "histogram": measured.histogram.to_json(),
        "seconds": list(series.rows()),
        "step_s": series.step_s,
        "problems": _problems(processes, read),
    }


def _problems(processes: Sequence[Process], read: Sequence[h2load_log.Read]) -> list[str]:
    found = sorted({process.problem for process in processes if process.problem})
    for process in processes:
        if process.handle.returncode and not process.problem:
            found.append(f"h2load ended with {process.handle.returncode}: {_last_words(process.output)}")
    unsent = sum(each.unsent for each in read)
    if unsent:
        found.append(
            f"{unsent} requests have no reply or were never sent, because connections broke or could not be made; "
            "latencies after that count from too early a moment"
        )
    unreadable = sum(each.unreadable for each in read)
    return [*found, f"{unreadable} lines of h2load's log cannot be read"] if unreadable else found


def _last_words(output: str) -> str:
    with open(output, "rb") as handle:
        handle.seek(max(os.path.getsize(output) - MOST_OUTPUT_BYTES, 0))
        lines = handle.read().decode("utf-8", "replace").strip().splitlines()
    return shown(lines[-1]) if lines else "it said nothing"


def _limits(spec: Mapping[str, Any], number: int) -> list[str]:
    """Return in sentences what h2load cannot do of what the stage asks for."""
    requests = spec["requests"]
    found = ["h2load does not look into replies, so neither outputs nor values are checked"]
    if len(requests) > 1:
        found.append(f"h2load sends one body: request {number + 1} of {len(requests)}, the one of the largest weight")
    if spec["arrivals"] != "constant":
        found.append("h2load sends at constant intervals, not with Poisson arrivals")
    if spec["target"].get("tls"):
        found.append("h2load does not check the server's certificate")
    return found


def take_failures(result: dict[str, Any]) -> list[str]:
    """Take the requests that failed within gRPC out of the good ones, by the server's counts; return remarks.

    Such a reply has the HTTP status 200, which is all that h2load looks at. Which of the latencies are theirs is
    unknown, and so is whether they fell into the warm-up: all are counted.
    """
    held = result["counters"]
    if held is None:
        return ["requests that failed within gRPC count as good ones, since the server's counts are not known"]
    failures = sum(
        number for status, number in counters.grown(held["before"], held["after"]).items() if status != counters.OK
    )
    taken = min(max(failures, 0), result["all"]["ok"])
    if not taken:
        return []
    of_measured = min(taken, result["ok"])
    per_request = result["items"] // result["ok"] if result["ok"] else 0
    result["errors"] = {**result["errors"], "grpc_failures": of_measured}
    result["ok"] -= of_measured
    result["items"] -= of_measured * per_request
    result["all"]["ok"] -= taken
    return [
        f"{taken} requests failed within gRPC by the server's counts; their latencies are among those of the others"
    ]
