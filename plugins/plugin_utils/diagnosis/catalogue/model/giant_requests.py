# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A few requests are many times larger than the others, which wait behind them."""

from __future__ import annotations

from ... import page
from ...case import Case
from ...derived import each_used, keeps_objective, tail
from ...finding import Fault, Judged, Remedy
from ...instance import Instance
from ...reading import ratio
from ...verdicts import cleared, proof, unknown

BYTES = ":tensorflow:core:graph_run_input_tensor_bytes"
# Buckets are four times as wide as the one before, so that this is at least the next but one.
LARGER, SLOWER = 4.0, 3.0


def judge(case: Case) -> list[Judged]:
    """Judge each instance that answers requests."""
    return each_used(case, _judged)


def _judged(case: Case, instance: Instance) -> Judged | None:
    sizes = [tail(case, instance, each) for each in (BYTES, page.INPUT_ROWS)]
    larger = max((each for each in sizes if each), default=None)
    slower = tail(case, instance, page.LATENCY)
    if larger is None or slower is None:
        return unknown("its page does not tell the size of requests", instance.name)
    evidence = (
        proof("graph_run_input_tensor_bytes, input_batch_size", f"p99 is {larger:.3g} times p50", "below 4 times"),
        proof("request_latency", f"p99 is {slower:.3g} times p50", "below 3 times", case.window_s),
    )
    if larger < LARGER:
        return cleared("Requests are of one size.", *evidence, instance=instance.name)
    if slower < SLOWER:
        return cleared("Large requests are not slower.", *evidence, instance=instance.name)
    share = _share(instance)
    return Judged(
        "contributor" if keeps_objective(case, instance) else "cause",
        0.85,
        evidence,
        "The usual request is fast, so that neither CPUs nor batching hold it back; both tails grow together.",
        instance.name,
        share=share,
    )


def _share(instance: Instance) -> float | None:
    """Return the part of the mean latency that is above the usual request's."""
    middle = instance.page.bracket(page.LATENCY, 0.5)
    usual = None if middle is None else ratio((middle[0] + middle[1]) / 2, instance.page.mean(page.LATENCY))
    return None if usual is None else min(max(1.0 - usual, 0.0), 1.0)


FAULT = Fault(
    id="model.giant_requests",
    title="Few giant requests make the others wait",
    layer="model",
    observable="the 99th percentile of the size of inputs is many times the median",
    remedy=Remedy(
        "Let callers cut large requests into parts (benchmark.yml measures into how many), or give them an instance.",
        "ansible-playbook playbooks/benchmark.yml -e instance=INSTANCE -e items=ROWS -e shards=auto",
        "low",
        restart=False,
    ),
    refs=("https://github.com/tensorflow/serving/issues/1273",),
    judge=judge,
)
