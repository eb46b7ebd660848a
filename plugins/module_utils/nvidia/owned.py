# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The GPUs of a host that are this collection's: not passed through, used by other programs, or left out by the user.

The one rule for topology, driver, status and plan. It runs on hosts, which have no YAML parser: the tables of
generations and branches exist on the controller alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ..errors import WishError, described
from ..host.sysfs import Tree
from ..visible_text import told
from . import pci_address

VARIABLE = "nvidia_driver_ignore"
PCI = "sys/bus/pci/devices"
VENDOR = "0x10de"
# NVIDIA's drivers by their kernel names, for GPUs and NVSwitches, in every packaging.
OWN_DRIVERS = ("nvidia", "nvidia-nvswitch")

# Parts of the names of drivers that pass a whole device through to a virtual machine; variants are many: vfio-pci,
# nvgrace_gpu_vfio_pci, nvidia-vgpu-vfio; pci-stub; Xen's pciback (drivers/vfio/pci, pci-stub.c, xen-pciback of Linux).
_FOR_MACHINES = re.compile(r"vfio|pci-stub|pciback")
# ... and of those that hand it to a program: uio_pci_generic of Linux, igb_uio of DPDK.
_FOR_PROGRAMS = re.compile(r"(^|_)uio(_|$)")
# The kernel's text for no chosen driver (drivers/pci/pci-sysfs.c).
_NO_OVERRIDE = ("", "(null)")

# The last branches that support old GPUs, by first and last PCI device id: those of tables/drivers.yml, which hosts
# cannot read, ...
LAST_BRANCHES = (
    (0x0FC0, 0x103F, 470),
    (0x1180, 0x12FF, 470),
    (0x1340, 0x143F, 580),
    (0x1600, 0x167F, 580),
    (0x1740, 0x17FF, 580),
    (0x15F0, 0x15FF, 580),
    (0x1725, 0x172F, 580),
    (0x1B00, 0x1D7F, 580),
    (0x1D80, 0x1DFF, 580),
)
# ... and before Kepler, where Fermi was the last to lose its driver (nvidia.com/en-us/drivers/unix/legacy-gpu).
_BEFORE_KEPLER = (0x0001, 0x133F, 390)

# How many left-out GPUs one sentence names.
_MOST_NAMED = 4

_ADDRESS = re.compile(r"(?:(?P<domain>[0-9a-f]{4,8}):)?(?P<place>[0-9a-f]{2}:[01][0-9a-f]\.[0-7])", re.IGNORECASE)
_IDS = re.compile(r"(?P<vendor>[0-9a-f]{4}):(?P<device>[0-9a-f]{4})", re.IGNORECASE)
_REMEDY = (
    "give, in quotes, a PCI address such as '0000:3b:00.0', or the ids of vendor and device such as '10de:128b', as"
    " lspci -nn shows them"
)


class Device(NamedTuple):
    """The identity of a device on the bus; ids as sysfs writes them (``0x10de``)."""

    address: str
    vendor: str
    device: str
    driver: str | None
    override: str | None = None
    """The only driver that may bind it, if one was chosen (``driver_override``)."""
    physical: str | None = None
    """Of a virtual function (SR-IOV): the address of its physical device."""

    @property
    def number(self) -> int:
        """Return the device id; 0, which no device has, if it cannot be read."""
        return int(self.device, 16) if re.fullmatch(r"0x[0-9a-f]{4}", self.device, re.IGNORECASE) else 0


def checked(values: Sequence[Any]) -> list[str]:
    """Return the devices to leave out, in lower case and with full addresses. Raises WishError."""
    return [device_name(f"{VARIABLE}[{place}]", value) for place, value in enumerate(values)]


def device_name(path: str, value: Any) -> str:
    """Check the name of a device: its PCI address, or its vendor and device ids."""
    text = value.strip().lower() if isinstance(value, str) else ""
    address = _ADDRESS.fullmatch(text)
    if address:
        return pci_address.normal(address["domain"], address["place"])
    if _IDS.fullmatch(text):
        return text
    # YAML reads an unquoted 0000:03:00.0 as the number 180.0.
    raise WishError(path, f"is {described(value)}", _REMEDY)


def names(device: Device) -> tuple[str, str]:
    """Return the two names by which a device can be left out."""
    return device.address.lower(), f"{device.vendor[2:]}:{device.device[2:]}".lower()


def read(tree: Tree, address: str) -> Device:
    """Read a device of the PCI bus."""
    folder = f"{PCI}/{address}"
    vendor, device = (tree.text(f"{folder}/{name}") or "0x0000" for name in ("vendor", "device"))
    override = tree.text(f"{folder}/driver_override") or ""
    return Device(
        address=address,
        vendor=vendor,
        device=device,
        driver=tree.link_name(f"{folder}/driver"),
        override=None if override in _NO_OVERRIDE else override,
        physical=_physical(tree, folder),
    )


def _physical(tree: Tree, folder: str) -> str | None:
    link = f"{folder}/physfn"
    return tree.link_name(link) or ("another device" if tree.exists(link) else None)


def left_out(device: Device, ignored: Sequence[str], version: str | None = None) -> str:
    """Return why a device is not ours to use, or an empty text.

    ``version`` is that of the running driver, whose branch may no longer support old GPUs; None counts them as ours.
    """
    return _held(device) or _outdated(device, version) or _named(device, ignored)


def listed(left_out: Sequence[Mapping[str, Any]]) -> str:
    """Return left-out GPUs (``pci_address``, ``why``) as text, each with its reason; of many, the first few."""
    named = [f"{gpu['pci_address']} ({gpu['why']})" for gpu in left_out[:_MOST_NAMED]]
    more = len(left_out) - len(named)
    return ", ".join([*named, f"{more} more"] if more else named)


def held(device: Device) -> bool:
    """Return whether a whole GPU is bound elsewhere, and so not available here."""
    return bool(_held(device)) and not device.physical


def _held(device: Device) -> str:
    """Return who else has a device. NVIDIA's driver ignores virtual functions (nv-pci.c of open-gpu-kernel-modules)."""
    if device.physical:
        return f"it is a virtual function of {told(device.physical, 40)}, for a virtual machine"
    driver, override = device.driver or "", device.override or ""
    if _FOR_MACHINES.search(driver):
        return f"{told(driver, 40)} holds it for a virtual machine"
    if _FOR_PROGRAMS.search(driver):
        return f"{told(driver, 40)} holds it for a program"
    # A device keeps such a driver until it is bound again.
    another = override not in OWN_DRIVERS if device.vendor == VENDOR else bool(_FOR_MACHINES.search(override))
    if override and another and driver not in OWN_DRIVERS:
        return f"driver_override keeps it for {told(override, 40)}"
    return ""


def _outdated(device: Device, version: str | None) -> str:
    """Return that the running driver is too new for a device, such as a console card, which then has no driver."""
    branch = (version or "").partition(".")[0]
    if device.vendor != VENDOR or device.driver in OWN_DRIVERS or not branch.isdecimal():
        return ""
    last = _last_branch(device.number)
    return f"driver {branch} no longer drives it" if last is not None and int(branch) > last else ""


def _last_branch(device_id: int) -> int | None:
    rows = (*LAST_BRANCHES, _BEFORE_KEPLER)
    return next((last for low, high, last in rows if low <= device_id <= high), None)


def _named(device: Device, ignored: Sequence[str]) -> str:
    return f"{VARIABLE} names it" if set(names(device)) & set(ignored) else ""
