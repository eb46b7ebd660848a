# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Which NVIDIA devices are on a host's PCI bus, as the driver sees them. Nothing here changes anything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils import driver_gpus
from ansible_collections.tfserving.fleet.plugins.module_utils.sysfs import Tree

VENDOR = "0x10de"
PCI = "sys/bus/pci/devices"
DISPLAY_CLASS = "0x03"
# NVSwitches are bridges of the kind "other" (class 0680).
NVSWITCH_CLASS = "0x0680"


def devices(tree: Tree, ignored: Sequence[str] = ()) -> dict[str, Any]:
    """Return the GPUs (PCI address, device id, driver that is bound) and the number of NVSwitches.

    GPUs that are none of ours stand apart as ``left_out``, each with the reason, and what of ``ignored`` (as
    driver_gpus.checked returns it) is no GPU of this host as ``unmatched``.
    """
    gpus: list[dict[str, Any]] = []
    left_out: list[dict[str, Any]] = []
    known: set[str] = set()
    switches = 0
    for address in tree.names(PCI):
        folder = f"{PCI}/{address}"
        if tree.text(f"{folder}/vendor") != VENDOR:
            continue
        device_class = tree.text(f"{folder}/class") or ""
        switches += device_class.startswith(NVSWITCH_CLASS)
        if device_class.startswith(DISPLAY_CLASS):
            device_id, driver = tree.text(f"{folder}/device"), tree.link_name(f"{folder}/driver")
            device = driver_gpus.Device(address, VENDOR, device_id or "0x0000", driver)
            gpu = {"pci_address": address, "device_id": device_id, "driver": driver}
            why = driver_gpus.left_out(device, ignored)
            known.update(driver_gpus.names(device))
            (left_out if why else gpus).append({**gpu, "why": why} if why else gpu)
    unmatched = [name for name in ignored if name not in known]
    return {"gpus": gpus, "nvswitches": switches, "left_out": left_out, "unmatched": unmatched}
