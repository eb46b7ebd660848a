# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""An instance has reached the limit of its memory: the kernel slows it down or has ended it."""

from __future__ import annotations

from ....signals.thresholds import MEMORY_WAIT
from ...case import Case
from ...finding import Fault, Judged, Remedy
from ...hardware import oom_kills
from ...instance import Instance
from ...reading import at
from ...verdicts import cleared, proof, unknown


def judge(case: Case) -> list[Judged]:
    """Judge each instance, stopped ones too."""
    return [_judged(case, each) for each in case.instances]


def _judged(case: Case, instance: Instance) -> Judged:
    kills, high = oom_kills(instance), instance.cgroup("memory", "events", "high")
    if kills is None and high is None:
        return unknown("memory.events of its cgroup could not be read", instance.name)
    waited = instance.pressure("memory") or 0.0
    proofs = (
        proof("memory.events, journal", f"ended {kills or 0:.0f} times for lack of memory", "0"),
        proof("memory.events", f"slowed down {high or 0:.0f} times", "0", case.window_s),
        proof(
            "plan",
            f"at most {at(instance.plan, 'memory', 'max_mb')} MB",
            "enough for a swap of versions",
        ),
    )
    if kills:
        test = "The kernel itself says why it ended the process."
        return Judged("cause", 0.95, proofs, test, instance.name, impact=0.9)
    if high:
        test = "The kernel itself counts how often the limit slowed the process down."
        return Judged(
            "cause" if waited > MEMORY_WAIT.value else "contributor", 0.9, proofs, test, instance.name, share=waited
        )
    return cleared("It stays below the limits of its memory.", *proofs, instance=instance.name)


FAULT = Fault(
    id="memory.limit",
    title="The server is at the limit of its memory",
    layer="resources",
    observable="memory.events high or oom_kill, a unit that failed with oom-kill",
    remedy=Remedy(
        "State what the model needs (memory_mb), so that the plan leaves room or drains before it swaps versions.",
        "tfserving_models[].memory_mb",
        "low",
        restart=True,
    ),
    refs=("https://docs.kernel.org/admin-guide/cgroup-v2.html#memory-interface-files",),
    judge=judge,
)
