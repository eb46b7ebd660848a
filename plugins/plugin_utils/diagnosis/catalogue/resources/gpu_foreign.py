# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A program that is no server works on a GPU of the servers."""

from __future__ import annotations

from collections.abc import Mapping

from ...case import Case
from ...finding import Fault, Judged, Remedy, Verdict
from ...hardware import HIDDEN, gpu_label, of_gpu, owner_of, server_pids, shows_processes
from ...reading import listed, mapping, number
from ...verdicts import cleared, proof, unknown

# Use in percent from which there is something to take away.
AT_WORK = 50.0


def judge(case: Case) -> list[Judged]:
    """Judge each GPU that the plan gives to an instance."""
    return [_judged(case, gpu) for gpu in case.gpus or () if of_gpu(case, gpu)]


def _judged(case: Case, gpu: Mapping[str, object]) -> Judged:
    own = server_pids(case)
    processes = gpu.get("processes")
    if processes is None or not own:
        return unknown(f"the programs on {gpu_label(gpu)} could not be read", owner_of(case, gpu))
    if not shows_processes(case):
        return unknown(HIDDEN, owner_of(case, gpu))
    others = [mapping(each) for each in listed(processes) if mapping(each).get("pid") not in own]
    use = number(gpu.get("utilisation")) or 0.0
    told = ", ".join(f"PID {each.get('pid')} with {each.get('memory_mb')} MB" for each in others[:4])
    proofs = (
        proof("nvidia-smi", f"{gpu_label(gpu)}: {told or 'servers alone'}", "servers alone"),
        proof("nvidia-smi", f"{use:g} % use", "explained by requests"),
    )
    if not others:
        return cleared(f"Nobody else is on {gpu_label(gpu)}.", *proofs, instance=owner_of(case, gpu))
    verdict: Verdict = "cause" if use >= AT_WORK else "contributor"
    test = "The programs on the GPU were compared with the processes of the instances."
    return Judged(verdict, 0.8, proofs, test, owner_of(case, gpu), share=use / 200)


FAULT = Fault(
    id="gpu.foreign",
    title="Another program is on the GPU",
    layer="resources",
    observable="processes on the GPU that are no instance's",
    remedy=Remedy(
        "End the named program, or move it to another host.",
        "nvidia-smi --query-compute-apps=pid,used_memory --format=csv",
        "medium",
        restart=False,
    ),
    refs=("https://docs.nvidia.com/deploy/nvml-api",),
    judge=judge,
)
