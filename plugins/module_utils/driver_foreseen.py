# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a change of packages would leave, as apt says itself, and why it is not begun: pure functions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils import driver_proof
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError

# "Inst libcuda1 [535.261.03-1] (535.274.02-1 Debian:12/stable [amd64])", without the old version where none is there.
_INSTALLED = re.compile(r"Inst (?P<name>\S+)(?: \[[^\]]*\])? \((?P<version>\S+)")
_REMOVED = re.compile(r"(?:Remv|Purg) (?P<name>\S+)")


def foreseen(
    state: Mapping[str, Any], resolved: Mapping[str, Any], purge: Iterable[str], simulated: str
) -> dict[str, str]:
    """Return the versions of the packages, by name, after the change that ``apt-get --simulate`` has printed.

    Raises WishError where modules and libraries would be of two versions.
    """
    lines = simulated.splitlines()
    gone = {*purge, *(match["name"] for match in map(_REMOVED.match, lines) if match)}
    kept = {package["name"]: package["version"] for package in state["packages"]["installed"]}
    after = {name: version for name, version in kept.items() if name not in gone}
    after.update({match["name"]: match["version"] for match in map(_INSTALLED.match, lines) if match})
    _refuse_apart(state, resolved, after, kept)
    return after


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

    No version of a package is that of prebuilt ones. Those that lie there say theirs, and those that come depend on a
    nvidia-kernel-common of theirs (linux-modules-nvidia-535-server-5.15.0-106-generic: >= 535.161.08, <= 535.161.08-1).
    """
    series, kernel = resolved["module_series"], state["kernel"]["wanted"]
    exact = f"linux-modules-nvidia-{series}-{kernel}"
    if series and after.get(exact) == before.get(exact):
        return sorted(set(driver_proof.ready(state, resolved)))
    said = f"nvidia-kernel-common-{series.removesuffix('-open')}" if series else resolved["module_package"]
    version = driver_proof.version(after, said)
    return [version] if version else []
