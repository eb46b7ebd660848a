# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What of NVIDIA's driver is installed: packages, modules, libraries, dkms's sources. Nothing here changes anything.

Files are read through a `sysfs.Tree`, programs are asked through `run` as in `process_facts`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.driver_family import branch_of, is_driver
from ansible_collections.tfserving.fleet.plugins.module_utils.driver_state import library_version, loaded
from ansible_collections.tfserving.fleet.plugins.module_utils.process_facts import Run
from ansible_collections.tfserving.fleet.plugins.module_utils.sysfs import Tree

# dkms 2 writes "nvidia-current, 535.261.03, 6.1.0-40-amd64, x86_64: installed", dkms 3 a slash for the first comma.
_DKMS = re.compile(r"(?P<name>nvidia[^,/]*)[,/]\s*(?P<version>[^,]+),\s*(?P<kernel>[^,]+),\s*[^:]+:\s*(?P<status>\w+)")
# Where NVIDIA's installer puts its uninstaller, which no package has, and what it keeps of itself.
UNINSTALLERS = ("usr/bin/nvidia-uninstall", "usr/local/bin/nvidia-uninstall")
INSTALLER_LOG = "var/log/nvidia-installer.log"


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
        if is_driver(name):
            found.append({"name": name, "version": version, "branch": branch_of(version), "held": want == "hold"})
    return {"installed": found, "headers": headers, "broken": sorted(set(broken))}
