# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Requests are computed whose callers have given up."""

from __future__ import annotations

from ...case import Case
from ...derived import busy_part, each_used, ended_as
from ...finding import Fault, Judged, Remedy
from ...instance import Instance
from ...verdicts import cleared, percent, proof, unknown
from ..configuration import rest_time_limit

# One request in a hundred that its caller does not wait for is work worth saving.
LATE, MANY = 0.01, 0.05
BUSY = 0.5


def judge(case: Case) -> list[Judged]:
    """Judge each instance that answers requests."""
    return each_used(case, _judged)


def _judged(case: Case, instance: Instance) -> Judged | None:
    late = instance.failed_ratio("DEADLINE_EXCEEDED", "CANCELLED")
    if late is None:
        return unknown("its page counts no requests", instance.name)
    busy = busy_part(instance)
    evidence = (
        ended_as(case, late, "DEADLINE_EXCEEDED"),
        proof("/proc/PID/stat", f"its CPUs {percent(busy)} busy", "idle without callers", case.window_s),
    )
    if late < LATE:
        return cleared("Callers wait for their answers.", *evidence, instance=instance.name)
    if rest_time_limit.limits(instance):
        return cleared("The server's own limit for REST ends these requests.", *evidence, instance=instance.name)
    works = busy is None or busy >= BUSY
    if works and late < MANY:
        # Callers that hedge take calls back as a matter of course.
        return Judged("contributor", 0.6, evidence, "Few calls end so.", instance.name, impact=late)
    return Judged(
        "cause" if works else "suspect",
        0.85 if works else 0.5,
        evidence,
        "The server's limit for REST is far above the slowest answer, so that callers set the time.",
        instance.name,
        impact=0.5 + late / 2,
    )


FAULT = Fault(
    id="model.late_work",
    title="The server computes for callers that have gone",
    layer="model",
    observable="requests end as DEADLINE_EXCEEDED while CPUs are busy",
    remedy=Remedy(
        "Refuse early what cannot be answered in time: a shorter batch queue, and limits at the gateway.",
        "gateway_maxconn: {BACKEND: NUMBER}; gateway_rate_limit; "
        "tfserving_instances: [{name: INSTANCE, batching: {max_enqueued_batches: NUMBER}}]",
        "low",
        restart=True,
    ),
    refs=("https://github.com/tensorflow/serving/issues/1265",),
    judge=judge,
)
