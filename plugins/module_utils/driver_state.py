# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a host shows of its NVIDIA driver: packages, kernel modules, users. Nothing here changes anything.

Files are read through a `sysfs.Tree`, programs are asked through `run` as in `process_facts`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.nvidia_devices import devices as devices
from ansible_collections.tfserving.fleet.plugins.module_utils.process_facts import Run
from ansible_collections.tfserving.fleet.plugins.module_utils.sysfs import Tree

# Kernel modules of the driver in the order in which they can be unloaded, the one that all depend on last.
MODULES = ("nvidia_uvm", "nvidia_drm", "nvidia_peermem", "nvidia_modeset", "nvidia")

# "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build ..."
_LOADED = re.compile(r"NVRM version:.*?(?P<open>Open )?Kernel Module.*?\s(?P<version>\d{3}\.[\d.]+)")
# dkms 2 writes "nvidia-current, 535.261.03, 6.1.0-40-amd64, x86_64: installed", dkms 3 a slash for the first comma.
_DKMS = re.compile(r"(?P<name>nvidia[^,/]*)[,/]\s*(?P<version>[^,]+),\s*(?P<kernel>[^,]+),\s*[^:]+:\s*(?P<status>\w+)")
_LIBRARY = re.compile(r"libnvidia-ml\.so\.(\d{3}\.[\d.]+)")
LIBRARY_FOLDERS = ("usr/lib/x86_64-linux-gnu", "usr/lib/aarch64-linux-gnu", "usr/lib64", "usr/lib")

# Where NVIDIA's installer puts its uninstaller, which no package has, and what it keeps of itself.
UNINSTALLERS = ("usr/bin/nvidia-uninstall", "usr/local/bin/nvidia-uninstall")
INSTALLER_LOG = "var/log/nvidia-installer.log"

# Everything that NVIDIA's driver is made of, in Debian's, Canonical's and NVIDIA's packaging.
FAMILY = re.compile(
    r"(lib)?nvidia-|libcuda1$|libnv(cuvid|optix)1$|lib(egl|gl1|glx|gles)-nvidia|firmware-nvidia|"
    r"xserver-xorg-video-nvidia|cuda-drivers|glx-(alternative|diversions)|update-glx|linux-modules-nvidia-|linux-objects-nvidia-"
)
# ... and what looks like it and is none: container tools, CUDA libraries, settings with version numbers of their own.
NOT_FAMILY = re.compile(r"(lib)?nvidia-(container|cuda|cudnn|ml-dev|opencl-dev|profiler|visual|egl-|vaapi|texture|mig)")

# Packages that bear a version of their own, or none of a driver: never pinned, never taken for another branch's.
FLOATING = (
    "nvidia-modprobe",
    "nvidia-persistenced",
    "nvidia-settings",
    "nvidia-support",
    "nvidia-kernel-common",
    "nvidia-installer-cleanup",
    "nvidia-xconfig",
)


def loaded(tree: Tree) -> dict[str, Any]:
    """Return which modules are loaded, and the version and flavour of the driver that the kernel runs."""
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


def installer(tree: Tree, release: str, dkms_rows: Sequence[Mapping[str, Any]], installed: Sequence[Any]) -> Any:
    """Return what NVIDIA's own installer (.run) has left here: its ``version`` and ``uninstaller``; None for nothing.

    A driver whose libraries, modules or sources lie there while dpkg knows no package of one came from nowhere else.
    What is merely loaded proves nothing: a module outlives its packages, and containers see that of their host.
    """
    uninstaller = next((f"/{path}" for path in UNINSTALLERS if tree.exists(path)), None)
    packaged = any(package["branch"] for package in installed)
    library = library_version(tree)
    video = f"lib/modules/{release}/kernel/drivers/video"
    own = [name for name in tree.names(video) if re.fullmatch(r"nvidia\.ko(\.\w+)?", name)]
    if not uninstaller and (packaged or not (own or dkms_rows or (library and tree.exists(INSTALLER_LOG)))):
        return None
    version = library or next((row["version"] for row in dkms_rows), None) or loaded(tree)["version"]
    return {"version": version, "uninstaller": uninstaller}


