# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The server runs and answers nothing: its threads wait for each other, or work on what nobody waits for."""

from __future__ import annotations

from dataclasses import replace

from ... import page, stuck
from ...case import Case
from ...derived import each_running, pool_size, whole
from ...finding import Fault, Judged, Remedy, Verdict
from ...instance import Instance
from ...reading import at, mapping
from ...verdicts import cleared, proof, unknown

# What a standstill is called, how sure it is where all of it could be read, and how much of the service it takes.
KINDS: dict[str, tuple[Verdict, float, float, str]] = {
    "deadlock": ("cause", 0.93, 1.0, "its threads wait for each other"),
    "exhausted pool": ("cause", 0.85, 0.8, "all threads of a pool hold a call that does not end"),
    "runaway work": ("cause", 0.8, 0.9, "it computes what nobody waits for"),
    "waiting for disk": ("suspect", 0.6, 0.8, "its threads wait for a disk"),
}
# Stopped by a signal, and by a tracer (proc(5)).
_STOPPED = ("T", "t")
# Loading a large model from a slow disk takes minutes.
STARTED_S = 600.0
# What could not be told from an idle or an overloaded server.
UNSURE = 0.5


def judge(case: Case) -> list[Judged]:
    """Judge each instance that runs."""
    return each_running(case, _judged)


def _judged(case: Case, instance: Instance) -> Judged | None:
    if not instance.tasks:
        return unknown("its threads could not be read twice", instance.name)
    probe = mapping(instance.evidence.get("probe"))
    if probe.get("grpc_ms") is not None and not _offers_rest(case, instance):
        return cleared("gRPC answers; REST alone is missing.", instance=instance.name)
    if all(after.get("state") in _STOPPED for _before, after in instance.tasks):
        return _stopped(case, instance)
    try:
        found = stuck.look(case.evidence, instance.name)
    except (AttributeError, KeyError, TypeError, ValueError):
        return unknown("its threads are written down in another form", instance.name)
    if found.kind == "unknown":
        return unknown(found.text, instance.name)
    if found.kind not in KINDS or (found.kind == "runaway work" and not found.certain and _answers(probe)):
        return cleared("Calls end, or nobody waits for one.", instance=instance.name)
    if not _is_open(case, instance) and (instance.process("age_s") or STARTED_S) < STARTED_S:
        return unknown("it is still starting: no port of it is open yet", instance.name)
    sure = _is_open(case, instance) and not (found.kind == "runaway work" and _has_long_calls(case, instance))
    return _found(case, instance, found if sure else replace(found, certain=False))


def _has_long_calls(case: Case, instance: Instance) -> bool:
    """Tell whether a call of its may well take longer than the samples lie apart: some have, or none has ended yet."""
    ever = page.Page({}, instance.last.get("metrics"))
    slowest = ever.bracket(page.LATENCY, 1.0)
    return slowest is None or slowest[1] / 1e6 >= (case.window_s or 0.0)


def _is_open(case: Case, instance: Instance) -> bool:
    """Tell whether a port of it is open, as far as is known; while its first versions load, and fail to, none is."""
    ports = {whole(instance, "port"), whole(instance, "rest_api_port")}
    return not case.listeners or any(row.get("port") in ports for row in case.listeners)


def _stopped(case: Case, instance: Instance) -> Judged:
    return Judged(
        "cause",
        0.97,
        (proof("/proc/PID/task/*/stat", "all threads in state T", "running or sleeping", case.window_s),),
        "Threads that wait for each other sleep; these were stopped by a signal, or by a debugger.",
        instance.name,
        impact=1.0,
        words="somebody stopped its process (SIGSTOP)",
    )


def _found(case: Case, instance: Instance, found: stuck.Stuck) -> Judged:
    verdict, confidence, impact, words = KINDS[found.kind]
    probe = mapping(instance.evidence.get("probe"))
    asked = ", ".join(f"{name} {probe.get(name)}" for name in ("grpc_health", "grpc_ms", "rest_ms"))
    return Judged(
        verdict if found.certain else "suspect",
        confidence if found.certain else UNSURE,
        (
            proof("/proc/PID/task/*/{stat,wchan}", found.text, "calls end", case.window_s),
            proof("a call to each port", asked, "an answer"),
        ),
        "An overloaded server ends calls, late as they may be; of this one none ended between two looks.",
        instance.name,
        impact=impact,
        words=words,
    )


def _answers(probe: object) -> bool:
    return at(probe, "grpc_ms") is not None or at(probe, "rest_ms") is not None


def _offers_rest(case: Case, instance: Instance) -> bool:
    """Tell whether REST is open, and has a thread that could answer."""
    port, size = whole(instance, "rest_api_port"), pool_size(instance, "REST")
    pid = instance.process("pid")
    rows = case.listeners
    is_open = not rows or any(row.get("port") == port and row.get("pid") in (pid, None) for row in rows)
    return is_open and (size is None or size > 0)


FAULT = Fault(
    id="model.stuck",
    title="The server answers nothing",
    layer="model",
    observable="calls wait and none ends",
    remedy=Remedy(
        "Keep this report, which has all threads, and start the instance again; report it with them if it comes back.",
        "systemctl restart tfserving@INSTANCE.service",
        "medium",
        restart=True,
    ),
    refs=(
        "https://github.com/tensorflow/serving/issues/1786",
        "https://github.com/tensorflow/serving/issues/1265",
    ),
    judge=judge,
)
