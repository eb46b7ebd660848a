# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The batch queue is full, so that the server refuses requests at once."""

from __future__ import annotations

import math

from ....signals.thresholds import BATCH_QUEUE
from ... import batched
from ...case import Case
from ...derived import ended_as
from ...finding import Fault, Judged, Remedy
from ...instance import Instance
from ...verdicts import cleared, percent, proof, unknown

# One refused request in a thousand is more than chance.
REFUSED = 0.001
_WORDS = ("batch scheduling queue .{0,80}is full",)


def judge(case: Case) -> list[Judged]:
    """Judge each instance that forms batches."""
    return batched.each_batching(case, _judged)


def _judged(case: Case, instance: Instance, batching: batched.Batching) -> Judged:
    refused = instance.failed_ratio("UNAVAILABLE", "RESOURCE_EXHAUSTED")
    if refused is None:
        return unknown("its page counts no requests", instance.name)
    evidence = (
        ended_as(case, refused, "UNAVAILABLE"),
        proof(batching.source, f"max_enqueued_batches {batching.queue:g}", "room for a burst"),
    )
    if refused < REFUSED:
        return cleared("It refused no requests.", *evidence, instance=instance.name)
    found = batched.measured(instance, batching)
    # Without a time-out any wait is one for a batch thread, and as long as a batch takes.
    turn = batching.timeout_ms or instance.execution_ms or math.inf
    is_busy = found is not None and (found.busy or found.queue_ms > BATCH_QUEUE.value * turn)
    return Judged(
        "cause",
        0.95 if instance.log(*_WORDS) or is_busy else 0.7,
        evidence,
        "A label without a version is refused the same way, but only before the first load; batch threads are "
        f"{percent(found.threads_used) if found else 'unknown'} busy.",
        instance.name,
        # A refused request is one that was not served.
        impact=0.5 + refused / 2,
        words="its batch threads are busy, so the host has too little capacity" if is_busy else "its queue is short",
    )


FAULT = Fault(
    id="batching.queue_full",
    title="The batch queue is full and requests are refused",
    layer="configuration",
    observable="requests end as UNAVAILABLE (503 by REST)",
    remedy=Remedy(
        "Add capacity, or shed load at the gateway (gateway_maxconn, gateway_rate_limit). A longer queue only helps "
        "against short bursts, and its wait counts against the objective.",
        "tfserving_instances: [{name: INSTANCE, batching: {max_enqueued_batches: NUMBER}}]; "
        "ansible-playbook playbooks/site.yml --limit HOST",
        "low",
        restart=True,
    ),
    refs=(
        "https://github.com/tensorflow/serving/issues/10",
        "https://github.com/tensorflow/serving/issues/60",
    ),
    judge=judge,
)
