# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""An instance has nearly as many files open as it may."""

from __future__ import annotations

from ....signals.thresholds import FILES_USED
from ...case import Case
from ...finding import Fault, Judged, Remedy, Verdict
from ...instance import Instance
from ...reading import at, listed, number, ratio
from ...verdicts import cleared, first_line, proof, unknown

LINES = (r"Too many open files", r"EMFILE")
BRIM = 0.98


def judge(case: Case) -> list[Judged]:
    """Judge each instance that runs."""
    return [_judged(each) for each in case.running]


def _judged(instance: Instance) -> Judged:
    limits = listed(at(instance.evidence, "limits", "nofile"))
    opened, limit = instance.process("fds"), number(limits[0]) if limits else None
    used, lines = ratio(opened, limit), instance.log(*LINES)
    if used is None:
        return unknown("its open files or their limit could not be read", instance.name)
    proofs = (
        proof("/proc/PID/fd", f"{opened:.0f} files open", f"under {FILES_USED.percent} of the limit"),
        proof("/proc/PID/limits", f"{limit:.0f}", "tfserving_open_files"),
        proof("journal", first_line(lines), "no line about open files"),
    )
    if used <= FILES_USED.value and not lines:
        return cleared("It may open more files.", *proofs, instance=instance.name)
    full = used >= BRIM or (bool(lines) and used > FILES_USED.value)
    test = "Open files were counted and compared with the limit of the live process."
    verdict: Verdict = "cause" if full else "contributor"
    return Judged(verdict, 0.95, proofs, test, instance.name, impact=0.8 if full else 0.2)


FAULT = Fault(
    id="host.files",
    title="The server may open no more files",
    layer="resources",
    observable="open files near the limit, EMFILE in the log",
    remedy=Remedy(
        "Raise the limit of open files; let callers keep few connections, through a gateway.",
        "tfserving_open_files",
        "low",
        restart=True,
    ),
    refs=("https://man7.org/linux/man-pages/man2/getrlimit.2.html",),
    judge=judge,
)
