# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Devices interrupt the serving CPUs."""

from __future__ import annotations

from ...case import Case
from ...finding import Fault, Judged, Remedy, Verdict
from ...verdicts import cleared, percent, proof, unknown

# Interrupts a second on one serving CPU: with 5 to 10 µs each, 1000 are a hundredth of it,
# and they hit single requests.
INTERRUPTS_PER_S = 1000.0


def judge(case: Case) -> list[Judged]:
    """Judge the host by the most interrupted of its serving CPUs."""
    rates = {cpu: case.interrupts_per_s([cpu]) for cpu in case.serving_cpus}
    known = {cpu: rate for cpu, rate in rates.items() if rate is not None}
    if not known:
        return [unknown("the interrupts of the serving CPUs could not be read")] if case.serving_cpus else []
    worst = max(known, key=lambda cpu: known[cpu])
    taken = case.cpu_ratio([worst], "irq", "softirq") or 0.0
    squeezed = sum(case.grown("softnet", str(cpu), "squeezed") or 0.0 for cpu in case.serving_cpus)
    proofs = (
        proof(
            "/proc/interrupts", f"CPU {worst}: {known[worst]:.0f}/s", f"under {INTERRUPTS_PER_S:.0f}/s", case.window_s
        ),
        proof("/proc/stat", f"{percent(taken)} of its time for interrupts", "near 0", case.window_s),
        proof("/proc/net/softnet_stat", f"squeezed {squeezed:.0f} times", "0", case.window_s),
    )
    if known[worst] <= INTERRUPTS_PER_S:
        return [cleared("Devices leave the serving CPUs alone.", *proofs)]
    verdict: Verdict = "cause" if taken > 0.1 else "contributor"
    test = "The interrupts are counted on serving CPUs, which the partition keeps free of them."
    return [Judged(verdict, 0.8, proofs, test, share=taken)]


FAULT = Fault(
    id="cpu.interrupts",
    title="Devices interrupt the serving CPUs",
    layer="resources",
    observable=f"more than {INTERRUPTS_PER_S:.0f} interrupts a second on a serving CPU",
    remedy=Remedy(
        "Move the interrupts to the housekeeping CPUs again; those of NVMe queues need a boot parameter.",
        "systemctl restart tfserving-fleet-interrupts.service  # and cpu_partition_boot: [managed_irq]",
        "low",
        restart=False,
    ),
    refs=("https://docs.kernel.org/core-api/irq/irq-affinity.html",),
    judge=judge,
)
