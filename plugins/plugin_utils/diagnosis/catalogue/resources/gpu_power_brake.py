# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The host tells its GPUs to slow down, for want of power."""

from __future__ import annotations

from collections.abc import Mapping

from ...case import Case
from ...finding import Fault, Judged, Remedy
from ...hardware import POWER_BRAKE, clock_proof, clock_ratio, gpu_label, held, owner_of, reasons_of, unread_of
from ...verdicts import cleared, proof


def judge(case: Case) -> list[Judged]:
    """Judge each GPU."""
    return [_judged(case, gpu) for gpu in case.gpus or ()]


def _judged(case: Case, gpu: Mapping[str, object]) -> Judged:
    braked, clock = held(gpu, POWER_BRAKE), clock_ratio(gpu)
    if braked is None:
        return unread_of(case, gpu, "the clock event reasons")
    proofs = (
        proof("nvidia-smi", f"{gpu_label(gpu)}: reasons {reasons_of(gpu)}", "no 0x80"),
        clock_proof("nvidia-smi", clock),
    )
    if not braked:
        return cleared(f"The host does not brake {gpu_label(gpu)}.", *proofs, instance=owner_of(case, gpu))
    test = "The bit is set by a line from the host's power supply, by nothing else."
    return Judged("cause", 0.97, proofs, test, owner_of(case, gpu), share=0.5 if clock is None else 1 - clock)


FAULT = Fault(
    id="gpu.power_brake",
    title="The host brakes its GPUs",
    layer="resources",
    observable="clock event bit 0x80",
    remedy=Remedy(
        "Check the host's power supplies and their events; take the host out of rotation meanwhile.",
        "ipmitool sel list  # and ansible-playbook playbooks/drain.yml --limit HOST",
        "low",
        restart=False,
    ),
    refs=("https://docs.nvidia.com/deploy/nvml-api (NvmlClocksEventReasons)",),
    judge=judge,
)
