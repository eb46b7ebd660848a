# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The kernel stops programs to make room for huge pages."""

from __future__ import annotations

from ...case import Case
from ...finding import Fault, Judged, Proof, Remedy
from ...reading import text
from ...verdicts import cleared, proof, unknown

# Programs that the kernel stopped a second; each stop takes milliseconds.
STALLS_PER_S = 1.0


def judge(case: Case) -> list[Judged]:
    """Judge the host."""
    mode, stalls = text(case.fact("thp")), case.per_second("vmstat", "compact_stall")
    if not mode:
        return [unknown("the mode of transparent huge pages could not be read")]
    if stalls is None:
        return [unknown("compact_stall could not be read")] if mode == "always" else [_cleared(mode)]
    if mode != "always" or stalls <= STALLS_PER_S:
        return [_cleared(mode, proof("/proc/vmstat", f"{stalls:.1f} stalls/s", "under 1/s", case.window_s))]
    proofs = (
        proof("transparent_hugepage/enabled", mode, "madvise"),
        proof("/proc/vmstat", f"{stalls:.1f} stalls/s for huge pages", "under 1/s", case.window_s),
    )
    # A stall takes up to some milliseconds of the program that meets it.
    test = "Stalls are counted while they happen; with madvise they come only where a program asks for huge pages."
    return [Judged("cause" if stalls > 20 else "contributor", 0.8, proofs, test, share=min(stalls * 0.005, 0.5))]


def _cleared(mode: str, *proofs: Proof) -> Judged:
    return cleared(f"The kernel (mode {mode}) stops nobody for huge pages.", *proofs)


FAULT = Fault(
    id="memory.thp",
    title="Programs are stopped for huge pages",
    layer="resources",
    observable="compact_stall grows with transparent huge pages on always",
    remedy=Remedy(
        "Give huge pages only to who asks for them.",
        "kernel_tuning_thp: madvise",
        "low",
        restart=False,
    ),
    refs=("https://docs.kernel.org/admin-guide/mm/transhuge.html",),
    judge=judge,
)
