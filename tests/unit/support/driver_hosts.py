# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What nvidia_driver_state tells of a host, made up for the steps of a driver."""

from __future__ import annotations

from ansible_collections.tfserving.fleet.plugins.module_utils.nvidia import edition as driver_edition
from ansible_collections.tfserving.fleet.plugins.plugin_utils.driver import packages as driver_packages

KERNEL = "6.1.0-40-amd64"
HOST = {"distribution": "Debian", "release": "12", "architecture": "x86_64", "kernel": KERNEL}
DRIVER_535 = driver_packages.resolve({}, HOST, [{"device_id": "0x1eb8"}])
HEADERS = ["linux-headers-6.1.0-40-amd64", "linux-headers-amd64"]


def package(name, version="535.261.03-1"):
    branch = version.split(".")[0] if version[:3].isdecimal() and version[3] == "." else None
    return {"name": name, "version": version, "branch": branch, "held": False}


def state(*packages, loaded=None, **parts):
    return {
        "kernel": {"running": KERNEL, "wanted": KERNEL, "headers": True, "initramfs": {}},
        "loaded": {"version": loaded, "nouveau": False, "modules": [], "flavour": None},
        "library_version": None,
        "built": [],
        "dkms": [],
        "packages": {"installed": list(packages), "headers": HEADERS, "broken": []},
        "secure_boot": {"state": "disabled", "certificate": None, "enrolled": False},
        "users": [],
        "container": False,
        **parts,
    }


GPU = {"device_id": "0x1eb8", "pci_address": "0000:3b:00.0", "virtual": False}


def host_of(*packages, sources=None, **parts):
    """Return what the module nvidia_driver_state returns of a host with a GPU, before it knows of a wish."""
    driver = {"gpus": [GPU], "left_out": [], "edition": None, "nvswitches": 0, "components": [], **parts}
    driver = {**state(*packages), **driver}
    driver["kernel"] = {**driver["kernel"], "meta": ""}
    driver["passed_over"] = driver_edition.passed_over(driver)
    return {"driver": driver, "apt_sources": sources or []}
