# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The plan of the role nvidia_driver for a host: pure functions of the wishes and the state of the host."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.driver import steps as driver_steps
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.host import apt_sources
from ansible_collections.tfserving.fleet.plugins.module_utils.nvidia import edition as driver_edition
from ansible_collections.tfserving.fleet.plugins.module_utils.refusals import Refusals

from . import packages as driver_packages

# The goal for a host's driver.
PRESENT, ABSENT, UNTOUCHED = "present", "absent", "untouched"
# The classes into which a survey sorts hosts.
NONE, SETTLED, CHANGE = "none", "settled", "change"

ARCHIVES = {
    "Debian": ("http://deb.debian.org/debian", "/usr/share/keyrings/debian-archive-keyring.gpg"),
    "Ubuntu": ("http://archive.ubuntu.com/ubuntu", "/usr/share/keyrings/ubuntu-archive-keyring.gpg"),
}
NVIDIA = ("https://developer.download.nvidia.com/compute/cuda/repos", "/etc/apt/keyrings/nvidia-driver.gpg")
SOURCES = "/etc/apt/sources.list.d/nvidia-driver.sources"

NOT_LAID_DOWN = {
    "archive": "etc/apt/sources.list.d/*",
    "persistence": "etc/systemd/system/nvidia-persistenced.service.d/*",
    "fabric_manager": "etc/systemd/system/nvidia-fabricmanager.service.d/*",
}

Wish = Mapping[str, Any]
Found = Mapping[str, Any]


def aim(state: str, driver: Mapping[str, Any]) -> str:
    """Return the goal for a host's driver: none is needed without an NVIDIA GPU, and a Tegra's belongs to its Linux."""
    if state == "present" and not driver["passed_over"]:
        return PRESENT
    return ABSENT if state == "absent" and driver["edition"] != driver_edition.TEGRA else UNTOUCHED


def plan(wish: Wish, found: Found, system: Mapping[str, Any], is_controller: bool = False) -> dict[str, Any]:
    """Return what the role does; raise WishErrors with everything that cannot work.

    :param wish: the role's variables by their names without ``nvidia_driver_``.
    :param found: the result of the module nvidia_driver_state.
    :param system: ``distribution``, ``release`` and ``architecture`` from Ansible's facts; read only if the goal is
        ``PRESENT``.
    :param is_controller: whether Ansible runs on this host, which must not be rebooted then.
    """
    driver = found["driver"]
    goal = aim(wish["state"], driver)
    planned: dict[str, Any] = {"aim": goal, "due": NONE, "missing": [], "reboot": reboot(wish, is_controller)}
    if goal == ABSENT:
        planned |= {"due": CHANGE, "steps": driver_steps.steps(driver, {})}
    if goal == PRESENT:
        planned |= _present(wish, found, system)
    return planned


def _present(wish: Wish, found: Found, system: Mapping[str, Any]) -> dict[str, Any]:
    driver = found["driver"]
    resolved = driver_packages.resolve(_asked(wish, driver), _host(system, driver["kernel"]), driver["gpus"])
    resolved["holds"] = {
        "driver": wish["hold"],
        "kernel": resolved["kernel_packages"] if wish["hold_kernel"] else [],
    }
    source = repository(wish, resolved, system["distribution"], driver["components"])
    refusals = Refusals()
    refusals.check(_refuse_conflicts, found["apt_sources"], source)
    refusals.check(_refuse_incomplete_geometry, wish["mig"])
    steps = refusals.check(driver_steps.steps, driver, resolved, wish["clients"])
    refusals.stop()
    return {
        "due": due(driver, steps),
        "missing": [name.partition("=")[0] for name in steps["install"]],
        "resolved": resolved,
        "steps": steps,
        "repository": source,
        "exclude": _excluded(wish, resolved, source),
    }


def reboot(wish: Wish, is_controller: bool) -> dict[str, Any]:
    """Return whether the role may reboot the host, and its request to the user when a reboot is still needed."""
    if is_controller:
        request = "It is the controller itself, so reboot it by hand."
    elif wish["reboot_ok"]:
        request = "Run this again to reboot it."
    else:
        request = "Set nvidia_driver_reboot_ok, or reboot it yourself."
    return {"allowed": bool(wish["reboot_ok"]) and not is_controller, "request": request}


def _asked(wish: Wish, driver: Mapping[str, Any]) -> dict[str, Any]:
    """Return the variables that select a driver, in the form that the resolver takes."""
    fabric = wish["fabric_manager"]
    asked = {key: wish[key] for key in driver_packages.DEFAULTS if key != "fabric_manager"}
    return {**asked, "fabric_manager": driver["nvswitches"] > 0 if fabric == "auto" else fabric == "true"}


def _host(system: Mapping[str, Any], kernel: Mapping[str, Any]) -> dict[str, Any]:
    return {**system, "kernel": kernel["wanted"], "kernel_meta": kernel["meta"]}


def repository(
    wish: Wish, resolved: Mapping[str, Any], distribution: str, components: list[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return the source of the packages.

    ``missing`` tells whether the host needs a source file for it: apt warns at each run if a component is named twice,
    so none is written if the host's own files cover the archive.
    """
    named = resolved["repository"]
    if wish["repository"] == "nvidia":
        base, keyring = NVIDIA
        uri = f"{wish['repository_uri'] or base}/{named['path']}/"
        return {
            "vendor": True,
            "missing": True,
            "uri": uri,
            "suites": ["/"],
            "components": [],
            "keyring": keyring,
            "key_url": wish["key_url"] or f"{uri}{named['key']['file']}",
            "fingerprint": wish["key_fingerprint"] or named["key"]["fingerprint"],
        }
    base, keyring = ARCHIVES[distribution]
    there = {each["component"] for each in components if each["file"] != SOURCES}
    return {
        "vendor": False,
        "missing": not there.issuperset(named["components"]),
        "uri": wish["repository_uri"] or base,
        "suites": named["suites"],
        "components": named["components"],
        "keyring": keyring,
    }


def _refuse_conflicts(entries: list[dict[str, Any]], source: Mapping[str, Any]) -> None:
    if source["missing"]:
        apt_sources.check(entries, source["uri"], source["suites"], source["keyring"], SOURCES)


def _refuse_incomplete_geometry(mig: Mapping[str, Any]) -> None:
    if mig and not (mig.get("name") and mig.get("devices")):
        raise WishError("nvidia_driver_mig", "lacks its name or its devices", "give both, or leave it empty")


def due(driver: Mapping[str, Any], steps: Mapping[str, Any]) -> str:
    """Return whether a host has to be changed to have the driver."""
    todo = steps["kind"] != "none" or steps["unproven"] or driver["packages"]["broken"]
    return CHANGE if todo else SETTLED


def _excluded(wish: Wish, resolved: Mapping[str, Any], source: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the role's templates to leave out on this host, by their folder."""
    wanted = {
        "archive": source["missing"],
        "persistence": wish["persistence"],
        "fabric_manager": resolved["fabric_manager"],
    }
    return {
        "before": [pattern for name, pattern in NOT_LAID_DOWN.items() if not wanted[name]],
        # Without modules of its own, a host has nothing to load or set up.
        "after": [] if resolved["module_package"] else ["**"],
        "gpus": [] if wish["mig"] else ["etc/nvidia-mig-manager/**"],
    }
