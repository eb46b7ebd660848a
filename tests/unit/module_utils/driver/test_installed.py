# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Modules where each packaging puts them, and packages of foreign architectures, read and held."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.driver import installed as driver_installed
from ansible_collections.tfserving.fleet.plugins.module_utils.host.sysfs import Tree
from ansible_collections.tfserving.fleet.plugins.modules import package_holds

KERNEL = "6.8.0-1066-gcp"


def built(tmp_path, *paths, version="580.95.05", licence="Dual MIT/GPL"):
    for path in paths:
        file = tmp_path / "lib/modules" / KERNEL / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    said = f"version: {version}\nlicense: {licence}\nvermagic: {KERNEL} SMP preempt mod_unload modversions\n"
    return driver_installed.built_modules(Tree(str(tmp_path)), KERNEL, lambda _arguments: (0, said, ""))


@pytest.mark.parametrize(
    "folder",
    [
        "kernel/nvidia-580srv-open",
        "kernel/nvidia-580srv",
        "kernel/nvidia-580-open",
        "kernel/nvidia-580",
        "kernel/nvidia-595srv-open",
        "updates/dkms",
        "kernel/drivers/video",
    ],
)
@pytest.mark.parametrize("name", ["nvidia.ko", "nvidia.ko.zst"])
def test_a_module_is_found_where_each_packaging_puts_it(tmp_path, folder, name):
    (module,) = built(tmp_path, f"{folder}/{name}", f"{folder}/nvidia-uvm.ko", f"{folder}/nvidia-peermem.ko")
    assert module["path"].endswith(f"{folder}/{name}")
    assert (module["version"], module["kernel"], module["flavour"]) == ("580.95.05", KERNEL, "open")


def test_what_a_module_is_linked_from_is_none(tmp_path):
    assert built(tmp_path, "kernel/nvidia-580srv/bits/nvidia.o", "kernel/nvidia-580srv-bits/nvidia.ko") == []
    assert built(tmp_path, "kernel/drivers/video/fbdev/nvidia/nvidiafb.ko") == []


def listing(*rows):
    def run(arguments):
        if arguments == ["dpkg", "--print-architecture"]:
            return 0, "amd64\n", ""
        return 0, "".join("\t".join(row) + "\n" for row in rows), ""

    return run


def test_a_package_of_a_foreign_architecture_is_told_with_it():
    found = driver_installed.packages(
        listing(
            ("libcuda1:amd64", "535.261.03-1", "install", "ok", "installed"),
            ("libcuda1:i386", "535.261.03-1", "hold", "ok", "installed"),
            ("nvidia-smi", "535.261.03-1", "install", "ok", "installed"),
            ("libnvidia-compute-470:i386", "470.256.02-0ubuntu1", "install", "ok", "half-configured"),
            ("libnvidia-container1:amd64", "1.17.8-1", "install", "ok", "installed"),
        )
    )
    assert [(each["name"], each["branch"], each["held"]) for each in found["installed"]] == [
        ("libcuda1", "535", False),
        ("libcuda1:i386", "535", True),
        ("nvidia-smi", "535", False),
        ("libnvidia-compute-470:i386", "470", False),
    ]
    assert found["broken"] == ["libnvidia-compute-470:i386"]


def test_an_old_32_bit_library_does_not_pass_the_installers_driver_off_as_packaged(tmp_path):
    rows = [("libnvidia-compute-470:i386", "470.256.02-0ubuntu1", "install", "ok", "installed")]
    packages = driver_installed.packages(listing(*rows))["installed"]
    dkms = [{"name": "nvidia", "version": "580.95.05", "kernel": KERNEL, "status": "installed"}]
    found = driver_installed.installer(Tree(str(tmp_path)), KERNEL, dkms, packages)
    assert found == {"version": "580.95.05", "uninstaller": None}


class Holds:
    """The part of an AnsibleModule that asks dpkg and tells apt."""

    def __init__(self, *rows):
        self.rows = rows

    def run_command(self, arguments, **_options):
        if arguments == ["dpkg", "--print-architecture"]:
            return 0, "amd64\n", ""
        return 0, "".join(f"{row}\n" for row in self.rows), ""


def test_holds_tell_foreign_packages_from_native_ones():
    module = Holds(
        "libcuda1:amd64 hold installed",
        "libcuda1:i386 install installed",
        "nvidia-smi install installed",
        "nvidia-driver deinstall config-files",
    )
    assert package_holds.selections(module) == {"libcuda1": True, "libcuda1:i386": False, "nvidia-smi": False}
