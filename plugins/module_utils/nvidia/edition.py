# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Machines that need another edition of NVIDIA's driver than the ordinary one; the role leaves them alone."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import WishError
from ..host.sysfs import Tree
from . import owned as driver_gpus

VARIABLE = "nvidia_driver_state"
VGPU_GUEST, VGPU_HOST, TEGRA = "vgpu_guest", "vgpu_host", "tegra"

# Found only on hosts that share out their GPUs: the manager's daemon and module (NVIDIA's vGPU user guide).
_VGPU_MANAGER = ("usr/bin/nvidia-vgpu-mgr", "sys/module/nvidia_vgpu_vfio")
# Jetson Linux names its release here; every Tegra names its chip in the device tree ("nvidia,tegra234").
_TEGRA_RELEASE = "etc/nv_tegra_release"
_COMPATIBLE = ("proc/device-tree/compatible", "sys/firmware/devicetree/base/compatible")
_TEGRA = re.compile(rb"(^|\0)nvidia,tegra\d")
_MOST_BYTES = 4096


def read(tree: Tree, gpus: Sequence[Mapping[str, Any]]) -> str | None:
    """Return the edition that a machine with these GPUs needs: VGPU_GUEST, VGPU_HOST, TEGRA; None for the ordinary one.

    ``gpus`` are those of `nvidia.devices.devices`.
    """
    if is_tegra(tree):
        return TEGRA
    if is_vgpu_host(tree):
        return VGPU_HOST
    return VGPU_GUEST if any(gpu["virtual"] for gpu in gpus) else None


def is_tegra(tree: Tree) -> bool:
    """Return whether the machine is an NVIDIA Tegra, such as a Jetson.

    Up to Orin its GPU is not on the PCI bus. Thor's is, and nvidia.ko drives it (10de:2b00 in nv-pci.c of
    open-gpu-kernel-modules), but Jetson Linux ships that driver too. GB10 of DGX Spark takes the ordinary open one.
    """
    named = any(_TEGRA.search(tree.data(path, _MOST_BYTES) or b"") for path in _COMPATIBLE)
    return named or tree.exists(_TEGRA_RELEASE)


def is_vgpu_host(tree: Tree) -> bool:
    """Return whether the host's driver is the vGPU manager, which shares GPUs with virtual machines and has no CUDA."""
    return any(map(tree.exists, _VGPU_MANAGER))


def refuse(state: Mapping[str, Any]) -> None:
    """Refuse, before any change, to replace another edition with the ordinary driver."""
    edition = state.get("edition")
    if edition == VGPU_GUEST:
        address = next(gpu["pci_address"] for gpu in state["gpus"] if gpu["virtual"])
        problem = f"GPU {address} is a vGPU, which NVIDIA's licensed guest driver drives and no package of an archive"
        remedy = "install that driver as NVIDIA's vGPU guide says, and set this to unmanaged"
        raise WishError(VARIABLE, problem, remedy)
    if edition == VGPU_HOST:
        problem = "the driver of this host is NVIDIA's vGPU manager, which shares its GPUs out to virtual machines"
        raise WishError(VARIABLE, problem, "set this to unmanaged, or remove the vGPU manager first")


def passed_over(state: Mapping[str, Any]) -> str:
    """Return why a host has no driver to manage, as a sentence; empty if it has one."""
    if state["edition"] == TEGRA:
        return (
            "This host is a Tegra, such as a Jetson, whose driver is part of NVIDIA's Linux for it: it is left alone."
        )
    if state["gpus"]:
        return ""
    if state["left_out"]:
        others = driver_gpus.listed(state["left_out"])
        return f"All NVIDIA GPUs of this host are left out, so it needs no driver: {others}."
    return "No NVIDIA GPU is on the PCI bus of this host, so it needs no driver."