def kernel(tree: Tree, wanted: str) -> dict[str, Any]:
    """Return the kernel that runs, the one that the modules are for, and what lies there for it."""
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
    """Return whether there is an initramfs, and whether it is older than the module options that it holds a copy of."""
    path = f"boot/initrd.img-{release}"
    if not tree.exists(path):
        return {"path": None, "stale": False}
    built = os.stat(tree.path(path)).st_mtime
    folder = "etc/modprobe.d"
    files = [f"{folder}/{name}" for name in tree.names(folder) if "nvidia" in name or "nouveau" in name]
    changed = [os.stat(tree.path(file)).st_mtime for file in files if tree.exists(file)]
    return {"path": f"/{path}", "stale": any(time > built for time in changed)}


def built_modules(tree: Tree, release: str, run: Run) -> list[dict[str, Any]]:
    """Return the driver's modules that lie ready for a kernel, with what modinfo says of the main one of each."""
    found = []
    for folder in ("updates/dkms", "updates", "kernel/nvidia-580", "extra", "kernel/drivers/video"):
        place = f"lib/modules/{release}/{folder}"
        for name in tree.names(place):
            if re.fullmatch(r"nvidia(-current|-tesla-\d+)?(-open)?\.ko(\.\w+)?", name):
                found.append(_modinfo(tree.path(f"{place}/{name}"), run))
    return found


def _modinfo(path: str, run: Run) -> dict[str, Any]:
    _status, out, _err = run(["modinfo", path])
    pairs = dict(re.findall(r"^(\w+):[ \t]+(.*)$", out, re.MULTILINE))
    return {
        "path": path,
        "version": pairs.get("version"),
        "kernel": (pairs.get("vermagic") or "").split(" ")[0] or None,
        # Only the open modules carry a licence that the kernel counts as free.
        "flavour": "open" if "GPL" in pairs.get("license", "") else "proprietary",
        "signer": pairs.get("signer"),
    }


def dkms(run: Run) -> list[dict[str, str]]:
    """Return what dkms knows of the driver; empty where dkms is not installed."""
    status, out, _err = run(["dkms", "status"])
    return [match.groupdict() for match in map(_DKMS.match, out.splitlines()) if match] if status == 0 else []


def packages(run: Run) -> dict[str, Any]:
    """Return the driver's packages, the kernel headers that are installed, and what an interrupted dpkg left undone."""
    listing = "${Package}\t${Version}\t${db:Status-Want}\t${db:Status-Eflag}\t${db:Status-Status}\n"
    _status, out, _err = run(["dpkg-query", "--show", "--showformat", listing])
    found, broken, headers = [], [], []
    for line in out.splitlines():
        name, version, want, flag, state = line.split("\t")
        if flag != "ok" or state in (
            "half-installed",
            "unpacked",
            "half-configured",
            "triggers-awaited",
            "triggers-pending",
        ):
            broken.append(name)
        if state in ("not-installed", "config-files"):
            continue
        if name.startswith("linux-headers-"):
            headers.append(name)
        if _is_driver(name):
            found.append({"name": name, "version": version, "branch": branch_of(version), "held": want == "hold"})
    return {"installed": found, "headers": headers, "broken": sorted(set(broken))}


def _is_driver(name: str) -> bool:
    return bool(FAMILY.match(name)) and not NOT_FAMILY.match(name)


def branch_of(version: str) -> str | None:
    """Return the branch of a package's version; None where it has no driver's version (``20220217+3``)."""
    match = re.match(r"(?:\d+:)?(\d{3})\.\d+", version)
    return match[1] if match else None


def components(run: Run) -> list[dict[str, str]]:
    """Return the archive components that apt reads, each with the source file that names it."""
    form = "$(CODENAME)\t$(COMPONENT)\t$(SOURCESENTRY)"
    _status, out, _err = run(["apt-get", "indextargets", "--format", form, "Created-By: Packages"])
    rows = (line.split("\t") for line in out.splitlines() if line.count("\t") == 2)
    return [
        {"suite": suite, "component": component, "file": entry.rpartition(":")[0]} for suite, component, entry in rows
    ]


def users(tree: Tree) -> list[dict[str, Any]]:
    """Return the processes that have a GPU open, each with its name and the unit that it belongs to."""
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
        names = re.findall(r"[^/]+\.(?:service|scope)", line)
        if names:
            return names[-1]
    return None
