# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Packages of the requested driver, as a pure function of the wish, the system and the GPUs.

The data is in tables/drivers.yml, the names of each vendor's packages in driver/names.py. RHEL is not supported yet:
`driver_table.system` refuses it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.driver.family import FLOATING, PREBUILT
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError, described, nearest

from . import names as driver_names
from . import table as driver_table
from .request import Request
from .table import Architecture

VARIABLE = "nvidia_driver_"
CHOICES = {
    "repository": ("distribution", "nvidia"),
    "flavour": ("auto", "open", "proprietary"),
    "variant": ("server", "desktop"),
    "modules": ("dkms", "prebuilt", "none"),
}
DEFAULTS: dict[str, Any] = {
    "repository": "distribution",
    "branch": "auto",
    "version": "",
    "flavour": "auto",
    "variant": "server",
    "modules": "dkms",
    "fabric_manager": False,
}

_BRANCH = re.compile(r"[1-9][0-9]{1,3}")
_VERSION = re.compile(r"[1-9][0-9]{1,3}(\.[0-9]{1,4}){1,3}([-+~][A-Za-z0-9.+~-]{1,64})?")

# apt_preferences(5): a priority above 1000 allows downgrades, and a negative one prevents installation.
PIN_WANTED = 1001
PIN_NEVER = -1


