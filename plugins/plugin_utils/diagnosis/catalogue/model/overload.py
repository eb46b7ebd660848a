# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""More requests arrive than the instance can compute, and nothing else holds it back."""

from __future__ import annotations

from ....signals.thresholds import BUSY, STOLEN, THROTTLED
from ... import batched
from ...case import Case
from ...derived import busy_part, each_used, keeps_objective
from ...finding import Fault, Judged, Remedy
from ...hardware import use_by
from ...instance import Instance
from ...reading import ratio
from ...verdicts import cleared, percent, proof, unknown

# Part of its time without a CPU from which on others have them.
WAITS = 0.2
# Errors that overload brings about, and that have a name of their own.
REFUSED = 0.05


def judge(case: Case) -> list[Judged]:
    """Judge each instance that answers requests."""
    return each_used(case, _judged)


def _judged(case: Case, instance: Instance) -> Judged | None:
    used = _use(case, instance)
    known = {name: part for name, part in used.items() if part is not None}
    if not known:
        return unknown("neither its CPUs nor its batch threads could be read", instance.name)
    evidence = tuple(
        proof(name, f"{percent(part)} busy", f"below {BUSY.percent}", case.window_s) for name, part in known.items()
    )
    if max(known.values()) < BUSY.value:
        return cleared("It has capacity to spare.", *evidence, instance=instance.name)
    held = _held_back(case, instance)
    if held:
        return cleared(f"It is busy, but {held}.", *evidence, instance=instance.name)
    kept = keeps_objective(case, instance)
    if kept:
        return cleared("It is busy, and keeps its objective.", *evidence, instance=instance.name)
    named = (instance.failed_ratio("DEADLINE_EXCEEDED", "UNAVAILABLE", "RESOURCE_EXHAUSTED") or 0.0) >= REFUSED
    return Judged(
        "contributor" if named or kept is None else "cause",
        0.4 if named or kept is None else 0.6,
        evidence,
        "Its CPUs are its own and unthrottled, and it computes nothing for nothing; with half the load it recovers.",
        instance.name,
        share=_waiting(instance),
    )


def _use(case: Case, instance: Instance) -> dict[str, float | None]:
    batching = batched.in_force(instance)
    found = batched.measured(instance, batching) if batching else None
    return {
        "its CPUs": busy_part(instance),
        "its batch threads": found.threads_used if found else None,
        "its GPUs": use_by(case, instance),
    }


def _held_back(case: Case, instance: Instance) -> str:
    """Return what makes the capacity smaller than it should be, empty for nothing."""
    if (instance.throttled_ratio or 0.0) > THROTTLED.value:
        return "a CPU quota stops it"
    if (instance.wait_ratio or 0.0) > WAITS and (busy_part(instance) or 0.0) < BUSY.value:
        return "others have its CPUs"
    if (case.cpu_ratio(instance.cpus, "steal") or 0.0) > STOLEN.value:
        return "the machine below takes its CPUs"
    if (instance.padding_ratio or 0.0) > 0.4:
        return "it computes rows for nothing"
    return ""


def _waiting(instance: Instance) -> float | None:
    """Return the part of the time in the server that requests wait: all less what is at work (Little's law)."""
    at_work = ratio(instance.cores_used, instance.in_flight)
    queue = ratio(instance.queue_length, instance.in_flight)
    waits = None if at_work is None else min(max(1.0 - at_work, 0.0), 1.0)
    return max((each for each in (waits, queue) if each is not None), default=None)


FAULT = Fault(
    id="model.overload",
    title="More requests arrive than it can compute",
    layer="model",
    observable="CPUs, batch threads or GPUs are busy all the time, and the objective is missed",
    remedy=Remedy(
        "Add hosts, give the instance more CPUs, or shed load at the gateway; tune.yml finds what these settings miss.",
        "tfserving_instances: [{name: INSTANCE, cpus: NUMBER}]; gateway_rate_limit; "
        "ansible-playbook playbooks/tune.yml -e instance=INSTANCE",
        "low",
        restart=True,
    ),
    refs=("https://github.com/tensorflow/serving/issues/1354",),
    judge=judge,
)
