# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The installed parts of NVIDIA's driver: packages, modules, libraries, dkms sources. Nothing here changes anything.

Files are read through a `sysfs.Tree`, programs are called through `run` as in `process_facts`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..host.dpkg_names import FIELD, architecture, bare, native, plain
from ..host.run import Run
from ..host.sysfs import Tree
from .family import branch_of, is_driver, upstream
from .state import library_version, loaded

# The uninstaller of NVIDIA's installer, which no package contains, and the installer's own record.
UNINSTALLERS = ("usr/bin/nvidia-uninstall", "usr/local/bin/nvidia-uninstall")
INSTALLER_LOG = "var/log/nvidia-installer.log"

# States of dpkg in which a package's installation is incomplete.
_UNDONE = ("half-installed", "unpacked", "half-configured", "triggers-awaited", "triggers-pending")
_MODULE = re.compile(r"nvidia(-current|-tesla-\d+)?(-open)?\.ko(\.\w+)?")


def packages(run: Run) -> dict[str, Any]:
    """Return the packages of the driver and of kernel headers, and those that an interrupted dpkg left undone.

    A package of a foreign architecture is named with it (``libcuda1:i386``), as apt expects.
    """
    listing = FIELD + "\t${Version}\t${db:Status-Want}\t${db:Status-Eflag}\t${db:Status-Status}\n"
    _status, out, _err = run(["dpkg-query", "--show", "--showformat", listing])
    own = architecture(run)
    found, broken, headers = [], [], []
    for said, version, want, flag, state in (line.split("\t") for line in out.splitlines() if line.count("\t") == 4):
        name = plain(said, own)
        if flag != "ok" or state in _UNDONE:
            broken.append(name)
        if state in ("not-installed", "config-files"):
            continue
        if name.startswith("linux-headers-"):
            headers.append(name)
        if is_driver(bare(name), version):
            branch = branch_of(version, bare(name))
            found.append({"name": name, "version": version, "branch": branch, "held": want == "hold"})
    return {"installed": found, "headers": headers, "broken": sorted(set(broken))}


def installer(
    tree: Tree,
    release: str,
    dkms_rows: Sequence[Mapping[str, Any]],
    installed: Sequence[Any],
    container: bool = True,
) -> Any:
    """Return what NVIDIA's own installer (.run) has left here: its ``version`` and ``uninstaller``; None for nothing.

    Driver libraries, modules or sources without any dpkg package can only come from it, except for a driver that is
    part of a machine's image, marked ``image``: it runs, with libraries of its version. A loaded module alone proves
    nothing: it outlives its packages, and containers see their host's.
    """
    uninstaller = next((f"/{path}" for path in UNINSTALLERS if tree.exists(path)), None)
    # A 32-bit library left by some older driver is not a package of this one.
    packaged = {upstream(package["version"]) for package in installed if package["branch"] and native(package["name"])}
    library = library_version(tree)
    video = f"lib/modules/{release}/kernel/drivers/video"
    own = [name for name in tree.names(video) if re.fullmatch(r"nvidia\.ko(\.\w+)?", name)]
    # Next to packages of another driver, libraries whose version no package has are the installer's, if it left its
    # log.
    logged = bool(library and library not in packaged and tree.exists(INSTALLER_LOG))
    version = library or next((row["version"] for row in dkms_rows), None) or loaded(tree)["version"]
    if uninstaller or logged or (not packaged and (own or dkms_rows)):
        return {"version": version, "uninstaller": uninstaller}
    if not container and library and library not in packaged and loaded(tree)["version"] == library:
        return {"version": version, "uninstaller": None, "image": True}
    return None


def built_modules(tree: Tree, release: str, run: Run) -> list[dict[str, Any]]:
    """Return the driver's modules built for a kernel, with modinfo's facts of the main one of each."""
    found = []
    kernel = f"lib/modules/{release}/kernel"
    # Canonical's are in a folder per series, nvidia-580srv-open; the objects they are linked from, in one named bits.
    series = [f"kernel/{name}" for name in tree.names(kernel) if name.startswith("nvidia-") and "bits" not in name]
    for folder in ("updates/dkms", "updates", *series, "extra", "kernel/drivers/video"):
        place = f"lib/modules/{release}/{folder}"
        for name in tree.names(place):
            if _MODULE.fullmatch(name):
                found.append(_modinfo(tree.path(f"{place}/{name}"), run))
    return found


def _modinfo(path: str, run: Run) -> dict[str, Any]:
    _status, out, _err = run(["modinfo", path])
    pairs = dict(re.findall(r"^(\w+):[ \t]+(.*)$", out, re.MULTILINE))
    return {
        "path": path,
        "version": pairs.get("version"),
        "kernel": (pairs.get("vermagic") or "").split(" ")[0] or None,
        # Only the open modules have a licence that the kernel counts as free.
        "flavour": "open" if "GPL" in pairs.get("license", "") else "proprietary",
        "signer": pairs.get("signer"),
    }
