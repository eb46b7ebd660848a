# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The steps to get the wished driver running on a host, and whether they need a reboot: pure functions.

`state` is the result of the module nvidia_driver_state, `resolved` of `driver_packages.resolve`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fnmatch import fnmatch
from typing import Any

from ..errors import WishError
from ..host.dpkg_names import bare, native
from ..nvidia import devices as nvidia_devices
from ..nvidia import edition as driver_edition
from . import proof as driver_proof
from .family import FLOATING, PREBUILT

CLIENTS = "nvidia_driver_clients"
# The driver's own daemons: they come and go with it.
OWN_UNITS = ("nvidia-persistenced.service", "nvidia-fabricmanager.service")


def steps(state: Mapping[str, Any], resolved: Mapping[str, Any], clients: Sequence[str] = ()) -> dict[str, Any]:
    """Return what to install and what to remove first. Raises WishError for steps that must not be taken.

    The result: ``kind`` (``none``, ``install``, ``change``, ``remove``), ``install`` (packages for apt, empty if all
    are there), ``purge`` (packages of another branch, naming or flavour), ``replaces`` (whether the kernel runs a
    driver that has to go first) and ``unproven`` (why the present modules would not load, or empty). An empty
    ``resolved`` means that no driver is wished, and that everything goes.
    """
    driver_edition.refuse(state)
    if state.get("edition") == driver_edition.TEGRA:
        return {"kind": "none", "install": [], "purge": [], "replaces": False, "unproven": ""}
    _refuse_installer(state)
    if not resolved:
        return _removal(state)
    _refuse_unloadable(state, resolved)
    installed = {package["name"]: package for package in state["packages"]["installed"]}
    purge = sorted(name for name, package in installed.items() if _foreign(name, package, resolved))
    lacking = _lacking(state, installed, resolved)
    headers = _lacking_headers(state, resolved)
    # Neither the kernel's modules nor the servers use a 32-bit library.
    replaces = bool(lacking or any(map(native, purge))) and state["loaded"]["version"] is not None
    if replaces:
        _refuse_strangers(state["users"], clients, "replaced")
    present = any(package["branch"] for package in installed.values())
    kind = "change" if present and (purge or lacking) else "install" if lacking or headers else "none"
    install = [*headers, *(resolved["packages"] + resolved["kernel_modules"] if lacking else [])]
    missing = driver_proof.unproven(state, resolved)
    return {"kind": kind, "install": install, "purge": purge, "replaces": replaces, "unproven": missing}


def _removal(state: Mapping[str, Any]) -> dict[str, Any]:
    _refuse_strangers(state["users"], (), "removed")
    purge = sorted(package["name"] for package in state["packages"]["installed"])
    replaces = state["loaded"]["version"] is not None
    kind = "remove" if purge else "none"
    return {"kind": kind, "install": [], "purge": purge, "replaces": replaces, "unproven": ""}


def _lacking(
    state: Mapping[str, Any], installed: Mapping[str, Mapping[str, Any]], resolved: Mapping[str, Any]
) -> list[str]:
    """Return the packages that are missing or do not fit: all if modules and libraries have two versions."""
    lacking = [name for name in resolved["packages"] if not _fits(installed.get(name), name, resolved)]
    lacking += [name for name in resolved["pinning"] if name not in installed]
    if not driver_proof.ready(state, resolved):
        lacking += [name for name in resolved["kernel_modules"] if name not in installed]
    versions = {name: package["version"] for name, package in installed.items()}
    apart = driver_proof.apart(versions, driver_proof.ready(state, resolved), state["library_version"], resolved)
    return lacking or (list(resolved["packages"]) if apart else [])


def _lacking_headers(state: Mapping[str, Any], resolved: Mapping[str, Any]) -> list[str]:
    """Return the header packages to install. Headers installed without a package serve as well."""
    exact = resolved["headers"][:1] if not state["kernel"]["headers"] else []
    return [name for name in [*exact, *resolved["headers"][1:]] if name not in state["packages"]["headers"]]


def _foreign(name: str, package: Mapping[str, Any], resolved: Mapping[str, Any]) -> bool:
    """Return whether an installed package belongs to a driver other than the wished one."""
    name = bare(name)
    if name in FLOATING or name in resolved["pinning"] or package["branch"] is None:
        return False
    prebuilt = PREBUILT.fullmatch(name)
    if prebuilt:
        return not _of_series(prebuilt, resolved["module_series"])
    if package["branch"] != resolved["branch"] or not re.search(resolved["own"], name):
        return True
    return name in resolved["module_packages"] and name != resolved["module_package"]


def _of_series(prebuilt: re.Match[str], series: str) -> bool:
    """Return whether prebuilt modules are of a series. The objects that they are linked from fit either flavour."""
    if prebuilt["part"] == "modules":
        return prebuilt["series"] == series
    return prebuilt["series"].replace("-open", "") == series.replace("-open", "")


