# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The server runs and answers nothing: its threads wait for each other, or work on what nobody waits for."""

from __future__ import annotations

from collections.abc import Sequence

from ...case import Case
from ...derived import each_running, pool_size, whole
from ...finding import Fault, Judged, Proof, Remedy
from ...instance import Instance
from ...reading import at, growth, total
from ...verdicts import cleared, percent, proof, unknown

# All threads together: less than this is a timer of the runtime's, not a request.
STILL_US_PER_S = 2_000.0
# Of its CPUs: work that ends nothing.
BUSY = 0.5
_FUTEX = "futex"


def judge(case: Case) -> list[Judged]:
    """Judge each instance that runs."""
    return each_running(case, _judged)


def _judged(case: Case, instance: Instance) -> Judged | None:
    probe = instance.evidence.get("probe")
    if probe is None:
        return unknown("nobody asked it for an answer", instance.name)
    if _answers(probe):
        return cleared("It answers.", _asked(probe), instance=instance.name)
    if not instance.tasks:
        return unknown("its threads could not be read", instance.name)
    if not _listens(case, instance):
        return cleared("Its ports are closed: it is still loading, or REST alone is missing.", instance=instance.name)
    return _kind(case, instance, _asked(probe))


def _answers(probe: object) -> bool:
    answered = at(probe, "grpc_ms") is not None or at(probe, "rest_ms") is not None
    return answered or at(probe, "grpc_health") == "SERVING"


def _asked(probe: object) -> Proof:
    words = ", ".join(f"{name} {at(probe, name)}" for name in ("grpc_health", "grpc_ms", "rest_ms"))
    return proof("a call to each port", words, "an answer")


def _listens(case: Case, instance: Instance) -> bool:
    rows = case.fact("listeners")
    if not isinstance(rows, (list, tuple)):
        return True
    return any(at(row, "port") == whole(instance, "port") for row in rows)


def _kind(case: Case, instance: Instance, asked: Proof) -> Judged:
    spent = instance.rate(total(growth(before.get("cpu_us"), after.get("cpu_us")) for before, after in instance.tasks))
    waiting = _waiting(instance)
    evidence = (
        asked,
        proof("/proc/PID/task/*/stat", f"{(spent or 0.0) / 1e6:.3g} CPUs used", "some", case.window_s),
        proof("/proc/PID/task/*/wchan", f"{percent(waiting)} of {len(instance.tasks)} threads wait in futex", "fewer"),
    )
    if spent is not None and spent < STILL_US_PER_S:
        test = "An overloaded server computes; of this one no thread ran between two looks."
        return Judged("cause", 0.93, evidence, test, instance.name, impact=1.0, words=_words(instance))
    if spent is not None and spent / 1e6 >= BUSY * max(len(instance.cpus), 1) and not instance.used:
        test = "It computes and ends no request: work of callers that have gone, or a loop."
        return Judged("cause", 0.8, evidence, test, instance.name, impact=1.0, words="work runs away")
    test = "Some of its threads work; a third look tells whether the same ones do."
    return Judged("suspect", 0.6, evidence, test, instance.name, impact=0.9)


def _waiting(instance: Instance) -> float:
    return sum(_FUTEX in str(after.get("wchan", "")) for _before, after in instance.tasks) / len(instance.tasks)


def _words(instance: Instance) -> str:
    sizes: Sequence[int | None] = [pool_size(instance, "GRPC"), pool_size(instance, "REST")]
    held = " and ".join(str(size) for size in sizes if size is not None)
    return f"its threads wait for each other, or all of a pool ({held}) hold a request"


FAULT = Fault(
    id="model.stuck",
    title="The server answers nothing",
    layer="model",
    observable="calls to open ports are not answered",
    remedy=Remedy(
        "Keep this report, which has all threads, and start the instance again; report it with them if it comes back.",
        "systemctl restart tfserving@INSTANCE.service",
        "medium",
        restart=True,
    ),
    refs=("https://github.com/tensorflow/serving/issues/1786",),
    judge=judge,
    needs=("probe", "tasks"),
)
