# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""GPUs of the plan are gone."""

from __future__ import annotations

from ...case import Case
from ...finding import Fault, Judged, Remedy
from ...hardware import not_told, planned_gpus
from ...instance import matching
from ...reading import text
from ...verdicts import cleared, first_line, proof, unknown

LINES = (
    r"Unknown Error|No devices were found|fallen off the bus|Unable to determine the device handle|couldn't communicate"
)


def judge(case: Case) -> list[Judged]:
    """Judge the host, if its plan has GPUs."""
    planned = frozenset[str]().union(*(planned_gpus(each) for each in case.instances))
    if not planned:
        return []
    error = text(case.evidence.get("gpu_error"))
    lost = matching([error], (LINES,)) + case.kernel_lines(r"has fallen off the bus")
    if case.gpus is None and not lost:
        return [unknown(f"the GPUs could not be read: {not_told(case)}")]
    found = {name for gpu in case.gpus or () for name in (text(gpu.get("uuid")), str(gpu.get("index")))}
    # A MIG instance has a name of its own, which the list of GPUs does not have.
    missing = sorted(name for name in planned - found if not name.startswith("MIG-"))
    proofs = (
        proof("nvidia-smi", f"missing: {', '.join(missing) or 'none'}", "all GPUs of the plan"),
        proof("nvidia-smi, kernel log", first_line(lost), "no such line"),
    )
    if not lost and not missing:
        return [cleared("All GPUs of the plan answer.", *proofs)]
    test = "The plan names the GPUs, and the driver does not have them."
    return [Judged("cause", 0.95, proofs, test, impact=0.95)]


FAULT = Fault(
    id="gpu.lost",
    title="GPUs are gone",
    layer="resources",
    observable="fewer GPUs than planned, Unknown Error from NVML, a GPU off the bus",
    remedy=Remedy(
        "Take the host out of rotation and reboot it. In a container that lost them with a daemon-reload: native units"
        " or CDI.",
        "ansible-playbook playbooks/drain.yml --limit HOST",
        "medium",
        restart=True,
    ),
    refs=("NVIDIA/nvidia-container-toolkit#48", "NVIDIA/nvidia-container-toolkit#1227"),
    judge=judge,
)
