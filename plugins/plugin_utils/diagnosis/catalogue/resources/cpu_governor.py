# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A governor that saves power keeps the clock of loaded CPUs low."""

from __future__ import annotations

from ...case import Case
from ...finding import Fault, Judged, Remedy
from ...hardware import AT_REST, clock_is_up, clock_proof, speed_ratio
from ...reading import mapping, text
from ...verdicts import cleared, percent, proof, unknown


def judge(case: Case) -> list[Judged]:
    """Judge the host, where its CPUs have governors."""
    governors = case.fact("cpufreq", "governor")
    if governors is None:
        return [unknown("the governors could not be read")]
    found = {text(each) for cpu, each in mapping(governors).items() if int(cpu) in case.serving_cpus}
    return [_judged(case, found)] if found else []


def _judged(case: Case, found: set[str]) -> Judged:
    clock, idle = speed_ratio(case, case.serving_cpus), case.idle(case.serving_cpus)
    proofs = (
        proof("scaling_governor", ", ".join(sorted(found)), "performance"),
        clock_proof("scaling_cur_freq", clock),
        proof("/proc/stat", f"serving CPUs idle for {percent(idle)}", "at work", case.window_s),
    )
    if found == {"performance"}:
        return cleared("The governor asks for the full clock.", *proofs)
    if clock is None:
        return unknown("the clocks could not be read")
    if clock_is_up(case, case.serving_cpus):
        return cleared("The governor saves power, but the clock is up.", *proofs)
    if idle is None or idle >= AT_REST:
        return unknown("the governor saves power, and CPUs at rest do not tell whether it does under load")
    return Judged(
        "cause",
        0.85,
        proofs,
        "Its clock is low while it works: heat would do so with the governor performance too.",
        share=1 - clock,
    )


FAULT = Fault(
    id="cpu.governor",
    title="The CPUs save power under load",
    layer="resources",
    observable="a governor other than performance, and a clock far below the highest",
    remedy=Remedy(
        "Let the role set the governor.",
        "kernel_tuning_governor: performance",
        "low",
        restart=False,
    ),
    refs=("https://docs.kernel.org/admin-guide/pm/cpufreq.html",),
    judge=judge,
)
