# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The fabric manager of a host with NVSwitches does not run, or is of another version than the driver."""

from __future__ import annotations

from ...case import Case
from ...finding import Fault, Judged, Remedy
from ...hardware import on_gpus
from ...reading import listed
from ...verdicts import cleared, first_line, proof, unknown

LINES = (r"CUDA_ERROR_SYSTEM_NOT_READY", r"system not yet initialized", r"error 802")


def judge(case: Case) -> list[Judged]:
    """Judge the host, if its plan has GPUs."""
    planned = on_gpus(case)
    if not planned:
        return []
    if not any(listed(each.evidence.get("log")) for each in planned):
        return [unknown("the logs of the instances could not be read")]
    said = [(each, lines) for each in planned if (lines := each.log(*LINES))]
    kernel = case.kernel_lines(r"nv-fabricmanager.*(mismatch|fail)", r"fabric manager.*(mismatch|version)")
    proofs = (
        proof("journal", first_line(said[0][1]) if said else "no such line", "no error 802"),
        proof("kernel log", first_line(kernel), "no line about the fabric manager"),
    )
    if not said:
        return [cleared("CUDA has not said that the fabric is not ready.", *proofs)]
    test = "Error 802 is CUDA's own word for a fabric that is not ready; the driver answers otherwise."
    return [Judged("cause", 0.9, proofs, test, impact=0.95)]


FAULT = Fault(
    id="gpu.fabric",
    title="The fabric manager does not fit",
    layer="resources",
    observable="CUDA error 802 in the server's log",
    remedy=Remedy(
        "Have the fabric manager at the driver's version, running; the role installs both together.",
        "nvidia_driver_fabric_manager: 'auto'; systemctl status nvidia-fabricmanager.service",
        "medium",
        restart=True,
    ),
    refs=("NVIDIA/gpu-operator#544",),
    judge=judge,
)
