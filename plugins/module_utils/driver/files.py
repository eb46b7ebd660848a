# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The NVIDIA driver's files that a server in a root of its own needs: the host's libraries and device nodes.

A server's image brings CUDA but none of these: they belong to the kernel modules and have their version.
"""

from __future__ import annotations

import re
import subprocess
from typing import TypedDict

from ..host.sysfs import Tree

# The libraries that CUDA programs load, directly and indirectly: the compute and utility libraries of
# libnvidia-container (src/nvc_info.c). Serving needs no graphics, video or fabric tools.
_NEEDED = re.compile(
    r"lib(cuda|cudadebugger|nvidia-(ml|cfg|ptxjitcompiler|nvvm|nvvm70|gpucomp|fatbinaryloader|allocator|compiler"
    r"|pkcs11|pkcs11-openssl3))\.so\.[\d.]+"
)
# "	libcuda.so.1 (libc6,x86-64) => /lib/x86_64-linux-gnu/libcuda.so.1"
_CACHED = re.compile(r"\s*(\S+) \(([^)]*)\) => (/\S+)")
_WORDS = {"x86_64": "x86-64", "aarch64": "AArch64"}


class Library(TypedDict):
    """A library of the driver: its name for the loader, and its file."""

    name: str
    path: str


def libraries(cache: str, architecture: str | None) -> list[Library]:
    """Return the driver's libraries as ``{name, path}``, by name, from the output of ``ldconfig -p``.

    Those of another architecture (32-bit beside 64-bit) are left out; of two with the same name, the loader's choice
    counts.
    """
    found: dict[str, str] = {}
    for line in cache.splitlines():
        match = _CACHED.fullmatch(line.rstrip())
        if match and _NEEDED.fullmatch(match[1]) and _WORDS.get(architecture or "", "") in match[2]:
            found.setdefault(match[1], match[3])
    return [{"name": name, "path": path} for name, path in sorted(found.items())]


def loader_cache() -> str:
    """Return the loader's list of libraries; empty on systems whose loader has none."""
    try:
        # A pure reader has no module whose run_command it could call, and that has no time limit.
        asked = subprocess.run(  # pylint: disable=ansible-bad-function
            ["ldconfig", "-p"], capture_output=True, text=True, timeout=10, check=False
        )
        return asked.stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


def device(tree: Tree, pci_address: str) -> str | None:
    """Return a GPU's device node (``/dev/nvidia0``); None if no driver is loaded that would name it."""
    known = tree.text(f"proc/driver/nvidia/gpus/{pci_address}/information") or ""
    minor = re.search(r"^Device Minor:\s*(\d+)", known, re.MULTILINE)
    return f"/dev/nvidia{minor[1]}" if minor else None
