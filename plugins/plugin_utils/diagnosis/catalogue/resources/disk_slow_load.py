# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A load waits for a slow disk."""

from __future__ import annotations

from ...case import Case
from ...finding import Fault, Judged, Remedy
from ...hardware import waited_for
from ...instance import Instance
from ...reading import listed, mapping, text
from ...verdicts import cleared, percent, proof, unknown

# Bytes a second that local disks of servers read without effort; network disks and worn ones stay below.
SLOW_BYTES_PER_S = 200e6
# Part of the time in which a task waited for a disk. https://docs.kernel.org/accounting/psi.html
IO_PRESSURE = 0.1
LOADING = frozenset({"START", "LOADING"})


def judge(case: Case) -> list[Judged]:
    """Judge each instance that runs."""
    return [_judged(case, each) for each in case.running]


def _judged(case: Case, instance: Instance) -> Judged:
    waited = waited_for(case, instance, "io")
    read = instance.rate(instance.spent("read_bytes"))
    if waited is None or read is None:
        return unknown("its reads or the pressure on disks could not be read", instance.name)
    loading = _loading(instance)
    proofs = (
        proof(
            "io.pressure",
            f"{percent(waited)} of the time waited for a disk",
            f"under {percent(IO_PRESSURE)}",
            case.window_s,
        ),
        proof("/proc/PID/io", f"{read / 1e6:.0f} MB/s read", "200 MB/s and more during a load", case.window_s),
        proof("GetModelStatus", f"loading: {', '.join(loading) or 'nothing'}", "nothing"),
    )
    # It reads while it waits: a short load from a fast disk is few bytes a second of the whole time.
    if waited <= IO_PRESSURE or read <= 0 or read / min(waited, 1.0) >= SLOW_BYTES_PER_S:
        return cleared("No disk holds it up.", *proofs, instance=instance.name)
    return Judged(
        "cause" if loading else "suspect",
        0.85 if loading else 0.4,
        proofs,
        "It waits for reads while it loads, and gets less than a local disk gives; a cold cache reads at full speed.",
        instance.name,
        share=waited,
        impact=0.4 if loading else 0.0,
    )


def _loading(instance: Instance) -> list[str]:
    """Return the models of which a version is being loaded."""
    found = []
    for name, model in mapping(instance.evidence.get("models")).items():
        states = [text(mapping(each).get("state")) for each in listed(mapping(model).get("states"))]
        if LOADING.intersection(states):
            found.append(name)
    return found


FAULT = Fault(
    id="disk.slow_load",
    title="A load waits for a slow disk",
    layer="resources",
    observable="pressure on disks and few bytes a second while a version is loaded",
    remedy=Remedy(
        "Keep the models on a local disk.",
        "tfserving_model_root",
        "medium",
        restart=True,
    ),
    refs=("https://docs.kernel.org/accounting/psi.html",),
    judge=judge,
)
