# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""PCI addresses in the one form that sysfs has (``0000:3b:00.0``), however they were written."""

from __future__ import annotations


def normal(domain: str | None, place: str) -> str:
    """Return an address: small letters, the domain with four digits where it has no more; without one it is the first.

    nvidia-smi writes the domain with eight digits, the kernel's log with as few as four or none.
    """
    return f"{int(domain or '0', 16):04x}:{place.lower()}"
