# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The first of several instances has taken all memory of a GPU that they share."""

from __future__ import annotations

from collections.abc import Mapping

from ...case import Case
from ...finding import Fault, Judged, Remedy
from ...hardware import gpu_label, of_gpu, owner_of, sharers, unread_of
from ...instance import Instance
from ...reading import number, ratio
from ...verdicts import cleared, first_line, percent, proof, unknown

LINES = (r"CUDA_ERROR_OUT_OF_MEMORY", r"failed to allocate .* from device", r"ran out of memory trying to allocate")
FULL = 0.95


def judge(case: Case) -> list[Judged]:
    """Judge each GPU."""
    return [_judged(case, gpu) for gpu in case.gpus or ()]


def _judged(case: Case, gpu: Mapping[str, object]) -> Judged:
    used = ratio(number(gpu.get("memory_used_mb")), number(gpu.get("memory_total_mb")))
    if used is None:
        return unread_of(case, gpu, "the memory")
    owners = of_gpu(case, gpu)
    if len(owners) < sharers(case, gpu):
        return unknown(f"other instances of {gpu_label(gpu)} were not looked at", owner_of(case, gpu))
    refused = [(each, lines) for each in owners if (lines := _refusals(each))]
    greedy = [each.name for each in owners if "per_process_gpu_memory_fraction" not in each.flags]
    proofs = (
        proof("nvidia-smi", f"{gpu_label(gpu)}: {percent(used)} of its memory in use", "room for all its instances"),
        proof("/proc/PID/cmdline", f"without a fraction: {', '.join(greedy) or 'none'}", "none that shares a GPU"),
        proof("journal", first_line(refused[0][1]) if refused else "no such line", "no line about memory of the GPU"),
    )
    if not refused and (len(owners) < 2 or not greedy or used < FULL):
        test = f"A server takes all memory of a GPU that it has alone; {gpu_label(gpu)} refused nobody."
        return cleared(test, *proofs, instance=owner_of(case, gpu))
    name = refused[0][0].name if refused else None
    test = "An instance was refused memory while others have no limit; one alone takes all by design."
    return Judged("cause" if refused else "contributor", 0.85, proofs, test, name, impact=0.8 if refused else 0.3)


def _refusals(instance: Instance) -> list[str]:
    """Return the lines about memory that was refused, but for tries that have another way."""
    return [line for line in instance.log(*LINES) if "is not a failure" not in line]


FAULT = Fault(
    id="gpu.memory_taken",
    title="The GPU's memory is all taken",
    layer="resources",
    observable="a GPU that several instances share, without a fraction for each",
    remedy=Remedy(
        "Let the plan share the memory: it sets the fraction of each instance by its weight.",
        "tfserving_instances[].weight",
        "low",
        restart=True,
    ),
    refs=("tensorflow/serving#249", "tensorflow/serving#675"),
    judge=judge,
)
