# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The result of a change of packages according to apt's simulation, and refusals to begin it: pure functions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.driver import proof as driver_proof
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.visible_text import told

# "Inst libcuda1 [535.261.03-1] (535.274.02-1 Debian:12/stable [amd64])", without the old version if none is installed.
_INSTALLED = re.compile(r"Inst (?P<name>\S+)(?: \[[^\]]*\])? \((?P<version>\S+)")
_REMOVED = re.compile(r"(?:Remv|Purg) (?P<name>\S+)")
# " nvidia-headless-580 : Depends: libnvidia-compute-580 (= 580.95.05-1) but 580.178.04-1 is to be installed"; the lines
# below it are further reasons of the same package.
_UNMET = re.compile(r" (?P<name>\S+) : (?P<why>\S.*)")
_LONGEST = 300


def foreseen(
    state: Mapping[str, Any], resolved: Mapping[str, Any], purge: Iterable[str], simulated: Mapping[str, Any]
) -> dict[str, str]:
    """Return the versions of the packages, by name, after the change that ``apt-get --simulate`` printed.

    ``simulated`` holds its ``rc``, ``stdout`` and ``stderr``. Raise WishError if apt cannot make the change, or if
    modules and libraries would be of different versions.
    """
    lines = simulated["stdout"].splitlines()
    if simulated["rc"] != 0:
        _refuse_unmet(resolved, lines, simulated["stderr"])
    gone = {*purge, *(match["name"] for match in map(_REMOVED.match, lines) if match)}
    kept = {package["name"]: package["version"] for package in state["packages"]["installed"]}
    after = {name: version for name, version in kept.items() if name not in gone}
    after.update({match["name"]: match["version"] for match in map(_INSTALLED.match, lines) if match})
    _refuse_apart(state, resolved, after, kept)
    return after


def _refuse_unmet(resolved: Mapping[str, Any], lines: Iterable[str], errors: str) -> None:
    """Raise WishError with apt's own reason, which it does not print with its errors."""
    unmet = next((f"{match['name']}: {match['why']}" for match in map(_UNMET.fullmatch, lines) if match), "")
    said = unmet or " ".join(line.removeprefix("E: ") for line in errors.splitlines() if line.startswith("E: "))
    remedy = f"name another branch that the archive has, or see what 'apt-get install {resolved['packages'][0]}' says"
    if resolved["module_series"]:
        remedy = "boot the newest kernel, which the archive has modules for, or set nvidia_driver_modules to dkms"
    raise WishError("nvidia_driver_branch", f"apt cannot install the driver ({told(said or errors, _LONGEST)})", remedy)


def _refuse_apart(
    state: Mapping[str, Any], resolved: Mapping[str, Any], after: Mapping[str, str], before: Mapping[str, str]
) -> None:
    module = resolved["module_package"]
    libraries = sorted(driver_proof.libraries(after, resolved["branch"]))
    modules = _modules(state, resolved, after, before)
    if not modules or not libraries or libraries == modules:
        return
    dkms = ", or nvidia_driver_modules to dkms" if resolved["module_series"] else ""
    raise WishError(
        "nvidia_driver_version",
        f"the archive has {module} of driver {' and '.join(modules)} and libraries of {' and '.join(libraries)}, which"
        " refuse each other",
        f"set this to a version that 'apt-cache madison' shows of both{dkms}",
    )


def _modules(
    state: Mapping[str, Any], resolved: Mapping[str, Any], after: Mapping[str, str], before: Mapping[str, str]
) -> list[str]:
    """Return the version of the modules after the change.

    Packages of prebuilt modules are not versioned like the driver. Installed modules report its version themselves;
    new ones depend on an nvidia-kernel-common of the same version (linux-modules-nvidia-535-server-5.15.0-106-generic:
    >= 535.161.08, <= 535.161.08-1).
    """
    series, kernel = resolved["module_series"], state["kernel"]["wanted"]
    exact = f"linux-modules-nvidia-{series}-{kernel}"
    if series and after.get(exact) == before.get(exact):
        return sorted(set(driver_proof.ready(state, resolved)))
    said = f"nvidia-kernel-common-{series.removesuffix('-open')}" if series else resolved["module_package"]
    version = driver_proof.version(after, said)
    return [version] if version else []
