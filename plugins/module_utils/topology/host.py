# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A host's kernel, C library and architecture, and whether it is a machine of its own."""

from __future__ import annotations

import os
import re
import subprocess

from ..host.sysfs import Tree
from .schema import System

DMI = "sys/class/dmi/id"

# Vendor strings that hypervisors put into the DMI table, with the names that systemd-detect-virt gives them.
_VENDORS = (
    ("KVM", "kvm"),
    ("QEMU", "qemu"),
    ("VMware", "vmware"),
    ("innotek GmbH", "oracle"),
    ("Xen", "xen"),
    ("Bochs", "bochs"),
    ("Amazon EC2", "amazon"),
    ("Google Compute Engine", "google"),
    ("Microsoft Corporation", "microsoft"),
    ("Hyper-V", "microsoft"),
    ("OpenStack", "kvm"),
)

# systemd-detect-virt answers at once; the limit is for a host whose init is wedged.
_DETECT_SECONDS = 5


def read(tree: Tree) -> System:
    """Read `kernel`, `libc`, `architecture` and `virtualization`; None for facts missing from a recording."""
    release = tree.text("proc/sys/kernel/osrelease") or _release(tree.text("proc/version"))
    machine = tree.text("proc/sys/kernel/arch")
    return {
        "kernel": os.uname().release if tree.live else release,
        "libc": _libc() if tree.live else None,
        "architecture": os.uname().machine if tree.live else machine,
        "virtualization": (_detected() if tree.live else None) or _container(tree) or _machine(tree),
    }


def _release(version: str | None) -> str | None:
    match = re.match(r"Linux version (\S+)", version or "")
    return match.group(1) if match else None


def _libc() -> str | None:
    """Return the C library with its version, such as "glibc 2.36"; None for libraries that do not name themselves."""
    try:
        return os.confstr("CS_GNU_LIBC_VERSION")
    except (ValueError, OSError):
        return None


def _detected() -> str | None:
    try:
        # Not run_command, which has no time limit.
        answer = subprocess.run(  # pylint: disable=ansible-bad-function
            ["systemd-detect-virt"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_DETECT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    # It exits with 1 for "none", which is a valid answer.
    return answer.stdout.decode(errors="replace").strip() or None


def _container(tree: Tree) -> str | None:
    if tree.exists("run/.containerenv"):
        return "podman"
    if tree.exists(".dockerenv"):
        return "docker"
    match = re.search(r"(?:^|\0)container=([^\0]*)", tree.text("proc/1/environ") or "")
    return (match.group(1) or "container-other") if match else None


def _machine(tree: Tree) -> str:
    table = " ".join(tree.text(f"{DMI}/{name}") or "" for name in ("product_name", "sys_vendor", "bios_vendor"))
    flagged = re.search(r"^flags\s*:.*\bhypervisor\b", tree.text("proc/cpuinfo") or "", re.M) is not None
    named = next((name for text, name in _VENDORS if text in table), None)
    # Microsoft and Amazon also build bare machines; there the CPU does not carry the hypervisor flag.
    if named in ("microsoft", "amazon", "google") and not flagged:
        named = None
    return named or ("vm-other" if flagged else "none")
