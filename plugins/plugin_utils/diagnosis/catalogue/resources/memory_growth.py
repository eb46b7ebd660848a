# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""An instance grows with each version that it loads, because its allocator gives nothing back."""

from __future__ import annotations

from ...case import Case
from ...finding import Fault, Judged, Remedy
from ...instance import Instance
from ...reading import at, number, text
from ...verdicts import cleared, proof, unknown

# Resident memory over the planned peak from which growth is no longer an estimate's error.
GROWN, FAR = 1.3, 3.0


def judge(case: Case) -> list[Judged]:
    """Judge each instance that runs."""
    return [_judged(case, each) for each in case.running]


def _judged(case: Case, instance: Instance) -> Judged:
    allocator, resident = text(instance.evidence.get("allocator")), instance.process("rss_mb")
    if not allocator or resident is None:
        return unknown("its allocator or its resident memory could not be read", instance.name)
    expected = number(at(instance.plan, "memory", "expected_mb"))
    before = _before(case, instance)
    grown = (expected is not None and resident > GROWN * expected) or (before is not None and resident > GROWN * before)
    proofs = (
        proof("/proc/PID/maps", allocator, "jemalloc" if at(case.plan, "allocator") else "as planned"),
        proof("/proc/PID/status", f"{resident:.0f} MB resident, {_told(before)}", f"at most {_told(expected)}"),
    )
    if "jemalloc" in allocator or not grown:
        if "jemalloc" not in allocator and at(case.plan, "allocator"):
            test = "The plan wants jemalloc, and the process has another; it has not grown yet."
            return Judged("contributor", 0.9, proofs, test, instance.name)
        return cleared(
            "Its memory is as expected, or its allocator gives memory back.", *proofs, instance=instance.name
        )
    test = "It has grown beyond the plan with an allocator that keeps what unloaded models leave."
    # What a plan expects is an estimate, and may itself be what is wrong.
    sure = (before is not None and resident > GROWN * before) or resident > FAR * (expected or resident)
    if not sure:
        return Judged("contributor", 0.5, proofs, test, instance.name, impact=0.1)
    return Judged("cause", 0.85, proofs, test, instance.name, impact=0.3)


def _before(case: Case, instance: Instance) -> float | None:
    """Return its resident memory on another day, of the same process."""
    earlier = case.yesterday.instance(instance.name) if case.yesterday else None
    same = earlier and at(earlier.last, "process", "started") == at(instance.last, "process", "started")
    return earlier.process("rss_mb") if earlier and same else None


def _told(megabytes: float | None) -> str:
    return "not known before" if megabytes is None else f"{megabytes:.0f} MB"


FAULT = Fault(
    id="memory.growth",
    title="The server grows with each load",
    layer="resources",
    observable="resident memory above the plan, glibc's allocator in the process's maps",
    remedy=Remedy(
        "Use jemalloc, which returns what unloaded models leave, and restart the instance.",
        "tfserving_allocator: jemalloc",
        "low",
        restart=True,
    ),
    refs=("tensorflow/serving#1664", "tensorflow/serving#2142"),
    judge=judge,
)
