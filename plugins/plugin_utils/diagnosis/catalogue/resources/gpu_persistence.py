# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The driver puts down a GPU without programs, and its clocks fall between requests."""

from __future__ import annotations

from collections.abc import Mapping

from ...case import Case
from ...finding import Fault, Judged, Remedy
from ...hardware import gpu_label, owner_of, unread_of
from ...reading import text
from ...verdicts import cleared, proof


def judge(case: Case) -> list[Judged]:
    """Judge each GPU."""
    return [_judged(case, gpu) for gpu in case.gpus or ()]


def _judged(case: Case, gpu: Mapping[str, object]) -> Judged:
    kept, state = gpu.get("persistence"), text(gpu.get("pstate"))
    if not isinstance(kept, bool):
        return unread_of(case, gpu, "the persistence")
    proofs = (
        proof("nvidia-smi", f"{gpu_label(gpu)}: persistence {'on' if kept else 'off'}", "on"),
        proof("nvidia-smi", f"state {state or 'unknown'}", "P0 under load, P8 when idle"),
    )
    if kept:
        return cleared(f"The driver keeps {gpu_label(gpu)} ready.", *proofs, instance=owner_of(case, gpu))
    test = "The setting is off. It costs the first request after a start or a pause, no others."
    return Judged("contributor", 0.9, proofs, test, owner_of(case, gpu), share=0.05)


FAULT = Fault(
    id="gpu.persistence",
    title="The driver does not keep a GPU ready",
    layer="resources",
    observable="persistence mode off",
    remedy=Remedy("Run the persistence daemon.", "nvidia_driver_persistence: true", "none", restart=False),
    refs=("https://docs.nvidia.com/deploy/driver-persistence",),
    judge=judge,
)
