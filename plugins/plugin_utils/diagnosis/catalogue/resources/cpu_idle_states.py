# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Idle CPUs fall into sleep so deep that waking them takes a good part of a request."""

from __future__ import annotations

from collections.abc import Mapping

from ...case import Case
from ...derived import keeps_objective
from ...finding import Fault, Judged, Remedy
from ...instance import Instance
from ...reading import listed, mapping, number
from ...verdicts import cleared, ms, proof, unknown

# A request wakes its thread about twice: when it arrives and when its batch or its operations are done.
WAKES = 2
# Microseconds from which a sleep counts as deep; the shallow ones of all processors wake faster.
DEEP_US = 50.0


def judge(case: Case) -> list[Judged]:
    """Judge each instance that runs, where its CPUs have idle states."""
    states = case.fact("cpuidle")
    if states is None:
        return [unknown("the idle states could not be read")]
    return [_judged(case, each, mapping(states)) for each in case.running if mapping(states)]


def _judged(case: Case, instance: Instance, states: Mapping[str, object]) -> Judged:
    deepest = max((_deepest(states.get(str(cpu))) for cpu in instance.cpus), default=0.0)
    request, idle = instance.request_ms(), case.idle(instance.cpus)
    allowed = proof("cpuidle", f"deepest allowed state wakes in {deepest:g} µs", f"under {DEEP_US:g} µs")
    if deepest < DEEP_US:
        return cleared("Its CPUs do not sleep deeply.", allowed, instance=instance.name)
    if request is None or idle is None:
        return unknown("no requests to compare the waking of CPUs with", instance.name)
    share = min(WAKES * deepest / 1e3 / request, 1.0)
    proofs = (allowed, proof("metrics", f"a request takes {ms(request)}", "far more than waking", case.window_s))
    if idle < 0.5 or share < 0.05:
        return cleared("Its CPUs are too busy to sleep, or requests take far longer.", *proofs, instance=instance.name)
    return Judged(
        "cause" if share > 0.2 and keeps_objective(case, instance) is False else "contributor",
        0.7,
        proofs,
        "Its CPUs are mostly idle. If this is it, latency falls as the load rises.",
        instance.name,
        share=share,
    )


def _deepest(rows: object) -> float:
    """Return in how many microseconds a CPU wakes from the deepest state that it may use and has used."""
    states = [mapping(each) for each in listed(rows)]
    used = [each for each in states if not each.get("disabled") and number(each.get("time_us"))]
    return max((number(each.get("latency_us")) or 0.0 for each in used), default=0.0)


FAULT = Fault(
    id="cpu.idle_states",
    title="CPUs wake up slowly",
    layer="resources",
    observable="deep idle states in use while requests are short and load is low",
    remedy=Remedy(
        "Keep the CPUs out of deep idle states; it costs power at idle.",
        "kernel_tuning_cpu_latency_us: 20",
        "low",
        restart=False,
    ),
    refs=("https://docs.kernel.org/admin-guide/pm/cpuidle.html",),
    judge=judge,
)
