# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Reading and writing JSON takes a large part of the time of calls by REST."""

from __future__ import annotations

from ... import page
from ...case import Case
from ...derived import MAIN_PART, each_used, weighed
from ...finding import Fault, Judged, Remedy
from ...instance import Instance
from ...reading import at, number, ratio
from ...verdicts import cleared, ms, proof, unknown

# Below this an HTTP server's own work weighs as much as JSON.
LEAST_MS = 2.0
# The same requests by gRPC cost this many times less where JSON is what costs.
TIMES = 3.0

Labels = dict[str, str]


def judge(case: Case) -> list[Judged]:
    """Judge each instance that answers calls by REST."""
    return each_used(case, _judged)


def _judged(case: Case, instance: Instance) -> Judged | None:
    model = _most_called(instance)
    if model is None:
        return None
    rest, grpc = _around_ms(instance, "REST", model), _grpc_ms(instance, model)
    if rest is None:
        return unknown("its page does not tell the time around runs", instance.name)
    evidence = (
        proof("request_latency - runtime_latency", f"{ms(rest)} around a run by REST", "below 2 ms", case.window_s),
        proof("the same by gRPC", ms(grpc), "about as much", case.window_s),
    )
    share = ratio(rest, _ms(instance.page.mean(page.LATENCY, entrypoint="REST", **model)))
    if rest < LEAST_MS or (share or 0.0) < MAIN_PART / 2:
        return cleared("What is around a run takes little time.", *evidence, instance=instance.name)
    if grpc is not None and rest < TIMES * grpc:
        return cleared("Calls by gRPC take as long, and have no JSON.", *evidence, instance=instance.name)
    return Judged(
        weighed(case, instance, share),
        _confidence(instance, grpc),
        evidence,
        "Waiting for a thread of REST is outside of these times; gRPC carries the same tensors without JSON.",
        instance.name,
        share=share,
    )


def _most_called(instance: Instance) -> Labels | None:
    """Return the label of the model that calls by REST take most of the time of, None without such calls."""
    spent = instance.page.growths(page.LATENCY + "_sum", entrypoint="REST", API="predict")
    most = max(spent, key=lambda at_: spent[at_], default=None)
    if most is None or not spent[most]:
        return None
    return {name: value for name, value in most if name == "model_name"}


def _around_ms(instance: Instance, entrypoint: str, model: Labels) -> float | None:
    """Return what is around a run of a model.

    The runs of both entrypoints are counted together. Where those of REST are larger, the difference of the means is
    too much; all that is around any run, put on these calls alone, is too much as well: the smaller of both counts.
    """
    calls = instance.page.count(page.LATENCY, entrypoint=entrypoint, **model)
    whole, run = (
        instance.page.mean(name, **labels)
        for name, labels in ((page.LATENCY, {"entrypoint": entrypoint, **model}), (page.RUNTIME, model))
    )
    spent, ran = (instance.page.grown(f"{name}_sum", **model) for name in (page.LATENCY, page.RUNTIME))
    if whole is None or run is None or not calls or spent is None or ran is None:
        return None
    return max(min(whole - run, (spent - ran) / calls), 0.0) / 1e3


def _grpc_ms(instance: Instance, model: Labels) -> float | None:
    """Return what gRPC adds to a run: of its own calls, or else of the probe's."""
    if instance.page.count(page.LATENCY, entrypoint="GRPC", **model):
        return _around_ms(instance, "GRPC", model)
    return number(at(instance.evidence, "probe", "grpc_ms"))


def _ms(microseconds: float | None) -> float | None:
    return None if microseconds is None else microseconds / 1e3


def _confidence(instance: Instance, grpc: float | None) -> float:
    """Return less where threads want for CPUs, which makes everything around a run slow too."""
    waits = (instance.wait_ratio or 0.0) > 0.2 or (instance.throttled_ratio or 0.0) > 0.05
    return (0.9 if grpc is not None else 0.65) * (0.6 if waits else 1.0)


FAULT = Fault(
    id="model.json",
    title="JSON takes a large part of the time",
    layer="model",
    observable="the time around a run is far longer by REST than by gRPC",
    remedy=Remedy(
        "Let callers use gRPC. By REST send binary content as base64 and images encoded, not as lists of numbers.",
        "ansible-playbook playbooks/benchmark.yml -e instance=INSTANCE -e protocol=grpc",
        "none",
        restart=False,
    ),
    refs=(
        "https://github.com/tensorflow/serving/issues/1991",
        "https://github.com/tensorflow/serving/issues/578",
    ),
    judge=judge,
)
