# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Fewer requests can be at work than a batch has rows, so that no batch ever fills."""

from __future__ import annotations

from ... import batched
from ...case import Case
from ...derived import Entrypoint, at_work, is_pool_full, part, pool_size, weighed
from ...finding import Fault, Judged, Remedy
from ...instance import Instance
from ...verdicts import cleared, proof, unknown

ENTRYPOINTS: tuple[Entrypoint, ...] = ("GRPC", "REST")


def judge(case: Case) -> list[Judged]:
    """Judge each instance that forms batches."""
    return batched.each_batching(case, _judged)


def _judged(case: Case, instance: Instance, batching: batched.Batching) -> Judged:
    found = batched.measured(instance, batching)
    sizes = {each: pool_size(instance, each) for each in ENTRYPOINTS}
    if found is None or None in sizes.values():
        return unknown("neither its metrics nor its command line tell how many requests meet in a batch", instance.name)
    rows = sum(size or 0 for size in sizes.values()) * found.request_rows
    full = [each for each in ENTRYPOINTS if is_pool_full(instance, each)]
    evidence = (
        proof("its command line", f"its threads hold requests of {rows:.0f} rows", f"two batches of {batching.size:g}"),
        batched.fill_proof(case, found),
        proof("request_latency", _at_work(instance), "fewer than its request threads", case.window_s),
    )
    if rows >= batching.size or not full:
        return cleared(
            "Its request threads are not what keeps batches from filling.", *evidence, instance=instance.name
        )
    share = part(case, instance, max(found.queue_ms, instance.execution_ms or 0.0))
    return Judged(
        weighed(case, instance, share),
        0.92,
        evidence,
        f"All threads of {' and '.join(full)} hold a request, and together they hold less than one batch: more load "
        "cannot fill it, while a time-out that is too long would leave threads free.",
        instance.name,
        share=share,
    )


def _at_work(instance: Instance) -> str:
    found = [f"{at_work(instance, each) or 0:.1f} of {pool_size(instance, each)} by {each}" for each in ENTRYPOINTS]
    return f"{', '.join(found)} at work"


FAULT = Fault(
    id="batching.never_fill",
    title="Too few request threads to fill a batch",
    layer="configuration",
    observable="all request threads are at work, and batches have few rows",
    remedy=Remedy(
        "Give the server twice as many request threads as a batch has rows, or ask for smaller batches.",
        "tfserving_instances: [{name: INSTANCE, flags: {grpc_max_threads: 129, rest_api_num_threads: 129}}]; "
        "ansible-playbook playbooks/site.yml --limit HOST",
        "low",
        restart=True,
    ),
    refs=(
        "https://github.com/tensorflow/serving/issues/2134",
        "https://github.com/tensorflow/serving/issues/1505",
    ),
    judge=judge,
)
