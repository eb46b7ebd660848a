# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""NVIDIA devices on a host's PCI bus, and which of them are ours. Nothing here changes anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..host.sysfs import Tree
from . import edition as driver_edition
from . import owned as driver_gpus
from .owned import PCI, VENDOR, Device

# PCI base class 03: VGA (0300), 3D (0302), other (0380). A card's sound (0403), USB (0c03) and UCSI (0c80) have others.
DISPLAY_CLASS = "0x03"
# NVSwitches are bridges of type "other" (class 0680), and so is the Ethernet of NVIDIA's nForce chipsets.
NVSWITCH_CLASS = "0x0680"
NVSWITCH_DRIVER = "nvidia-nvswitch"
# The endpoints in nvswitch.c of open-gpu-kernel-modules: 1ae8 and 1af0 to 1aff of A100, 22a0 to 22a7 of H100; 1ac0 to
# 1ac2 of V100 are in no current driver. Those of HGX B200 and GB200 are not on the PCI bus.
NVSWITCH_IDS = ((0x1AC0, 0x1AC2), (0x1AE8, 0x1AE8), (0x1AF0, 0x1AFF), (0x22A0, 0x22A7))

# The PCI configuration space: https://docs.kernel.org/PCI/ and the PCI specification, "Capabilities List".
_CONFIG_BYTES = 256
_STATUS, _HAS_CAPABILITIES, _FIRST = 0x06, 0x10, 0x34
_VENDOR_SPECIFIC, _GONE = 0x09, 0xFF
# The first bytes of a vGPU's vendor capability, after its header (internal/vgpu of NVIDIA/k8s-device-plugin).
_VGPU_SIGNATURE = b"VF"


def devices(tree: Tree, ignored: Sequence[str] = (), version: str | None = None) -> dict[str, Any]:
    """Return the GPUs and the number of NVSwitches.

    Each GPU has ``pci_address``, ``device_id``, the bound ``driver``, ``virtual`` (whether it is a vGPU, None if that
    cannot be read) and ``functions`` (its number of virtual functions). GPUs that are not ours are listed apart as
    ``left_out``, each with the reason (``why``) and whether it is bound elsewhere (``held``). ``unmatched`` lists
    entries of ``ignored`` (as nvidia.owned.checked returns it) that match no GPU of this host. ``version`` is the
    running driver's, as driver_gpus.left_out takes it.
    """
    found = [driver_gpus.read(tree, address) for address in tree.names(PCI) if _is_gpu(tree, address)]
    reasons = {device.address: driver_gpus.left_out(device, ignored, version) for device in found}
    known = {name for device in found for name in driver_gpus.names(device)}
    return {
        "gpus": [_gpu(tree, device) for device in found if not reasons[device.address]],
        "nvswitches": sum(_is_nvswitch(tree, address) for address in tree.names(PCI)),
        "left_out": [
            {**_identity(device), "why": reasons[device.address], "held": driver_gpus.held(device)}
            for device in found
            if reasons[device.address]
        ],
        "unmatched": [name for name in ignored if name not in known],
    }


def _is_gpu(tree: Tree, address: str) -> bool:
    folder = f"{PCI}/{address}"
    return tree.text(f"{folder}/vendor") == VENDOR and (tree.text(f"{folder}/class") or "").startswith(DISPLAY_CLASS)


def _is_nvswitch(tree: Tree, address: str) -> bool:
    """Return whether a device is an NVSwitch of this host; one passed through to a virtual machine is not."""
    folder = f"{PCI}/{address}"
    if tree.text(f"{folder}/vendor") != VENDOR or not (tree.text(f"{folder}/class") or "").startswith(NVSWITCH_CLASS):
        return False
    device = driver_gpus.read(tree, address)
    if device.driver == NVSWITCH_DRIVER:
        return True
    known = any(low <= device.number <= high for low, high in NVSWITCH_IDS)
    return known and not driver_gpus.left_out(device, ())


def _identity(device: Device) -> dict[str, Any]:
    return {"pci_address": device.address, "device_id": device.device, "driver": device.driver}


def _gpu(tree: Tree, device: Device) -> dict[str, Any]:
    virtual = is_vgpu(tree.data(f"{PCI}/{device.address}/config", _CONFIG_BYTES))
    return {**_identity(device), "virtual": virtual, "functions": functions(tree, device.address)}


def nouveau_holds(state: Mapping[str, Any]) -> bool:
    """Return whether nouveau has a GPU meant for NVIDIA's driver: ``gpus`` as from `devices`, and ``loaded``.

    If that driver runs, a console card that it no longer supports may keep nouveau.
    """
    loaded = state["loaded"]
    if not loaded["nouveau"] or loaded["version"] is None:
        return bool(loaded["nouveau"])
    held = [gpu for gpu in state.get("gpus", ()) if gpu["driver"] == "nouveau"]
    devices = [Device(gpu["pci_address"], VENDOR, gpu["device_id"], gpu["driver"]) for gpu in held]
    return any(not driver_gpus.left_out(device, (), loaded["version"]) for device in devices)


def functions(tree: Tree, address: str) -> int:
    """Return the current number of virtual functions (SR-IOV) of a device."""
    return tree.number(f"{PCI}/{address}/sriov_numvfs") or 0


def shared_out(tree: Tree, address: str) -> str | None:
    """Return why the host's own programs cannot use a GPU that its driver drives, or None if they can.

    It still is one of the host's GPUs: the driver knows it, and its health is the host's. Virtual functions exist for
    the vGPU manager only, with which the host has no CUDA ("CUDA Version: N/A" in its nvidia-smi).
    """
    count = functions(tree, address)
    if count:
        return f"is cut into {count} virtual functions for virtual machines"
    managed = tree.text(f"{PCI}/{address}/vendor") == VENDOR and driver_edition.is_vgpu_host(tree)
    return "belongs to the vGPU manager, for virtual machines" if managed else None


def is_vgpu(config: bytes | None) -> bool | None:
    """Return whether a device is an NVIDIA vGPU, from its configuration space; None if that is inconclusive.

    A vGPU has the ids of the GPU that it is part of, and a vendor capability that marks it. Only root may read beyond
    the first 64 bytes, and a device that has fallen off the bus reads as ones.
    """
    if config is None or len(config) < _CONFIG_BYTES or config[0] == _GONE:
        return None
    if not config[_STATUS] & _HAS_CAPABILITIES:
        return False
    place, seen = config[_FIRST], set()
    while place and place not in seen:
        kind, *following = config[place:][:2]
        if kind == _VENDOR_SPECIFIC and config[place:][3:5] == _VGPU_SIGNATURE:
            return True
        seen.add(place)
        place = following[0] if following and kind != _GONE else 0
    return False
