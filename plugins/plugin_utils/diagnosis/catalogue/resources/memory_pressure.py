# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The host is short of memory: servers wait for pages that the kernel took from them."""

from __future__ import annotations

from ....signals.thresholds import MEMORY_WAIT
from ...case import Case
from ...finding import Fault, Judged, Remedy
from ...hardware import waited_for
from ...instance import Instance
from ...verdicts import cleared, percent, proof, unknown

# Pages a second that come back from swap, from which requests meet them.
SWAPPED_PER_S, FAULTS_PER_S = 10.0, 1.0


def judge(case: Case) -> list[Judged]:
    """Judge each instance that runs."""
    return [_judged(case, each) for each in case.running]


def _judged(case: Case, instance: Instance) -> Judged:
    waited, swapped = waited_for(case, instance, "memory"), case.per_second("vmstat", "pswpin")
    if waited is None and swapped is None:
        return unknown("neither the pressure on memory nor swapping could be read", instance.name)
    faults = instance.rate(instance.spent("majflt"))
    out = instance.process("swap_mb")
    proofs = (
        proof(
            "memory.pressure",
            f"{percent(waited)} of the time waited for memory",
            f"under {MEMORY_WAIT.percent}",
            case.window_s,
        ),
        proof("/proc/vmstat", f"{swapped or 0:.0f} pages/s back from swap", "0", case.window_s),
        proof("/proc/PID/status", f"{out or 0:.0f} MB swapped out, {faults or 0:.0f} major faults/s", "0"),
    )
    # Others swap too: its own pages come back with major faults of its own.
    coming = bool(swapped and swapped > SWAPPED_PER_S and out and (faults is None or faults >= FAULTS_PER_S))
    if not coming and (waited or 0.0) <= MEMORY_WAIT.value:
        return cleared("It does not wait for memory.", *proofs, instance=instance.name)
    strong = coming or (waited or 0.0) > 2 * MEMORY_WAIT.value
    return Judged(
        "cause" if strong else "contributor",
        0.9 if coming and waited else 0.75,
        proofs,
        "Pages come back from swap or are reclaimed while it works; a slow disk alone gives no pressure on memory.",
        instance.name,
        share=max(waited or 0.0, 0.2 if coming else 0.0),
    )


FAULT = Fault(
    id="memory.pressure",
    title="Servers wait for memory",
    layer="resources",
    observable="pressure on memory, pages from swap, major faults",
    remedy=Remedy(
        "Free memory: fewer models or instances on the host, or what else runs there; then keep servers out of swap.",
        "free -m; systemd-cgtop -m  # and kernel_tuning_sysctl: {vm.swappiness: 1}",
        "low",
        restart=False,
    ),
    refs=("https://docs.kernel.org/accounting/psi.html",),
    judge=judge,
)
