# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Which of a host's GPUs are this collection's: not those handed to virtual machines, nor those left out by hand.

Runs on hosts, which have no YAML: what generations and branches there are is known on the controller alone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError, described

VARIABLE = "nvidia_driver_ignore"
# A device that the kernel hands to a virtual machine whole.
PASSED_THROUGH = ("vfio-pci", "pci-stub")

_ADDRESS = re.compile(r"(?P<domain>[0-9a-f]{4,8}:)?(?P<place>[0-9a-f]{2}:[01][0-9a-f]\.[0-7])", re.IGNORECASE)
_IDS = re.compile(r"(?P<vendor>[0-9a-f]{4}):(?P<device>[0-9a-f]{4})", re.IGNORECASE)
_REMEDY = (
    "give, in quotes, a PCI address such as '0000:3b:00.0', or the ids of vendor and device such as '10de:128b', as"
    " lspci -nn shows them"
)


class Device(NamedTuple):
    """What tells one device on the bus; ids as sysfs writes them (``0x10de``)."""

    address: str
    vendor: str
    device: str
    driver: str | None


def checked(values: Sequence[Any]) -> list[str]:
    """Return what is to be left out, in small letters and with whole addresses. Raises WishError."""
    return [device_name(f"{VARIABLE}[{place}]", value) for place, value in enumerate(values)]


def device_name(path: str, value: Any) -> str:
    """Check the name of one device: its PCI address, or the ids of its vendor and its kind."""
    text = value.strip().lower() if isinstance(value, str) else ""
    address = _ADDRESS.fullmatch(text)
    if address:
        # nvidia-smi writes the domain with eight digits, the kernel with as few as four.
        return f"{int((address['domain'] or '0:')[:-1], 16):04x}:{address['place']}"
    if _IDS.fullmatch(text):
        return text
    # YAML reads 0000:03:00.0 without quotes as the number 180.0.
    raise WishError(path, f"is {described(value)}", _REMEDY)


def names(device: Device) -> tuple[str, str]:
    """Return the two names under which a device can be left out."""
    return device.address.lower(), f"{device.vendor[2:]}:{device.device[2:]}".lower()


def left_out(device: Device, ignored: Sequence[str]) -> str:
    """Return why a device is none of ours, or an empty text."""
    if device.driver in PASSED_THROUGH:
        return f"{device.driver} holds it for a virtual machine"
    return f"{VARIABLE} names it" if set(names(device)) & set(ignored) else ""
