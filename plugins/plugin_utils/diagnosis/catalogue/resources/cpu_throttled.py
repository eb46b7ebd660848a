# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A CPU quota stops an instance for the rest of each period, however many CPUs are idle."""

from __future__ import annotations

from ....signals.thresholds import THROTTLED
from ...case import Case
from ...finding import Fault, Judged, Remedy
from ...hardware import wait_proof
from ...instance import Instance
from ...verdicts import cleared, percent, proof, unknown


def judge(case: Case) -> list[Judged]:
    """Judge each instance that runs."""
    return [_judged(case, each) for each in case.running]


def _judged(case: Case, instance: Instance) -> Judged:
    throttled = instance.throttled_ratio
    if throttled is None:
        return unknown("cpu.stat of its cgroup could not be read", instance.name)
    evidence = proof(
        "cpu.stat", f"stopped in {percent(throttled)} of periods", f"at most {THROTTLED.percent}", case.window_s
    )
    if throttled <= THROTTLED.value:
        return cleared("No CPU quota stopped it.", evidence, instance=instance.name)
    wait = instance.wait_ratio
    share = throttled if wait is None else max(wait, 0.0)
    idle = case.idle(instance.cpus)
    return Judged(
        # Waiting while its CPUs are idle is what only a quota does.
        "cause" if throttled > 5 * THROTTLED.value else "contributor",
        0.95 if idle is None or idle > 0.1 else 0.85,
        (
            evidence,
            wait_proof(case, instance),
            proof("/proc/stat", f"its CPUs were idle for {percent(idle)}", "idle while it waits"),
        ),
        "A neighbour on its CPUs makes it wait while they are busy; a quota does so while they are idle.",
        instance.name,
        share=share,
    )


FAULT = Fault(
    id="cpu.throttled",
    title="A CPU quota stops the server",
    layer="resources",
    observable="nr_throttled of the cgroup's cpu.stat grows",
    remedy=Remedy(
        "Remove CPUQuota= from the unit, its slice and their drop-ins; CPUs are given by cpuset instead.",
        "systemctl cat tfserving@INSTANCE.service; ansible-playbook playbooks/site.yml --limit HOST",
        "low",
        restart=True,
    ),
    refs=("https://docs.kernel.org/scheduler/sched-bwc.html",),
    judge=judge,
)