def resolve(wish: Mapping[str, Any], host: Mapping[str, Any], gpus: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the packages, pins and patterns of the wished driver.

    :param wish: keys of ``DEFAULTS``, the variables without their prefix.
    :param host: ``distribution``, ``release``, ``architecture`` (``uname -m``) and ``kernel`` (``uname -r``);
        ``kernel_meta`` if it is known (`kernel_meta.follows`).
    :param gpus: mappings with ``device_id``; empty if no GPUs are known.
    :raises WishError: the wish is malformed, or no driver satisfies it on these GPUs.
    """
    asked = _checked(wish)
    row = driver_table.system(host["distribution"], host["release"])
    branch = _branch(asked, row, gpus)
    driven = [gpu for gpu in gpus if driver_table.drives(branch, driver_table.generation(gpu))]
    generations = driver_table.architectures(driven)
    flavour, why = _flavour(asked["flavour"], branch, generations)
    request = Request(
        system=row,
        machine=_machine(str(host["architecture"])),
        repository=asked["repository"],
        branch=branch,
        version=asked["version"],
        flavour=flavour,
        variant=asked["variant"],
        modules=asked["modules"],
        fabric_manager=asked["fabric_manager"],
        kernel=str(host["kernel"]),
        kernel_meta=str(host.get("kernel_meta") or ""),
    )
    names = driver_names.name(request)
    pinned = asked["version"] or f"{branch}"
    return {
        "system": row["called"],
        "repository": _repository(request),
        "branch": str(branch),
        "flavour": flavour,
        "flavour_reason": why,
        "generations": [generation.name for generation in generations],
        "left_alone": _left_alone(gpus, branch),
        "pinning": names.pinning,
        "packages": names.packages,
        "headers": [] if asked["modules"] != "dkms" else names.headers,
        "module_package": names.module_package,
        "module_packages": names.module_packages,
        "module_series": names.module_series,
        "kernel_modules": names.kernel_modules,
        "own": names.own,
        "fabric_manager": names.fabric_manager,
        "kernel_packages": names.kernel_packages,
        "pins": _pins(names, pinned),
        "unattended": driver_names.UNATTENDED,
        "unattended_kernel": driver_names.UNATTENDED_KERNEL,
        "version_prefix": pinned,
    }


def _checked(wish: Mapping[str, Any]) -> dict[str, Any]:
    for key in wish:
        if key not in DEFAULTS:
            raise WishError(f"{VARIABLE}{key}", "is not part of a driver wish", nearest(key, DEFAULTS) or "remove it")
    asked = {**DEFAULTS, **wish}
    for key, choices in CHOICES.items():
        if asked[key] not in choices:
            hint = nearest(asked[key], choices) or f"choose one of {', '.join(choices)}"
            raise WishError(f"{VARIABLE}{key}", f"is {described(asked[key])}", hint)
    check_branch(f"{VARIABLE}branch", asked["branch"])
    check_version(f"{VARIABLE}version", asked["version"])
    return {**asked, "version": str(asked["version"] or "")}


def check_branch(path: str, value: Any) -> None:
    """Raise WishError unless ``value`` is a branch of the driver."""
    if isinstance(value, bool) or (value != "auto" and not _BRANCH.fullmatch(str(value))):
        problem = f"is {described(value)}"
        raise WishError(path, problem, "give the number before the first point of the version, or auto")


def check_version(path: str, value: Any) -> None:
    """Raise WishError unless ``value`` is a version of the driver or empty, for the branch's newest."""
    if value not in ("", None) and not (isinstance(value, str) and _VERSION.fullmatch(value)):
        raise WishError(path, f"is {described(value)}", "write it in quotes, as in 580.95.05, or leave it empty")


def _left_alone(gpus: Sequence[Mapping[str, Any]], branch: int) -> list[dict[str, Any]]:
    """Return the GPUs that the branch does not drive, such as a console card, each with a sentence."""
    return [
        {
            "pci_address": gpu.get("pci_address"),
            "why": f"GPU {driver_table.called(gpu)} is left alone: driver {branch} does not drive it, and nothing is"
            " served on it",
        }
        for gpu in gpus
        if not driver_table.drives(branch, driver_table.generation(gpu))
    ]


def _branch(asked: Mapping[str, Any], row: Mapping[str, Any], gpus: Sequence[Mapping[str, Any]]) -> int:
    """Return the branch, checked against the archive and the GPUs; it must drive at least one of them."""
    generations = [kind for kind in map(driver_table.generation, gpus) if kind]
    if gpus and not generations:
        driver_table.architectures(gpus)  # says why
    branch = int(asked["branch"]) if asked["branch"] != "auto" else _default_branch(asked, row, generations)
    if asked["version"] and not asked["version"].startswith(f"{branch}."):
        raise WishError(
            f"{VARIABLE}version",
            f"{asked['version']} is not of branch {branch}",
            f"set {VARIABLE}branch to {asked['version'].split('.')[0]}, or leave one of the two out",
        )
    _refuse_unpackaged(asked, branch, row)
    # GPUs that need a newer branch were bought for serving; older ones are left alone if others can be driven.
    some = any(driver_table.drives(branch, generation) for generation in generations)
    for generation in generations:
        if branch < generation.first or not some:
            _refuse_undriven(branch, generation)
    return branch


def _default_branch(asked: Mapping[str, Any], row: Mapping[str, Any], generations: Sequence[Architecture]) -> int:
    if asked["version"]:
        return int(asked["version"].split(".")[0])
    if asked["repository"] == "nvidia":
        return int(driver_table.setting("nvidia_default"))
    archive = row.get("archive")
    if not archive:
        return int(row["archive_default"])
    # The newest GPUs are for serving; an old one beside them is usually for the console.
    newest = max(generations, key=lambda generation: generation.first, default=None)

    def fitness(branch: int) -> tuple[bool, int]:
        driven = [generation for generation in generations if driver_table.drives(branch, generation)]
        return newest in driven, len(driven)

    return int(max(archive, key=fitness))


def _refuse_unpackaged(asked: Mapping[str, Any], branch: int, row: Mapping[str, Any]) -> None:
    """Refuse a branch that the chosen repository cannot have."""
    archive = row.get("archive")
    if asked["repository"] == "distribution" and archive and branch not in archive:
        raise WishError(
            f"{VARIABLE}branch",
            f"{row['called']} has no driver {branch} in its own archive",
            f"use {' or '.join(map(str, archive))}, or set {VARIABLE}repository to nvidia",
        )
    if asked["modules"] == "prebuilt" and (archive or asked["repository"] == "nvidia"):
        raise WishError(
            f"{VARIABLE}modules",
            "is prebuilt, and only Ubuntu's own archive has modules that are built for each of its kernels",
            "use dkms",
        )


def _refuse_undriven(branch: int, generation: Architecture) -> None:
    if branch < generation.first:
        problem = f"{branch} is too old for this host's GPUs ({generation.name} needs {generation.first} or newer)"
        remedy = f"set it to {generation.first} or newer; {VARIABLE}repository: nvidia has what the distribution lacks"
        raise WishError(f"{VARIABLE}branch", problem, remedy)
    if generation.last is not None and branch > generation.last:
        problem = f"{branch} no longer drives this host's GPUs ({generation.name} ends at branch {generation.last})"
        raise WishError(f"{VARIABLE}branch", problem, f"set it to {generation.last}")


def _flavour(wanted: str, branch: int, generations: Sequence[Architecture]) -> tuple[str, str]:
    """Return the flavour of the kernel modules and the reason; raise WishError if no flavour drives all GPUs."""
    never = next((each.name for each in generations if each.open == "never"), "")
    always = next((each.name for each in generations if each.open == "always"), "")
    if never and always:
        raise WishError(
            f"{VARIABLE}flavour",
            f"{never} needs the proprietary modules and {always} the open ones, and a kernel loads one of them",
            "name one kind in nvidia_driver_ignore, or take it out of the host",
        )
    if wanted == "auto":
        return _auto_flavour(branch, never, always)
    if wanted == "open":
        _refuse_open(branch, never)
    if wanted == "proprietary" and always:
        raise WishError(
            f"{VARIABLE}flavour",
            f"is proprietary, and {always} has open kernel modules only",
            "set it to open or auto",
        )
    return wanted, "as wished"


def _auto_flavour(branch: int, never: str, always: str) -> tuple[str, str]:
    if always:
        return "open", f"{always} has open kernel modules only"
    if never:
        return "proprietary", f"{never} is older than Turing, where the open kernel modules begin"
    preferred = int(driver_table.setting("open_preferred_from"))
    if branch >= preferred:
        return "open", f"NVIDIA's default since branch {preferred} for GPUs from Turing on"
    return "proprietary", f"NVIDIA's default before branch {preferred}"


def _refuse_open(branch: int, never: str) -> None:
    least = int(driver_table.setting("open_from"))
    if never:
        problem = f"is open, and {never} is older than Turing, where the open kernel modules begin"
        raise WishError(f"{VARIABLE}flavour", problem, "set it to proprietary or auto")
    if branch < least:
        problem = f"is open, and branch {branch} is older than {least}, where the open kernel modules begin"
        raise WishError(f"{VARIABLE}flavour", problem, f"set {VARIABLE}branch to a newer one, or this to proprietary")


def _machine(architecture: str) -> str:
    known = driver_table.setting("deb_machines")
    if architecture not in known:
        problem = f"this host is {architecture}, for which no driver packages are known"
        raise WishError("nvidia_driver_state", problem, f"use a host that is {' or '.join(known)}")
    return architecture


def _repository(request: Request) -> dict[str, Any]:
    """Return the contents of the source file, without addresses: they are role variables, since mirrors are common."""
    if request.repository == "distribution":
        components = {"Debian": ["contrib", "non-free", "non-free-firmware"], "Ubuntu": ["restricted", "multiverse"]}
        codename = request.system["codename"]
        return {
            "kind": "distribution",
            "suites": [codename, f"{codename}-updates"],
            "components": components[request.distribution],
            "architecture": driver_table.setting("deb_machines")[request.machine],
        }
    return {
        "kind": "nvidia",
        "path": f"{request.system['nvidia_path']}/{driver_table.setting('nvidia_machines')[request.machine]}",
        "key": dict(request.system["key"]),
        "architecture": driver_table.setting("deb_machines")[request.machine],
    }


def _pins(names: driver_names.Names, pinned: str) -> list[dict[str, Any]]:
    """Return apt's preferences: all parts of the driver in the wanted version, its main packages in no other.

    The patterns cover the dependencies of the main packages. Packages without such a version are not affected.
    """
    packages = [*names.packages, *names.fabric_manager]
    # Canonical's prebuilt modules are versioned like the kernel.
    own = [package for package in packages if package not in FLOATING and not PREBUILT.fullmatch(package)]
    version = f"{pinned}.*" if pinned.isdecimal() else f"{pinned}-*"
    return [
        {"packages": [*own, *driver_names.PARTS], "version": version, "priority": PIN_WANTED},
        {"packages": own, "version": "*", "priority": PIN_NEVER},
    ]
