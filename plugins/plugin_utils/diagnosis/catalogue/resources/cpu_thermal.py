# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The processor slows down because it is too hot."""

from __future__ import annotations

from ...case import Case
from ...finding import Fault, Judged, Remedy
from ...hardware import AT_REST, clock_is_up, clock_proof, speed_ratio
from ...reading import mapping, number
from ...verdicts import cleared, first_line, proof, unknown


def judge(case: Case) -> list[Judged]:
    """Judge the host, where its processor counts such slow-downs."""
    counts = case.fact("thermal_throttle")
    if counts is None:
        return [] if case.virtual else [unknown("the counters of thermal slow-downs could not be read")]
    if not mapping(counts):
        return []
    counted = sum(number(each) or 0.0 for each in mapping(counts).values())
    clock, lines = (
        speed_ratio(case, case.serving_cpus),
        case.kernel_lines(r"cpu clock.*throttled", r"temperature above"),
    )
    proofs = (
        proof("core_throttle_count", f"{counted:.0f} since boot, {_since(case, counted)}", "0"),
        clock_proof("scaling_cur_freq", clock),
        proof("kernel log", first_line(lines), "no line about it"),
    )
    if not counted:
        return [cleared("The processor has never been too hot since boot.", *proofs)]
    if clock_is_up(case, case.serving_cpus):
        return [cleared("It was too hot at some time, but its clock is up now.", *proofs)]
    idle = case.idle(case.serving_cpus)
    if clock is not None and idle is not None and idle >= AT_REST:
        return [unknown("it was too hot at some time since boot, and CPUs at rest do not tell whether it still is")]
    share = 0.2 if clock is None else 1 - clock
    test = "The counter is the processor's own; power saving does not count there."
    return [Judged("suspect" if clock is None else "cause", 0.5 if clock is None else 0.9, proofs, test, share=share)]


def _since(case: Case, counted: float) -> str:
    """Return how many were counted since the evidence of another day."""
    before = mapping(case.yesterday.fact("thermal_throttle")) if case.yesterday else {}
    if not before:
        return "no earlier evidence"
    return f"{max(counted - sum(number(each) or 0.0 for each in before.values()), 0.0):.0f} since the last evidence"


FAULT = Fault(
    id="cpu.thermal",
    title="The processor is too hot",
    layer="resources",
    observable="core_throttle_count is not 0 and the clock is low",
    remedy=Remedy(
        "Check the cooling: fans, dust, the rack's air; take the host out of rotation meanwhile.",
        "ansible-playbook playbooks/drain.yml --limit HOST",
        "low",
        restart=False,
    ),
    refs=("https://docs.kernel.org/admin-guide/thermal/intel_powerclamp.html",),
    judge=judge,
)
