# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The driver's libraries are of another version than its loaded module."""

from __future__ import annotations

from ...case import Case
from ...finding import Fault, Judged, Remedy
from ...hardware import on_gpus
from ...instance import matching
from ...reading import mapping, text
from ...verdicts import cleared, first_line, proof, unknown

MISMATCH = r"Driver/library version mismatch|API mismatch"


def judge(case: Case) -> list[Judged]:
    """Judge the host, if it has GPUs by its plan or a driver."""
    versions = mapping(case.fact("nvidia"))
    if not versions and not on_gpus(case):
        return []
    module, library = text(versions.get("module_version")), text(versions.get("library_version"))
    said = matching([text(case.evidence.get("gpu_error"))], (MISMATCH,)) + case.kernel_lines(MISMATCH)
    if not said and not (module and library):
        return [unknown("the versions of the driver's module and libraries could not be read")]
    proofs = (
        proof("/proc/driver/nvidia/version", module or "unknown", "the version of the libraries"),
        proof("libnvidia-ml.so", library or "unknown", "the version of the module"),
        proof("nvidia-smi, kernel log", first_line(said), "no word of a mismatch"),
    )
    if module and library and module == library:
        return [cleared("Module and libraries are of one version.", *proofs)]
    test = "Both versions were read; a program that starts now cannot use the GPU."
    return [Judged("cause", 0.97, proofs, test, impact=0.9)]


FAULT = Fault(
    id="gpu.driver_mismatch",
    title="Driver and libraries differ",
    layer="resources",
    observable="the loaded module has another version than libnvidia-ml",
    remedy=Remedy(
        "Let the role bring both in step; it reboots only where that is allowed. Packages stay on hold afterwards.",
        """ansible-playbook playbooks/site.yml --limit HOST -e '{"nvidia_driver_reboot_ok": true}'""",
        "medium",
        restart=True,
    ),
    refs=("https://docs.nvidia.com/deploy/nvml-api",),
    judge=judge,
)
