# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Secure Boot's verdict on modules built on this host, determined before anything is built.

The firmware's variables and the list of enrolled keys are files below /sys, so no program is needed:
https://docs.kernel.org/admin-guide/efi-stub.html,
https://www.kernel.org/doc/Documentation/ABI/testing/sysfs-firmware-efi-vars
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..host.sysfs import Tree

EFIVARS = "sys/firmware/efi/efivars"
GLOBAL = "8be4df61-93ca-11d2-aa0d-00e098032b8c"
SHIM = "605dab50-e046-4300-abb6-3dd810dd8b23"
DATABASE = "d719b2cb-3d3a-4596-a3bc-dad00e67656f"

# The keys that the kernel trusts: shim's list in both its forms, and the firmware's own.
KEY_LISTS = (
    "sys/firmware/efi/mok-variables/MokListRT",
    f"{EFIVARS}/MokListRT-{SHIM}",
    f"{EFIVARS}/db-{DATABASE}",
)

# Public keys of dkms's signing keys: those of Debian's and NVIDIA's packages, and Ubuntu's.
CERTIFICATES = ("/var/lib/dkms/mok.pub", "/var/lib/shim-signed/mok/MOK.der")


def read(tree: Tree, certificates: Sequence[str] = CERTIFICATES) -> dict[str, Any]:
    """Return ``state`` (``enabled``, ``disabled``, ``absent``), ``certificate`` (the first found), ``enrolled``."""
    state = _state(tree)
    present = next((path for path in certificates if tree.exists(path)), None)
    return {"state": state, "certificate": present, "enrolled": bool(present) and _enrolled(tree, str(present))}


def _state(tree: Tree) -> str:
    if not tree.exists("sys/firmware/efi"):
        return "absent"
    # Four bytes of attributes, then the value.
    value = _bytes(tree, f"{EFIVARS}/SecureBoot-{GLOBAL}")
    return "enabled" if value[4:5] == b"\x01" else "disabled"


def _enrolled(tree: Tree, certificate: str) -> bool:
    """Return whether the certificate, in binary form, is in one of the lists."""
    wanted = _bytes(tree, certificate)
    return bool(wanted) and any(wanted in _bytes(tree, path) for path in KEY_LISTS)


def _bytes(tree: Tree, path: str) -> bytes:
    try:
        with open(tree.path(path), "rb") as file:
            return file.read()
    except OSError:
        return b""
