# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A GPU's link to the host is narrower or slower than both ends can."""

from __future__ import annotations

from collections.abc import Mapping

from ...case import Case
from ...finding import Fault, Judged, Remedy
from ...hardware import gpu_label, owner_of, unread_of
from ...reading import number, ratio
from ...verdicts import cleared, proof

# A GPU that works this much has its link at full speed; an idle one slows it down by design.
AT_WORK = 20.0


def judge(case: Case) -> list[Judged]:
    """Judge each GPU."""
    return [_judged(case, gpu) for gpu in case.gpus or ()]


def _judged(case: Case, gpu: Mapping[str, object]) -> Judged:
    width = ratio(number(gpu.get("pcie_width")), number(gpu.get("pcie_width_max")))
    if width is None:
        return unread_of(case, gpu, "the link")
    speed = ratio(number(gpu.get("pcie_gen")), number(gpu.get("pcie_gen_max")))
    working = (number(gpu.get("utilisation")) or 0.0) >= AT_WORK
    slow = working and speed is not None and speed < 1
    proofs = (
        proof("nvidia-smi", f"{gpu_label(gpu)}: x{gpu.get('pcie_width')}", f"x{gpu.get('pcie_width_max')}"),
        proof("nvidia-smi", f"generation {gpu.get('pcie_gen')} at {gpu.get('utilisation')} % use", _whole(gpu)),
    )
    if width >= 1 and not slow:
        return cleared(f"The link of {gpu_label(gpu)} is whole.", *proofs, instance=owner_of(case, gpu))
    lost = 1 - width * (speed if slow and speed is not None else 1)
    test = "The width never falls by design, the speed only when idle; both were read from the link itself."
    # How much of a request is transfer is not known: a fifth is much for inference.
    return Judged("cause" if lost >= 0.5 else "contributor", 0.85, proofs, test, owner_of(case, gpu), share=lost / 5)


def _whole(gpu: Mapping[str, object]) -> str:
    return f"generation {gpu.get('pcie_gen_max')} under load"


FAULT = Fault(
    id="gpu.pcie",
    title="A GPU's link is narrow or slow",
    layer="resources",
    observable="current link width or, under load, speed below the highest",
    remedy=Remedy(
        "Take the host out of rotation, seat the card again, and update the firmware.",
        "ansible-playbook playbooks/drain.yml --limit HOST",
        "medium",
        restart=True,
    ),
    refs=("https://docs.kernel.org/PCI/sysfs-pci.html",),
    judge=judge,
)
