# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Calls by REST end at the server's own time limit, which callers by gRPC do not have."""

from __future__ import annotations

from ... import page
from ...case import Case
from ...derived import each_used, ended_as, whole
from ...finding import Fault, Judged, Remedy
from ...instance import Instance
from ...verdicts import cleared, ms, proof, unknown

DEFAULT_MS = 30_000
LATE = 0.001
# A bucket is this much wider than the one before it.
_FACTOR = 1.8


def judge(case: Case) -> list[Judged]:
    """Judge each instance that answers requests."""
    return each_used(case, _judged)


def _judged(case: Case, instance: Instance) -> Judged | None:
    late = instance.failed_ratio("DEADLINE_EXCEEDED")
    if late is None:
        return unknown("its page counts no requests", instance.name)
    counted = ended_as(case, late, "DEADLINE_EXCEEDED")
    if late < LATE:
        return cleared("No request ran out of time.", counted, instance=instance.name)
    limit = whole(instance, "rest_api_timeout_in_ms") or DEFAULT_MS
    rest, grpc = (_slowest_ms(instance, each) for each in ("REST", "GRPC"))
    passes_by_grpc = grpc is not None and grpc >= limit
    slowest = proof("request_latency", f"slowest by REST {ms(rest)}, by gRPC {ms(grpc)}", f"below {limit} ms")
    if not limits(instance):
        words = "Calls by REST that were answered are far from its limit, so that callers set the time."
        return cleared(words, counted, slowest, instance=instance.name)
    return Judged(
        "cause",
        0.95 if passes_by_grpc else 0.8,
        (counted, slowest),
        f"Calls by REST end at {limit} ms and none is slower; gRPC has no such limit.",
        instance.name,
        impact=0.5 + late / 2,
    )


def limits(instance: Instance) -> bool:
    """Tell whether the limit is what ends calls: answers come close to it, or none comes where gRPC's take longer."""
    limit = whole(instance, "rest_api_timeout_in_ms") or DEFAULT_MS
    rest, grpc = (_slowest_ms(instance, each) for each in ("REST", "GRPC"))
    return rest >= limit / _FACTOR if rest is not None else grpc is not None and grpc >= limit


def _slowest_ms(instance: Instance, entrypoint: str) -> float | None:
    """Return the upper edge of the bucket of the slowest request that was answered."""
    bracket = instance.page.bracket(page.LATENCY, 1.0, entrypoint=entrypoint)
    return None if bracket is None else bracket[1] / 1e3


FAULT = Fault(
    id="rest.time_limit",
    title="REST ends requests at its time limit",
    layer="configuration",
    observable="requests end as DEADLINE_EXCEEDED (504) at rest_api_timeout_in_ms",
    remedy=Remedy(
        "Raise the limit and tfserving_longest_call_s if callers may wait that long; else make requests smaller.",
        "tfserving_instances: [{name: INSTANCE, flags: {rest_api_timeout_in_ms: MILLISECONDS}}]; "
        "ansible-playbook playbooks/site.yml --limit HOST",
        "low",
        restart=True,
    ),
    refs=("https://github.com/tensorflow/serving/issues/1006",),
    judge=judge,
)
