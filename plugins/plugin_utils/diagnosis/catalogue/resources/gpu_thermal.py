# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A GPU is too hot and lowers its clocks."""

from __future__ import annotations

from collections.abc import Mapping

from ...case import Case
from ...finding import Fault, Judged, Remedy
from ...hardware import (
    HARDWARE,
    HARDWARE_THERMAL,
    POWER_BRAKE,
    THERMAL,
    clock_proof,
    clock_ratio,
    gpu_label,
    held,
    owner_of,
    reasons_of,
    unread_of,
)
from ...verdicts import cleared, proof


def judge(case: Case) -> list[Judged]:
    """Judge each GPU."""
    return [_judged(case, gpu) for gpu in case.gpus or ()]


def _judged(case: Case, gpu: Mapping[str, object]) -> Judged:
    hot, hardware = held(gpu, THERMAL, HARDWARE_THERMAL), held(gpu, HARDWARE)
    if hot is None or hardware is None:
        return unread_of(case, gpu, "the clock event reasons")
    clock = clock_ratio(gpu)
    proofs = (
        proof("nvidia-smi", f"{gpu_label(gpu)}: {gpu.get('temperature')} °C, reasons {reasons_of(gpu)}", "no 0x68"),
        clock_proof("nvidia-smi", clock),
    )
    # Bit 0x8 alone is heat or power; the brake has a bit of its own.
    if not hot and not (hardware and not held(gpu, POWER_BRAKE)):
        return cleared(f"{gpu_label(gpu)} is not too hot.", *proofs, instance=owner_of(case, gpu))
    slow = clock is None or clock < 0.95
    return Judged(
        "cause" if slow else "contributor",
        0.95 if hot else 0.75,
        proofs,
        "The driver itself names heat as the reason, not power and not idleness.",
        owner_of(case, gpu),
        share=0.2 if clock is None else 1 - clock,
    )


FAULT = Fault(
    id="gpu.thermal",
    title="A GPU is too hot",
    layer="resources",
    observable="clock event bits 0x8, 0x20, 0x40",
    remedy=Remedy(
        "Check the cooling of the host; until then a lower power limit keeps the clock even.",
        "nvidia_driver_gpu_settings: [{power_limit_w: WATTS}]",
        "low",
        restart=False,
    ),
    refs=("https://docs.nvidia.com/deploy/nvml-api (NvmlClocksEventReasons)",),
    judge=judge,
)
