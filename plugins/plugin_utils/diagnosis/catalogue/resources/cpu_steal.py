# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The hypervisor gives the CPUs of a guest to others."""

from __future__ import annotations

from ....signals.thresholds import STOLEN
from ...case import Case
from ...finding import Fault, Judged, Remedy
from ...verdicts import cleared, percent, proof, unknown


def judge(case: Case) -> list[Judged]:
    """Judge the host, if it is a guest."""
    if not case.virtual or not case.serving_cpus:
        return []
    stolen = case.cpu_ratio(case.serving_cpus, "steal")
    if stolen is None:
        return [unknown("/proc/stat could not be read")]
    evidence = proof("/proc/stat", f"{percent(stolen)} of the time stolen", f"under {STOLEN.percent}", case.window_s)
    if stolen <= STOLEN.value:
        return [cleared("The hypervisor leaves it its CPUs.", evidence)]
    test = f"The host is a guest ({case.virtual}), and the time is counted by its hypervisor."
    return [Judged("cause" if stolen > 0.1 else "contributor", 0.95, (evidence,), test, share=stolen)]


FAULT = Fault(
    id="cpu.steal",
    title="The hypervisor takes the CPUs away",
    layer="resources",
    observable="steal time of the serving CPUs in /proc/stat",
    remedy=Remedy(
        "Give the guest CPUs of its own, or move it to another hypervisor; nothing on the guest helps.",
        "mpstat -P ALL 5  # shows %steal as you do",
        "medium",
        restart=False,
    ),
    refs=("https://docs.kernel.org/filesystems/proc.html#miscellaneous-kernel-statistics-in-proc-stat",),
    judge=judge,
)
