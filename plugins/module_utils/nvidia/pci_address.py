# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""PCI addresses normalised to the notation of sysfs (``0000:3b:00.0``)."""

from __future__ import annotations


def normal(domain: str | None, place: str) -> str:
    """Return an address in lower case with a domain of at least four digits; without one, the first domain.

    nvidia-smi writes the domain with eight digits, the kernel log with only four or none.
    """
    return f"{int(domain or '0', 16):04x}:{place.lower()}"