def _fits(package: Mapping[str, Any] | None, name: str, resolved: Mapping[str, Any]) -> bool:
    if package is None:
        return False
    # Prebuilt modules have their kernel's version; their name has already told the branch.
    if name in FLOATING or PREBUILT.fullmatch(name):
        return True
    return re.match(rf"(\d+:)?{re.escape(resolved['version_prefix'])}[.-]", package["version"]) is not None


def _refuse_installer(state: Mapping[str, Any]) -> None:
    """Refuse to touch a driver installed without packages: packages on top of it would leave two."""
    found = state.get("installer")
    if not found:
        return
    if found.get("image"):
        problem = (
            f"driver {found['version']} runs on this host without a package, as where the machine's image brings it"
        )
        raise WishError("nvidia_driver_state", problem, "set this to unmanaged, or remove that driver first")
    driver = f"a driver{' ' + found['version'] if found['version'] else ''}"
    version = found["version"] or "VERSION"
    uninstall = f"'{found['uninstaller']} --silent'" if found["uninstaller"] else ""
    uninstall = uninstall or f"'sh NVIDIA-Linux-*-{version}.run --uninstall --silent'"
    raise WishError(
        "nvidia_driver_state",
        f"{driver} of NVIDIA's own installer (.run) is on this host, which no package manager knows",
        f"remove it with {uninstall} on the host and run again, or set this to unmanaged",
    )


def _refuse_unloadable(state: Mapping[str, Any], resolved: Mapping[str, Any]) -> None:
    """Refuse, before any change, to build modules that Secure Boot would keep the kernel from loading."""
    boot = state["secure_boot"]
    if boot["state"] != "enabled" or boot["enrolled"] or not resolved["headers"]:
        return
    certificate = boot["certificate"] or "/var/lib/dkms/mok.pub"
    create = "" if boot["certificate"] else "create a key for dkms as docs/nvidia-driver.md shows, "
    raise WishError(
        "nvidia_driver_modules",
        "Secure Boot is on, and no key that signs what dkms builds is enrolled, so the kernel would not load the"
        " driver",
        f"{create}enrol it with 'mokutil --import {certificate}' and confirm at the console during the next boot,"
        f" or turn"
        " Secure Boot off",
    )


def _refuse_strangers(users: Sequence[Mapping[str, Any]], clients: Sequence[str], what: str) -> None:
    """Refuse to take the driver away from processes that are not declared as stoppable."""
    known = [*clients, *OWN_UNITS]
    strangers = [user for user in users if not any(fnmatch(user["unit"] or "", pattern) for pattern in known)]
    if not strangers:
        return
    named = ", ".join(f"{user['name']} ({user['unit'] or 'process'} {user['pid']})" for user in strangers[:3])
    more = f" and {len(strangers) - 3} more" if len(strangers) > 3 else ""
    verb = "use" if len(strangers) > 1 else "uses"
    if what == "removed":
        problem = f"the driver is to be removed, and {named}{more} {verb} a GPU"
        raise WishError("nvidia_driver_state", problem, "stop what uses it first")
    problem = f"the driver is to be replaced, and {named}{more} {verb} a GPU without being listed"
    raise WishError(CLIENTS, problem, "add the unit, which is then stopped and started again, or stop the process")


def live(state: Mapping[str, Any], resolved: Mapping[str, Any], require: str) -> bool:
    """Return whether the driver is to run in the present kernel. ``require`` is ``auto``, ``true`` or ``false``."""
    return wanted(state, resolved, require) and state["kernel"]["running"] == state["kernel"]["wanted"]


def wanted(state: Mapping[str, Any], resolved: Mapping[str, Any], require: str) -> bool:
    """Return whether the driver is to run on this machine at all, now or after a reboot."""
    if not resolved["module_package"]:
        return False
    return not state["container"] if require == "auto" else require == "true"


def reboot_reasons(state: Mapping[str, Any], pending: Sequence[str] = ()) -> list[str]:
    """Return why the installed driver needs a reboot to be in force, a sentence each; empty if it is in force.

    ``pending`` are reasons found elsewhere, such as a change of the ECC mode.
    """
    reasons = list(pending)
    kernel, loaded, library = state["kernel"], state["loaded"], state["library_version"]
    if kernel["running"] != kernel["wanted"]:
        reasons.append(f"the driver is built for kernel {kernel['wanted']}, and {kernel['running']} runs")
    elif nvidia_devices.nouveau_holds(state):
        reasons.append("nouveau holds the GPUs and could not be unloaded")
    elif loaded["version"] is None:
        reasons.append("the driver's modules could not be loaded")
    elif library and loaded["version"] != library and not _in_vain(state):
        reasons.append(f"the kernel runs driver {loaded['version']}, and the libraries are {library}")
    return reasons


def _in_vain(state: Mapping[str, Any]) -> bool:
    """Return whether a reboot would also load modules of another version than the libraries."""
    versions = [module["version"] for module in driver_proof.first(state)]
    return bool(versions) and state["library_version"] not in versions
