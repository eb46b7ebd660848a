# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A batch takes as long as its rows one after another, so that forming it only adds waiting."""

from __future__ import annotations

from collections.abc import Sequence

from ... import batched
from ...case import Case
from ...derived import MAIN_PART, keeps_objective, part, weighed
from ...finding import Fault, Judged, Proof, Remedy
from ...instance import Instance
from ...verdicts import cleared, percent, proof, unknown

Point = tuple[float, float]
# A batch pays through what it spends once, whatever its rows: below a fifth of its time there is nothing to save.
FIXED = 0.2
# Two points nearer than this do not tell a slope from noise.
APART = 1.5
# Waiting that is less than this part of the latency is not worth a change.
WAITING = 0.2


def judge(case: Case) -> list[Judged]:
    """Judge each instance that forms batches."""
    return batched.each_batching(case, _judged)


def _judged(case: Case, instance: Instance, batching: batched.Batching) -> Judged:
    found = batched.measured(instance, batching)
    execution = instance.execution_ms
    if found is None or execution is None:
        return unknown("its metrics do not tell how batches were formed", instance.name)
    own = execution * found.request_rows / found.rows if found.rows else execution
    added = part(case, instance, found.queue_ms + max(execution - own, 0.0))
    waits = proof("queuing_latency, runtime_latency", f"{percent(added)} of the latency is the batch", "little")
    if found.requests < APART or found.busy or (added or 0.0) < WAITING:
        return cleared(
            "Batches hold few requests, or their threads are busy and need them.", waits, instance=instance.name
        )
    fixed = _fixed(_points(case, instance))
    if fixed is None:
        return _suspected(case, instance, found.queue_ms, waits)
    slope = proof("batches of other sizes", f"{percent(fixed)} of a batch's time is spent once", "over 20 %")
    if fixed >= FIXED:
        return cleared("A batch is cheaper than its requests one by one.", waits, slope, instance=instance.name)
    return Judged(
        weighed(case, instance, added),
        0.85,
        (waits, slope),
        "The time of batches of different sizes, of this host, its peers and another day, grows with their rows.",
        instance.name,
        share=added,
    )


def _suspected(case: Case, instance: Instance, queue_ms: float, waits: Proof) -> Judged:
    """Suspect it on CPUs alone, where a row costs the same in a batch as outside, and requests wait for batches."""
    if instance.plan.get("gpus"):
        return cleared("A GPU computes the rows of a batch side by side.", instance=instance.name)
    share = part(case, instance, queue_ms)
    if share is None or share < MAIN_PART or keeps_objective(case, instance):
        return cleared("Requests wait little for their batches.", waits, instance=instance.name)
    words = "No batches of another size are known; a benchmark without batching would tell."
    return Judged("suspect", 0.4, (waits,), words, instance.name, share=share)


def _points(case: Case, instance: Instance) -> list[Point]:
    """Return rows and time of batches: here, at peers, and on another day."""
    cases = [case, *case.peers, *([case.yesterday] if case.yesterday else [])]
    found = (each.instance(instance.name) for each in cases)
    return [point for other in found if other and (point := _point(other))]


def _point(instance: Instance) -> Point | None:
    rows, execution = batched.rows_per_batch(instance), instance.execution_ms
    return None if rows is None or execution is None else (rows, execution)


def _fixed(points: Sequence[Point]) -> float | None:
    """Return the part of the first point's time that does not grow with its rows, None where sizes are too alike."""
    if len(points) < 2:
        return None
    small, large = min(points), max(points)
    if large[0] < APART * small[0]:
        return None
    for_a_row = (large[1] - small[1]) / (large[0] - small[0])
    return max(small[1] - for_a_row * small[0], 0.0) / max(points[0][1], 1e-9)


FAULT = Fault(
    id="batching.slower",
    title="Batching makes requests slower",
    layer="configuration",
    observable="a batch takes as long as its requests one by one",
    remedy=Remedy(
        "Turn batching off for this instance, and compare: playbooks/benchmark.yml against the run before.",
        "tfserving_instances: [{name: INSTANCE, batching: {enabled: false}}]; "
        "ansible-playbook playbooks/site.yml --limit HOST",
        "low",
        restart=True,
    ),
    refs=(
        "https://github.com/tensorflow/serving/issues/416",
        "https://github.com/tensorflow/serving/issues/1312",
    ),
    judge=judge,
)
