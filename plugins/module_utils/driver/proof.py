# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Checks that a host's modules are the wished driver's and match the libraries' version: pure functions.

`state` is the result of the module nvidia_driver_state, `resolved` of `driver_packages.resolve`. The libraries refuse
modules of any version but their own, even within a branch (NVML_ERROR_LIB_RM_VERSION_MISMATCH).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .family import LIBRARY, PREBUILT, upstream


def unproven(state: Mapping[str, Any], resolved: Mapping[str, Any]) -> str:
    """Return why the wished driver would not work in the wanted kernel; empty if its modules are ready."""
    release, branch = state["kernel"]["wanted"], resolved["branch"]
    if not resolved["module_package"]:
        return ""
    if state.get("installer"):
        return "the modules are of NVIDIA's own installer (.run)"
    if resolved["headers"] and not _built(state, release, branch):
        words = state.get("dkms_words")
        return f"dkms has not built driver {branch} for kernel {release}" + (f" and says: {words}" if words else "")
    found = first(state)
    fitting = _of_branch(found, branch)
    if not fitting and _of_branch(state["built"], branch):
        return f"{found[0]['path']} (driver {found[0]['version']}) comes before the modules of driver {branch}"
    if not fitting:
        return f"no module of driver {branch} lies in /lib/modules/{release}"
    versions = ready(state, resolved)
    if not versions:
        return f"the modules for kernel {release} are {fitting[0]['flavour']}, not {resolved['flavour']}"
    library = state["library_version"]
    if library and library not in versions:
        return f"the modules for kernel {release} are {versions[0]}, and the libraries are {library}"
    return ""


def to_build(state: Mapping[str, Any], resolved: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return what dkms has to build for the wished driver, by name and version; of several, the libraries' version."""
    if not resolved["headers"] or not unproven(state, resolved):
        return []
    sources = _of_branch(state["dkms_sources"], resolved["branch"])
    matching = [source for source in sources if source["version"] == state["library_version"]]
    return [dict(source) for source in matching or sources]


def _built(state: Mapping[str, Any], release: str, branch: str) -> bool:
    rows = [row for row in state["dkms"] if row["kernel"] == release and row["status"] == "installed"]
    return bool(_of_branch(rows, branch))


def _of_branch(rows: Iterable[Mapping[str, Any]], branch: str) -> list[Mapping[str, Any]]:
    return [row for row in rows if (row["version"] or "").startswith(f"{branch}.")]


def first(state: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the modules that the wanted kernel chooses from: those below ``updates`` take precedence over all others.

    Debian's and Ubuntu's /etc/depmod.d define that.
    """
    rows = [module for module in state["built"] if module["kernel"] in (state["kernel"]["wanted"], None)]
    return [module for module in rows if "/updates/" in module["path"]] or rows


def ready(state: Mapping[str, Any], resolved: Mapping[str, Any]) -> list[str]:
    """Return the versions of the wished driver's modules that the wanted kernel would load."""
    fitting = _of_branch(first(state), resolved["branch"])
    return [module["version"] for module in fitting if module["flavour"] == resolved["flavour"]]


def apart(
    installed: Mapping[str, str],
    built: Iterable[str],
    library: str | None,
    resolved: Mapping[str, Any],
) -> bool:
    """Return whether the packages of modules and libraries are of one branch but two versions, which apt can fix.

    ``installed`` are the versions of packages by name, ``library`` is the version of the libraries on disk. ``built``
    are versions of modules on disk: those of prebuilt modules are in no package's version.
    """
    prebuilt = PREBUILT.fullmatch(resolved["module_package"])
    modules = set(built) if prebuilt else {version(installed, resolved["module_package"])} - {None}
    there = libraries(installed, resolved["branch"])
    if not there and library and library.startswith(f"{resolved['branch']}."):
        there = {library}
    return bool(modules and there) and not (len(there) == 1 and there <= modules)


def version(installed: Mapping[str, str], name: str) -> str | None:
    """Return the driver version of an installed package; None if it is not installed."""
    return upstream(installed[name]) if name in installed else None


def libraries(installed: Mapping[str, str], branch: str) -> set[str]:
    """Return the versions of a branch's libraries installed for the host's own architecture."""
    versions = {version(installed, name) or "" for name in installed if LIBRARY.fullmatch(name)}
    return {each for each in versions if each.startswith(f"{branch}.")}
