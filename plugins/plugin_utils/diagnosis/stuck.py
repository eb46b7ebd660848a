# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a server without answers does, from two looks at all of its threads.

A deadlock uses no CPU time and its threads wait for each other (futex); a pool whose threads all wait leaves the rest
of the server alive; work that nobody stops, such as that of callers who gave up (tensorflow/serving#1265), fills a CPU.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from . import latencies

Kind = Literal[
    "working", "idle", "loading", "deadlock", "exhausted pool", "runaway work", "waiting for disk", "stopped", "unknown"
]

REQUESTS = ":tensorflow:serving:request_latency_count"
COUNTS = ":tensorflow:serving:request_count"
# A server without calls wakes up to look for new versions and to render its page: some milliseconds in ten seconds.
ASLEEP = 0.005
# A thread that runs without a pause, but for what others take of its CPU.
BUSY = 0.9
# Threads that wait for events or for the time are in no lock, whatever the others do.
POLLING = ("ep_poll", "poll_schedule", "do_poll", "hrtimer_nanosleep", "do_select", "do_sys_poll", "inet_csk_accept")
LOCKED = 0.8


@dataclass(frozen=True)
class Stuck:
    """What a server does. ``certain`` is False where something that would tell could not be read."""

    kind: Kind
    certain: bool
    text: str


def look(evidence: Mapping[str, Any], instance: str) -> Stuck:
    """Return what an instance's server did between the samples."""
    seen = _Seen.of(evidence, instance)
    if seen is None:
        return Stuck("unknown", False, "its threads could not be read twice")
    kind, certain = _kind(seen)
    locked = "" if seen.locked is None else f", {seen.locked:.0%} of those that wait for no events in a futex"
    done = "not known how many calls ended" if seen.finished is None else f"{seen.finished} calls ended"
    text = f"{seen.threads} threads used {seen.cpus:.2f} CPUs, {seen.busy} without a pause{locked}; {done}"
    return Stuck(kind, certain, text)


def _kind(seen: _Seen) -> tuple[Kind, bool]:
    if seen.finished:
        return "working", True
    if seen.stopped:
        return "stopped", True
    if seen.loading:
        return "loading", True
    if seen.busy or seen.cpus > BUSY:
        return "runaway work", seen.finished is not None
    if seen.on_disk:
        return "waiting for disk", True
    if seen.cpus > ASLEEP:
        return "unknown", False
    if not seen.wanted:
        # Nobody is known to wait. A server that does not answer at all has no excuse.
        return "idle", seen.finished is not None and seen.wanted is False
    return _standing(seen)


def _standing(seen: _Seen) -> tuple[Kind, bool]:
    """Return what stands still although callers wait."""
    if seen.answers:
        return "exhausted pool", True
    return "deadlock", seen.answers is False and (seen.locked or 0.0) >= LOCKED


@dataclass(frozen=True)
class _Seen:
    """What the threads did.

    ``cpus`` is the mean number of CPUs that they kept busy, ``busy`` those that ran all the time, ``locked`` the share
    in a futex of those that wait for no events, ``finished`` the calls that ended.
    """

    threads: int
    cpus: float
    busy: int
    locked: float | None
    on_disk: int
    stopped: bool
    """Whether all threads were stopped, by a signal or by a debugger."""
    finished: int | None
    loading: bool
    wanted: bool | None
    """Whether callers wait."""
    answers: bool | None
    """Whether some part of the server answers: the health service, or a question for a status."""

    @classmethod
    def of(cls, evidence: Mapping[str, Any], instance: str) -> _Seen | None:
        """Return what the evidence tells of an instance; None without its threads in both samples."""
        samples: Sequence[Any] = evidence.get("samples") or ()
        if len(samples) < 2:
            return None
        first, last = ((each.get("instances") or {}).get(instance) or {} for each in (samples[0], samples[-1]))
        pairs = _pairs(first.get("tasks") or (), last.get("tasks") or ())
        seconds = samples[-1]["at"] - samples[0]["at"]
        if not pairs or seconds <= 0:
            return None
        used = [max(0, after["cpu_us"] - before["cpu_us"]) / 1e6 / seconds for before, after in pairs]
        found = (evidence.get("instances") or {}).get(instance) or {}
        answers = _answers(found.get("probe") or {})
        return cls(
            threads=len(pairs),
            cpus=sum(used),
            busy=sum(share >= BUSY for share in used),
            locked=_locked(pairs),
            on_disk=sum(before["state"] == after["state"] == "D" for before, after in pairs),
            stopped=all(each["state"] in ("T", "t") for pair in pairs for each in pair),
            finished=_finished(first.get("metrics"), last.get("metrics"), found.get("probe") or {}),
            loading=_loading(found.get("models") or {}),
            wanted=_wanted(first, last, found.get("probe") or {}),
            answers=answers,
        )


Tasks = Sequence[Mapping[str, Any]]
Pairs = Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]


def _pairs(first: Tasks, last: Tasks) -> Pairs:
    known = {task["tid"]: task for task in first}
    return [(known[task["tid"]], task) for task in last if task["tid"] in known]


def _locked(pairs: Pairs) -> float | None:
    """Return the share of threads in a futex both times, of those that do not just wait for events."""
    told = [pair for pair in pairs if all(each.get("wchan") is not None for each in pair)]
    others = [pair for pair in told if not any(each["wchan"].startswith(POLLING) for each in pair)]
    if not others or not any(each["wchan"] for pair in told for each in pair):
        return None
    return sum(all(each["wchan"].startswith("futex") for each in pair) for pair in others) / len(others)


def _finished(before: Any, after: Any, probe: Mapping[str, Any]) -> int | None:
    """Return the calls that ended, well or not, without the questions of the diagnosis itself.

    A server that renders no page any more has let nothing be counted.
    """
    if before is None or after is None:
        return None
    every = latencies.counted(before, after, COUNTS)
    predicted = latencies.counted(before, after, REQUESTS, lambda labels: bool(labels.get("API")))
    if every is None:
        return None
    return round(max(predicted or 0, every - (probe.get("status_calls") or 0)))


def _loading(models: Mapping[str, Any]) -> bool:
    states = (state for model in models.values() for state in model.get("states") or ())
    return any(state.get("state") in ("START", "LOADING", "UNLOADING") for state in states)


def _wanted(first: Mapping[str, Any], last: Mapping[str, Any], probe: Mapping[str, Any]) -> bool | None:
    sockets = [each.get("sockets") for each in (first, last)]
    # One look may meet a call that is on its way.
    if all(each and (each.get("unread_bytes") or each.get("queued")) for each in sockets):
        return True
    # The question for a status was a caller too, and so was the page of metrics.
    if probe.get("error") or (last.get("metrics") is None and last.get("metrics_error")):
        return True
    return None if any(each is None for each in sockets) else False


def _answers(probe: Mapping[str, Any]) -> bool | None:
    told = [probe.get("grpc_health") == "SERVING" or probe.get("grpc_ms") is not None, probe.get("rest_ms") is not None]
    if any(told):
        return True
    return False if probe.get("error") or probe.get("grpc_error") else None
