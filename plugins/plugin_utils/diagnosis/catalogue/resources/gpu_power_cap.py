# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A GPU draws as much power as it may, and lowers its clocks for it."""

from __future__ import annotations

from collections.abc import Mapping

from ...case import Case
from ...finding import Fault, Judged, Remedy, Verdict
from ...hardware import CLOCK_RATIO, POWER_CAP, clock_proof, clock_ratio, gpu_label, held, owner_of, unread_of
from ...reading import number, ratio
from ...verdicts import cleared, proof

# Part of the limit from which a GPU counts as at it.
AT_LIMIT = 0.95
# Some loss of clock at full power is how large GPUs work all day, two thirds of the highest with wide matrices; below
# this it costs a good part of their speed.
LOW = 0.5


def judge(case: Case) -> list[Judged]:
    """Judge each GPU."""
    return [_judged(case, gpu) for gpu in case.gpus or ()]


def _judged(case: Case, gpu: Mapping[str, object]) -> Judged:
    capped, clock = held(gpu, POWER_CAP), clock_ratio(gpu)
    if capped is None:
        return unread_of(case, gpu, "the clock event reasons")
    draw, limit = number(gpu.get("power_w")), number(gpu.get("power_limit_w"))
    proofs = (
        proof(
            "nvidia-smi", f"{gpu_label(gpu)}: {gpu.get('power_w')} W of {gpu.get('power_limit_w')} W", "below the limit"
        ),
        clock_proof("nvidia-smi", clock),
    )
    share = ratio(draw, limit)
    if not capped or (share is not None and share < AT_LIMIT):
        return cleared(f"Power does not hold {gpu_label(gpu)} back.", *proofs, instance=owner_of(case, gpu))
    if clock is not None and clock >= CLOCK_RATIO:
        test = f"{gpu_label(gpu)} is at its limit of power and keeps its clock."
        return cleared(test, *proofs, instance=owner_of(case, gpu))
    verdict: Verdict = "cause" if clock is not None and clock < LOW else "contributor"
    test = "The draw is at the limit, and the driver names it as the reason; with a higher limit the clock would rise."
    return Judged(verdict, 0.85, proofs, test, owner_of(case, gpu), share=0.2 if clock is None else 1 - clock)


FAULT = Fault(
    id="gpu.power_cap",
    title="A GPU is at its power limit",
    layer="resources",
    observable="clock event bit 0x4 with the draw at the limit",
    remedy=Remedy(
        "Raise the power limit, as far as the board and the rack allow it.",
        "nvidia_driver_gpu_settings: [{power_limit_w: WATTS}]",
        "low",
        restart=False,
    ),
    refs=("https://docs.nvidia.com/deploy/nvml-api (NvmlClocksEventReasons)",),
    judge=judge,
)
