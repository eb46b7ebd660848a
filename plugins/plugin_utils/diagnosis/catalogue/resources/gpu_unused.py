# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""An instance that has GPUs by its plan works on CPUs."""

from __future__ import annotations

from ... import restarts
from ...case import Case
from ...finding import Fault, Judged, Remedy
from ...hardware import HIDDEN, not_told, of_gpus, on_gpus, shows_processes
from ...instance import Instance
from ...reading import at, listed, mapping
from ...verdicts import cleared, first_line, proof, unknown

LINES = (r"failed call to cuInit", r"Could not find cuda drivers", r"no CUDA-capable device", r"Cannot dlopen some GPU")


def judge(case: Case) -> list[Judged]:
    """Judge each running instance that has GPUs by its plan."""
    return [_judged(case, each) for each in on_gpus(case) if each.running is not False]


def _judged(case: Case, instance: Instance) -> Judged:
    lines, pid = instance.log(*LINES), at(instance.last, "process", "pid")
    gpus = of_gpus(case, instance)
    if not gpus and not lines:
        return unknown(f"its GPUs could not be read: {not_told(case)}", instance.name)
    users = {mapping(each).get("pid") for gpu in gpus for each in listed(gpu.get("processes"))}
    proofs = (
        proof("nvidia-smi", "its process is not on its GPUs" if pid not in users else "its process is there", "there"),
        proof("journal", first_line(lines), "no line about CUDA that fails"),
    )
    if pid in users:
        return cleared("Its process holds memory of its GPUs.", *proofs, instance=instance.name)
    if not lines and instance.name in case.restarted:
        return unknown(restarts.WHY, instance.name)
    if not lines and not shows_processes(case):
        return unknown(HIDDEN, instance.name)
    test = "The driver answers and the process runs, but it is not among the GPU's processes."
    return Judged("cause", 0.95 if lines else 0.8, proofs, test, instance.name, share=0.8, impact=0.3)


FAULT = Fault(
    id="gpu.unused",
    title="The server does not use its GPU",
    layer="resources",
    observable="no process of the instance on its GPU, cuInit that fails in the log",
    remedy=Remedy(
        "Install a GPU build whose CUDA fits the driver: the packages of apt are CPU builds.",
        "tfserving_install_method: image  # with tfserving_images",
        "medium",
        restart=True,
    ),
    refs=("tensorflow/serving#987", "tensorflow/serving#1005", "tensorflow/serving#1768"),
    judge=judge,
)
