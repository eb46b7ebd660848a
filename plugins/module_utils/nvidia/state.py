# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The usability of a GPU, judged by nvidia-smi's answers about it: one rule for facts, settings and health."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from ..visible_text import told
from . import cells as nvidia_cells
from . import pci_address, xids

RECOVERY = "gpu_recovery_action"  # since branch 570
MIG = "mig.mode.current"
# The fields needed: a GPU that waits for a reset still reports its name and its memory, but no temperature.
FIELDS = ("temperature.gpu", RECOVERY)

_ADDRESS = re.compile(r"(?<![0-9a-f:])([0-9a-f]{4,8}):([0-9a-f]{2}:[01][0-9a-f]\.[0-7])(?![0-9a-f])", re.IGNORECASE)


# Also if another GPU has the same.
NO_UUID = "does not report a UUID of its own"


class Trouble(NamedTuple):
    """Why a GPU cannot be used, as the end of a sentence about it, and an action of xids."""

    why: str
    action: str


def trouble(gpu: Mapping[str, Any], recovery: str = RECOVERY) -> Trouble | None:
    """Return what keeps a GPU, a row of `nvidia.query`, from serving; ``recovery`` is its recovery action's key."""
    absences = gpu.get("absent", {}).values()
    if nvidia_cells.LOST in absences:
        return Trouble("is lost", xids.RESTART_HOST)
    if nvidia_cells.NEEDS_RESET in absences:
        return Trouble("waits for a reset", xids.RESET_GPU)
    words: str = gpu.get(recovery) or ""
    action = xids.recovery(words) if words else xids.IGNORE
    # Work that needs neither a peer nor an IMEX domain continues.
    if action not in (xids.IGNORE, xids.DRAIN_P2P, xids.RECOVER_IMEX):
        return Trouble(f"asks for a recovery ({told(words, 40)})", action)
    return None


def untold(gpu: Mapping[str, Any], mig: str = MIG) -> str:
    """Return what a GPU does not report but a server's assignment needs to know, as the end of a sentence, or "".

    ``mig`` is the key of its MIG mode. A GPU without a UUID still has its index; one that could not tell it is in
    doubt.
    """
    if gpu["index"] is None:
        return "does not report its number"
    if gpu["absent"].get("uuid") in nvidia_cells.UNTOLD:
        return NO_UUID
    if gpu["absent"].get(mig) in nvidia_cells.UNTOLD:
        return "does not report whether it is divided into MIG instances"
    return ""


def called(gpu: Mapping[str, Any]) -> str:
    """Return a GPU's index and product name, as far as it reports them."""
    number = "a GPU without a number" if gpu["index"] is None else f"GPU {gpu['index']}"
    return f"{number} ({told(gpu['name'], 80)})" if gpu["name"] else number


def addresses_in(text: str) -> set[str]:
    """Return the PCI addresses that a text names, in the notation of sysfs."""
    return {pci_address.normal(domain, place) for domain, place in _ADDRESS.findall(text)}
