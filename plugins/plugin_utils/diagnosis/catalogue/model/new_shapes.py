# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Graphs are built or compiled while nothing is loaded: for each new combination of inputs and outputs, or shape."""

from __future__ import annotations

from ... import page
from ...case import Case
from ...derived import each_used, weighed
from ...finding import Fault, Judged, Remedy
from ...instance import Instance
from ...reading import ratio, total
from ...verdicts import cleared, percent, proof, unknown
from ...versions import models

BUILDS, BUILD_US = ":tensorflow:core:graph_build_calls", ":tensorflow:core:graph_build_time_usecs"
COMPILATIONS, COMPILATION_US = ":tensorflow:core:xla_compilations", ":tensorflow:core:xla_compilation_time_usecs"
# A first call or two may come late; more of them within seconds come with every other request.
MOST = 3.0  # of each model: its first calls build what was not warmed up


def judge(case: Case) -> list[Judged]:
    """Judge each instance that answers requests."""
    return each_used(case, _judged)


def _judged(case: Case, instance: Instance) -> Judged | None:
    builds = total((instance.page.grown(BUILDS), instance.page.grown(COMPILATIONS)))
    if builds is None:
        return unknown("its page does not tell what was built", instance.name)
    loads = instance.loads("success") or 0.0
    spent = total((instance.page.grown(BUILD_US), instance.page.grown(COMPILATION_US)))
    share = ratio(spent, instance.page.grown(page.LATENCY + "_sum"))
    evidence = (
        proof("graph_build_calls, xla_compilations", f"{builds:.0f} graphs", "none while nothing loads", case.window_s),
        proof("graph_build_time_usecs", f"{percent(share)} of the time of requests", "none", case.window_s),
    )
    if builds <= MOST * max(len(models(instance)), 1):
        return cleared("Hardly a graph was built.", *evidence, instance=instance.name)
    if loads:
        return cleared("A version was loaded, which builds graphs.", *evidence, instance=instance.name)
    share = None if share is None else min(share, 1.0)
    return Judged(
        weighed(case, instance, share),
        0.88,
        evidence,
        "Cold starts build graphs after a load only; here none was loaded. The same request again is fast.",
        instance.name,
        share=share,
    )


FAULT = Fault(
    id="model.new_shapes",
    title="Graphs are built anew for requests of new shapes",
    layer="model",
    observable="graph_build_calls or xla_compilations grow while nothing is loaded",
    remedy=Remedy(
        "Let callers send few shapes and ask for the same outputs; pad batches to few sizes, and warm each of them up.",
        "tfserving_instances: [{name: INSTANCE, batching: {allowed_batch_sizes: [SIZES]}}]; "
        "tfserving_models: [{name: MODEL, golden: FILE, warmup: auto}]",
        "low",
        restart=True,
    ),
    refs=(
        "https://github.com/tensorflow/tensorflow/issues/53725",
        "https://github.com/tensorflow/tensorflow/issues/41141",
    ),
    judge=judge,
)
