# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A driver that came from NVIDIA's own installer: how it is told from one of packages, and what is said of it."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.driver import installed as driver_installed
from ansible_collections.tfserving.fleet.plugins.module_utils.driver import proof as driver_proof
from ansible_collections.tfserving.fleet.plugins.module_utils.driver import steps as driver_steps
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.host.sysfs import Tree
from driver_hosts import DRIVER_535, package, state

KERNEL = "6.1.0-40-amd64"
LIBRARY = "usr/lib/x86_64-linux-gnu/libnvidia-ml.so.580.95.05"
MODULE = f"lib/modules/{KERNEL}/kernel/drivers/video/nvidia.ko"
DKMS = [{"name": "nvidia", "version": "580.95.05", "kernel": KERNEL, "status": "installed"}]
PACKAGES = [package("libcuda1"), package("nvidia-kernel-dkms")]
# Bears no version of a driver, and stays where drivers come and go.
TOOL = [package("nvidia-modprobe", "535.161.07-1") | {"branch": None}]


def found(tmp_path, *files, dkms=(), installed=()):
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).touch()
    return driver_installed.installer(Tree(str(tmp_path)), KERNEL, dkms, installed)


@pytest.mark.parametrize(
    ("files", "more", "uninstaller"),
    [
        (["usr/bin/nvidia-uninstall", LIBRARY, MODULE], {}, "/usr/bin/nvidia-uninstall"),
        (["usr/bin/nvidia-uninstall", LIBRARY], {"dkms": DKMS}, "/usr/bin/nvidia-uninstall"),
        (["usr/local/bin/nvidia-uninstall", LIBRARY], {"installed": TOOL}, "/usr/local/bin/nvidia-uninstall"),
        # Packages over it: the host has two already.
        (["usr/bin/nvidia-uninstall", LIBRARY], {"installed": PACKAGES}, "/usr/bin/nvidia-uninstall"),
        # The uninstaller itself is gone.
        ([MODULE, LIBRARY], {}, None),
        ([f"{MODULE}.xz", LIBRARY], {}, None),
        ([LIBRARY], {"dkms": DKMS}, None),
        ([LIBRARY, "var/log/nvidia-installer.log"], {}, None),
        (["usr/lib64/libnvidia-ml.so.580.95.05", "var/log/nvidia-installer.log"], {}, None),
        # Beside packages of another driver.
        ([LIBRARY, "var/log/nvidia-installer.log"], {"installed": PACKAGES, "dkms": DKMS}, None),
        # Left over from a driver of packages, for programs of 32 bits.
        ([MODULE, LIBRARY], {"installed": [package("libnvidia-compute-470:i386")]}, None),
    ],
)
def test_it_is_known_by_what_no_package_has_put_there(tmp_path, files, more, uninstaller):
    assert found(tmp_path, *files, **more) == {"version": "580.95.05", "uninstaller": uninstaller}


@pytest.mark.parametrize(
    ("files", "more"),
    [
        ([], {}),
        ([LIBRARY, MODULE], {"dkms": DKMS, "installed": PACKAGES}),
        # The installer's driver went long ago.
        ([LIBRARY, "var/log/nvidia-installer.log"], {"installed": [package("libcuda1", "580.95.05-1")]}),
        # A container sees the module of the host around it, and is given its libraries.
        (["sys/module/nvidia/version", LIBRARY], {}),
        # A driver whose packages were just removed is still loaded.
        (["sys/module/nvidia/version", "var/log/nvidia-installer.log"], {}),
        # Others put modules there as well.
        ([f"lib/modules/{KERNEL}/kernel/drivers/video/nvidiafb.ko"], {}),
    ],
)
def test_a_driver_of_packages_or_of_a_host_around_is_not_taken_for_it(tmp_path, files, more):
    assert found(tmp_path, *files, **more) is None


def test_its_modules_are_no_proof():
    installer = {"version": "535.261.03", "uninstaller": "/usr/bin/nvidia-uninstall"}
    row = {"name": "nvidia", "version": "535.261.03", "kernel": KERNEL, "status": "installed"}
    module = {"path": "/x", "version": "535.261.03", "kernel": KERNEL, "flavour": "proprietary"}
    found = state(installer=installer, dkms=[row], built=[module])
    assert driver_proof.unproven(found, DRIVER_535) == "the modules are of NVIDIA's own installer (.run)"


@pytest.mark.parametrize("resolved", [DRIVER_535, {}], ids=["present", "absent"])
@pytest.mark.parametrize(
    ("installer", "sentence"),
    [
        (
            {"version": "580.95.05", "uninstaller": "/usr/bin/nvidia-uninstall"},
            "nvidia_driver_state: a driver 580.95.05 of NVIDIA's own installer (.run) is on this host, which no package"
            " manager knows; remove it with '/usr/bin/nvidia-uninstall --silent' on the host and run again, or set this"
            " to unmanaged",
        ),
        (
            {"version": "580.95.05", "uninstaller": None},
            "nvidia_driver_state: a driver 580.95.05 of NVIDIA's own installer (.run) is on this host, which no package"
            " manager knows; remove it with 'sh NVIDIA-Linux-*-580.95.05.run --uninstall --silent' on the host and run"
            " again, or set this to unmanaged",
        ),
        (
            {"version": None, "uninstaller": "/usr/bin/nvidia-uninstall"},
            "nvidia_driver_state: a driver of NVIDIA's own installer (.run) is on this host, which no package manager"
            " knows; remove it with '/usr/bin/nvidia-uninstall --silent' on the host and run again, or set this to"
            " unmanaged",
        ),
    ],
)
def test_it_is_left_untouched_and_its_uninstaller_named(installer, sentence, resolved):
    with pytest.raises(WishError) as refusal:
        driver_steps.steps(state(installer=installer), resolved)
    assert str(refusal.value) == sentence


def test_a_driver_that_runs_without_a_package_is_the_images(tmp_path):
    """As on virtual machines that a cloud lends with their driver, in /usr/local or on a disk of its own."""
    (tmp_path / "sys/module/nvidia").mkdir(parents=True)
    (tmp_path / "sys/module/nvidia/version").write_text("580.95.05\n", encoding="utf-8")
    assert found(tmp_path, LIBRARY) is None, "a container is given its host's"
    known = driver_installed.installer(Tree(str(tmp_path)), KERNEL, [], [], container=False)
    assert known == {"version": "580.95.05", "uninstaller": None, "image": True}
    with pytest.raises(WishError) as caught:
        driver_steps.steps(state(installer=known), DRIVER_535)
    assert str(caught.value) == (
        "nvidia_driver_state: driver 580.95.05 runs on this host without a package, as where the machine's image brings"
        " it; set this to unmanaged, or remove that driver first"
    )


def test_a_driver_of_packages_that_runs_is_nobody_elses(tmp_path):
    (tmp_path / "sys/module/nvidia").mkdir(parents=True)
    (tmp_path / "sys/module/nvidia/version").write_text("580.95.05\n", encoding="utf-8")
    found(tmp_path, LIBRARY)
    installed = [package("libcuda1", "580.95.05-1")]
    assert driver_installed.installer(Tree(str(tmp_path)), KERNEL, [], installed, container=False) is None
