# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A graph on a GPU spends its time in operations that run on CPUs."""

from __future__ import annotations

from ...case import Case
from ...derived import busy_part, each_used, part, weighed
from ...finding import Fault, Judged, Remedy
from ...hardware import HIDDEN, shows_processes, use_by
from ...instance import Instance
from ...verdicts import cleared, percent, proof, unknown

# A GPU that works less than this while its instance's CPUs are busy waits for them.
IDLE, BUSY = 0.3, 0.8


def judge(case: Case) -> list[Judged]:
    """Judge each instance with GPUs."""
    return each_used(case, _judged) if any(each.plan.get("gpus") for each in case.instances) else []


def _judged(case: Case, instance: Instance) -> Judged | None:
    if not instance.plan.get("gpus"):
        return None
    if case.gpus is None:
        return unknown("the GPUs could not be read", instance.name)
    used = use_by(case, instance)
    if used is None and not shows_processes(case):
        return unknown(HIDDEN, instance.name)
    if used is None:
        return cleared("No GPU is used at all, which is another fault.", instance=instance.name)
    busy = busy_part(instance)
    if busy is None:
        return unknown("the CPU time of its process could not be read", instance.name)
    evidence = (
        proof("nvidia-smi", f"its GPU {percent(used)} busy", "busy under load"),
        proof("/proc/PID/stat", f"its CPUs {percent(busy)} busy", "some to spare", case.window_s),
    )
    if used >= IDLE or busy < BUSY:
        return cleared("Its GPU works, or its CPUs have time to spare.", *evidence, instance=instance.name)
    share = part(case, instance, instance.execution_ms)
    return Judged(
        weighed(case, instance, share),
        0.75,
        evidence,
        "A server that does not see the GPU has no process on it; this one has, and its CPUs are what it waits for.",
        instance.name,
        share=share,
    )


FAULT = Fault(
    id="model.cpu_ops",
    title="The GPU waits for operations on CPUs",
    layer="model",
    observable="the GPU is idle and the CPUs of its instance are busy",
    remedy=Remedy(
        "See in a trace which operations these are; export them for the GPU, or move them to the callers.",
        "ansible-playbook playbooks/profile.yml -e instance=INSTANCE -e host=HOST",
        "low",
        restart=True,
    ),
    refs=(
        "https://github.com/tensorflow/serving/issues/1556",
        "https://github.com/tensorflow/serving/issues/1505",
    ),
    judge=judge,
)
