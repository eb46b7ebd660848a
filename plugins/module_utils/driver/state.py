# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The running driver on a host: kernel, modules, libraries, users. Nothing here changes anything.

Files are read through a `sysfs.Tree`, programs are called through `run` as in `process_facts`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import Any

from ..host.run import Run
from ..host.sysfs import Tree

# The driver's kernel modules in an order in which they can be unloaded, the one that all depend on last.
MODULES = ("nvidia_uvm", "nvidia_drm", "nvidia_peermem", "nvidia_modeset", "nvidia")

# "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build ..."
_LOADED = re.compile(r"NVRM version:.*?(?P<open>Open )?Kernel Module.*?\s(?P<version>\d{3}\.[\d.]+)")
_LIBRARY = re.compile(r"libnvidia-ml\.so\.(\d{3}\.[\d.]+)")
_COPIED = re.compile(r"nvidia|nouveau")
LIBRARY_FOLDERS = ("usr/lib/x86_64-linux-gnu", "usr/lib/aarch64-linux-gnu", "usr/lib64", "usr/lib")


def loaded(tree: Tree) -> dict[str, Any]:
    """Return which modules are loaded, and version and flavour of the running driver."""
    match = _LOADED.search(tree.text("proc/driver/nvidia/version") or "")
    version = match["version"] if match else tree.text("sys/module/nvidia/version")
    flavour = None if match is None else "open" if match["open"] else "proprietary"
    names = [name for name in (*MODULES, "nouveau") if tree.exists(f"sys/module/{name}")]
    return {"modules": names, "version": version, "flavour": flavour, "nouveau": "nouveau" in names}


def library_version(tree: Tree) -> str | None:
    """Return the version of the library that programs would load (``libnvidia-ml.so.1``)."""
    for folder in LIBRARY_FOLDERS:
        target = tree.target(f"{folder}/libnvidia-ml.so.1") if tree.live else None
        names = [target or "", *tree.names(folder), *tree.names(f"{folder}/nvidia/current")]
        found = next(filter(None, (_LIBRARY.search(name) for name in names)), None)
        if found:
            return found[1]
    return None


def kernel(tree: Tree, wanted: str) -> dict[str, Any]:
    """Return the running kernel, the one that the modules are for, and what exists for it."""
    running = tree.text("proc/sys/kernel/osrelease") or os.uname().release
    release = running if wanted in ("", "running") else wanted
    modules = f"lib/modules/{release}"
    return {
        "running": running,
        "wanted": release,
        "headers": tree.exists(f"{modules}/build/Makefile"),
        "initramfs": _initramfs(tree, release),
    }


def _initramfs(tree: Tree, release: str) -> dict[str, Any]:
    """Return whether there is an initramfs, and whether it is older than the files that it may hold copies of.

    These are module options and modules: an old one in it is loaded at each boot, whatever is on disk.
    """
    path = f"boot/initrd.img-{release}"
    if not tree.exists(path):
        return {"path": None, "stale": False}
    built = os.stat(tree.path(path)).st_mtime
    folders = ("etc/modprobe.d", f"lib/modules/{release}/updates/dkms")
    files = [f"{folder}/{name}" for folder in folders for name in tree.names(folder) if _COPIED.search(name)]
    changed = [os.stat(tree.path(file)).st_mtime for file in files if tree.exists(file)]
    return {"path": f"/{path}", "stale": any(time > built for time in changed)}


def components(run: Run) -> list[dict[str, str]]:
    """Return the archive components that apt reads, each with the source file that names it."""
    form = "$(CODENAME)\t$(COMPONENT)\t$(SOURCESENTRY)"
    _status, out, _err = run(["apt-get", "indextargets", "--format", form, "Created-By: Packages"])
    rows = (line.split("\t") for line in out.splitlines() if line.count("\t") == 2)
    return [
        {"suite": suite, "component": component, "file": entry.rpartition(":")[0]} for suite, component, entry in rows
    ]


def users(tree: Tree) -> list[dict[str, Any]]:
    """Return the processes that have a GPU open, each with its name and its unit."""
    found = []
    for pid in (name for name in tree.names("proc") if name.isdecimal()):
        if any(_is_device(target) for target in _open_files(tree, pid)):
            unit = _unit(tree.lines(f"proc/{pid}/cgroup"))
            found.append({"pid": int(pid), "name": tree.text(f"proc/{pid}/comm"), "unit": unit})
    return found


def _open_files(tree: Tree, pid: str) -> Iterable[str]:
    return (tree.link_name(f"proc/{pid}/fd/{number}") or "" for number in tree.names(f"proc/{pid}/fd"))


def _is_device(name: str) -> bool:
    return name.startswith("nvidia") and not name.startswith("nvidia-caps")


def _unit(lines: Iterable[str]) -> str | None:
    """Return the innermost unit of a process from its cgroups."""
    for line in lines:
        names: list[str] = re.findall(r"[^/]+\.(?:service|scope)", line)
        if names:
            return names[-1]
    return None
