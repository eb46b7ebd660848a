# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""GPU generations and distributions, for the choice of a driver: a typed view of tables/drivers.yml."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError

from ..tables.read import table

TABLE = "drivers"

# The systems in the table, for messages.
SUPPORTED = "Debian 12 and 13, Ubuntu 22.04 and 24.04"


@dataclass(frozen=True)
class Architecture:
    """A GPU generation, with the flavours and branches of the driver that support it."""

    name: str
    open: str
    """``never``, ``either`` or ``always``."""
    first: int
    last: int | None
    """None while branches still drive it."""


# A device newer than the table: all GPUs since Blackwell have open modules only.
UNKNOWN = Architecture("a generation newer than this collection", "always", 570, None)


def architecture(device_id: int) -> Architecture:
    """Return the generation of a display controller by its PCI device id (``0x2335``: Hopper)."""
    newest = 0
    for row in table(TABLE)["architectures"]:
        newest = max(newest, *(high for _low, high in row["ids"]))
        if any(low <= device_id <= high for low, high in row["ids"]):
            return Architecture(row["name"], row["open"], row["first"], row.get("last"))
    if device_id > newest:
        return UNKNOWN
    raise WishError(
        "nvidia_driver_branch",
        f"the PCI device 10de:{device_id:04x} is of a generation that no supported branch drives",
        "take the GPU out, or leave this host out of nvidia_driver",
    )


def architectures(gpus: Iterable[Mapping[str, Any]]) -> list[Architecture]:
    """Return the distinct generations of a host's GPUs, in the order of the GPUs.

    Each GPU is a mapping with ``device_id`` in sysfs's format (``0x2335``).
    """
    return list(dict.fromkeys(architecture(int(str(gpu["device_id"]), 16)) for gpu in gpus))


def generation(gpu: Mapping[str, Any]) -> Architecture | None:
    """Return the generation of a GPU, or None if no supported branch drives it."""
    try:
        return architecture(int(str(gpu["device_id"]), 16))
    except WishError:
        return None


def drives(branch: int, kind: Architecture | None) -> bool:
    """Return whether a branch drives a generation."""
    return kind is not None and kind.first <= branch and (kind.last is None or branch <= kind.last)


def called(gpu: Mapping[str, Any]) -> str:
    """Return a GPU's address and generation for a message."""
    kind = generation(gpu)
    place = gpu.get("pci_address") or f"device {gpu['device_id']}"
    return f"{place} ({kind.name if kind else 'of a generation that no supported branch drives'})"


def system(distribution: str, release: str) -> Mapping[str, Any]:
    """Return the row of a distribution or raise WishError; ``release`` may be more exact than the table (``12.5``)."""
    systems = table(TABLE)["systems"]
    parts = str(release).split(".")
    for length in (2, 1):
        row: Mapping[str, Any] | None = systems.get(f"{str(distribution).lower()}-{'.'.join(parts[:length])}")
        if row:
            return row
    raise WishError(
        "nvidia_driver_state",
        f"{distribution} {release} is not among the systems whose driver packages are known",
        f"use {SUPPORTED}, or install the driver yourself and leave this host out of nvidia_driver",
    )


def setting(name: str) -> Any:
    """Return a single value of the table."""
    return table(TABLE)[name]
