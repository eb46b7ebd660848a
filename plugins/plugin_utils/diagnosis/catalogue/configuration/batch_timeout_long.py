# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Requests wait for a batch that cannot fill in time: the time-out, and nothing else, ends their wait."""

from __future__ import annotations

from ....signals.thresholds import BATCH_FILL, BATCH_WAITS
from ... import batched
from ...case import Case
from ...derived import MAIN_PART, is_pool_full, part, weighed
from ...finding import Fault, Judged, Proof, Remedy
from ...instance import Instance
from ...verdicts import cleared, ms, percent, proof, unknown


def judge(case: Case) -> list[Judged]:
    """Judge each instance that forms batches."""
    return batched.each_batching(case, _judged)


def _judged(case: Case, instance: Instance, batching: batched.Batching) -> Judged:
    found = batched.measured(instance, batching)
    if found is None:
        return unknown("its metrics do not tell how batches were formed", instance.name)
    evidence = _evidence(case, batching, found)
    if not _timed_out(batching, found):
        return cleared(
            "Batches ended by their size, or ran as soon as a thread was free.", *evidence, instance=instance.name
        )
    share = part(case, instance, found.queue_ms)
    if share is not None and share < MAIN_PART:
        return cleared("The wait is a small part of the latency.", *evidence, instance=instance.name)
    capped = is_pool_full(instance, "GRPC") or is_pool_full(instance, "REST")
    return Judged(
        "contributor" if capped else weighed(case, instance, share),
        0.6 if capped else 0.9,
        evidence,
        "At capacity batches are full and wait for threads; here they are not, threads are free, and the wait is as "
        "long as the time-out.",
        instance.name,
        share=share,
        words=f"{found.requests:.1f} requests share a batch of {batching.size:g} rows",
    )


def _timed_out(batching: batched.Batching, found: batched.Batches) -> bool:
    low, high = BATCH_WAITS
    waits = batching.timeout_ms > 0 and low * batching.timeout_ms <= found.queue_ms <= high * batching.timeout_ms
    return waits and found.fill < BATCH_FILL.value and not found.busy


def _evidence(case: Case, batching: batched.Batching, found: batched.Batches) -> tuple[Proof, ...]:
    wait = f"{ms(found.queue_ms)} of waiting, the time-out being {ms(batching.timeout_ms)}"
    return (
        proof("batching_session/queuing_latency", wait, "far below the time-out", case.window_s),
        batched.fill_proof(case, found),
        proof("runtime_latency", f"batch threads {percent(found.threads_used)} busy", "busy while requests wait"),
    )


FAULT = Fault(
    id="batching.timeout_long",
    title="Requests wait for batches that do not fill",
    layer="configuration",
    observable="the wait in the batch queue is about batch_timeout_micros, and batches are half empty",
    remedy=Remedy(
        "Set the time-out to 0: batches then grow by themselves while threads are busy. tune.yml finds the best one.",
        "tfserving_instances: [{name: INSTANCE, batching: {batch_timeout_micros: 0}}]; "
        "ansible-playbook playbooks/site.yml --limit HOST",
        "low",
        restart=True,
    ),
    refs=(
        "https://github.com/tensorflow/serving/blob/master/tensorflow_serving/batching/README.md",
        "https://github.com/tensorflow/serving/issues/1483",
    ),
    judge=judge,
)
