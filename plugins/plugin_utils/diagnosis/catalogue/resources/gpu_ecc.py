# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A GPU has bad memory."""

from __future__ import annotations

from collections.abc import Mapping

from ...case import Case
from ...finding import Fault, Judged, Remedy
from ...hardware import gpu_label, owner_of, unread_of
from ...reading import number
from ...verdicts import cleared, proof


def judge(case: Case) -> list[Judged]:
    """Judge each GPU."""
    return [_judged(case, gpu) for gpu in case.gpus or ()]


def _judged(case: Case, gpu: Mapping[str, object]) -> Judged:
    errors, pending, failed = number(gpu.get("ecc_uncorrectable")), gpu.get("remap_pending"), gpu.get("remap_failed")
    if errors is None and pending is None and failed is None:
        return unread_of(case, gpu, "the memory errors")
    proofs = (
        proof("nvidia-smi", f"{gpu_label(gpu)}: {errors or 0:.0f} errors that were not corrected", "0"),
        proof("nvidia-smi", f"remapping pending: {_word(pending)}, failed: {_word(failed)}", "no, no"),
    )
    if failed is True:
        test = "A row could not be replaced: a reset does not cure that, the vendor does."
        return Judged("cause", 0.95, proofs, test, owner_of(case, gpu), impact=0.7)
    if pending is True or errors:
        test = "The rows are replaced at the next reset; nothing failed."
        return Judged("contributor", 0.9, proofs, test, owner_of(case, gpu), impact=0.3)
    return cleared(f"The memory of {gpu_label(gpu)} is well.", *proofs, instance=owner_of(case, gpu))


def _word(value: object) -> str:
    return {True: "yes", False: "no"}.get(value is True, "no") if isinstance(value, bool) else "unknown"


FAULT = Fault(
    id="gpu.ecc",
    title="A GPU has bad memory",
    layer="resources",
    observable="uncorrected ECC errors, rows that wait for remapping, remapping that failed",
    remedy=Remedy(
        "Take the host out of rotation and reset the GPU; where remapping failed, have the board replaced.",
        "ansible-playbook playbooks/drain.yml --limit HOST; nvidia-smi --gpu-reset --id=ADDRESS",
        "medium",
        restart=True,
    ),
    refs=("https://docs.nvidia.com/deploy/a100-gpu-mem-error-mgmt",),
    judge=judge,
)
