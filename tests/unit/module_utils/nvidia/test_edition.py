# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Machines whose driver is another edition than the one that packages bring: vGPU guests, vGPU hosts, Tegra."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.driver import steps as driver_steps
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.host.sysfs import Tree
from ansible_collections.tfserving.fleet.plugins.module_utils.nvidia import edition as driver_edition
from ansible_collections.tfserving.fleet.plugins.modules import nvidia_driver_state
from machines import write
from running import run_module

FIRST, SECOND = "0000:00:05.0", "0000:00:06.0"
NOTHING = {"kind": "none", "install": [], "purge": [], "replaces": False, "unproven": ""}


def gpu(address=FIRST, virtual=False):
    return {"pci_address": address, "virtual": virtual}


@pytest.mark.parametrize(
    ("path", "text", "edition"),
    [
        ("etc/nv_tegra_release", "# R36 (release), REVISION: 4.3", "tegra"),
        ("proc/device-tree/compatible", "nvidia,p3737-0000+p3701-0000\0nvidia,tegra234\0", "tegra"),  # Orin
        ("proc/device-tree/compatible", "nvidia,tegra264\0", "tegra"),  # Thor, whose GPU is on the PCI bus
        ("sys/firmware/devicetree/base/compatible", "nvidia,p3450-0000\0nvidia,tegra210\0", "tegra"),  # Nano
        ("proc/device-tree/compatible", "raspberrypi,5-model-b\0brcm,bcm2712\0", None),
        ("proc/device-tree/compatible", "nvidia,grace\0", None),
        ("usr/bin/nvidia-vgpu-mgr", "", "vgpu_host"),
        ("sys/module/nvidia_vgpu_vfio/refcnt", "0", "vgpu_host"),
        ("sys/module/nvidia/version", "580.95.05", None),
        ("usr/bin/nvidia-smi", "", None),
    ],
)
def test_a_machine_shows_whose_driver_it_needs(tmp_path, path, text, edition):
    write(tmp_path, path, text)
    assert driver_edition.read(Tree(str(tmp_path)), [gpu()]) == edition


@pytest.mark.parametrize(
    ("virtual", "edition"), [([True], "vgpu_guest"), ([False, True], "vgpu_guest"), ([None], None), ([], None)]
)
def test_a_guest_is_known_by_its_gpus(tmp_path, virtual, edition):
    assert driver_edition.read(Tree(str(tmp_path)), [gpu(virtual=each) for each in virtual]) == edition


GUEST_REMEDY = "install that driver as NVIDIA's vGPU guide says, and set this to unmanaged"


@pytest.mark.parametrize("resolved", [{}, {"packages": ["nvidia-driver"]}], ids=["absent", "present"])
@pytest.mark.parametrize(
    ("edition", "gpus", "sentence"),
    [
        (
            "vgpu_guest",
            [gpu(SECOND), gpu(virtual=True)],
            f"GPU {FIRST} is a vGPU, which NVIDIA's licensed guest driver drives and no package of an archive;"
            f" {GUEST_REMEDY}",
        ),
        (
            "vgpu_host",
            [gpu()],
            "the driver of this host is NVIDIA's vGPU manager, which shares its GPUs out to virtual machines;"
            " set this to unmanaged, or remove the vGPU manager first",
        ),
    ],
)
def test_no_step_is_taken_over_a_driver_of_virtual_machines(resolved, edition, gpus, sentence):
    # What else the state holds is not even looked at: nothing has been worked out when this is refused.
    with pytest.raises(WishError) as refusal:
        driver_steps.steps({"edition": edition, "gpus": gpus}, resolved)
    assert str(refusal.value) == f"nvidia_driver_state: {sentence}"


def test_on_a_tegra_nothing_is_removed():
    packages = [
        {"name": name, "version": "36.4.3", "branch": None} for name in ("nvidia-l4t-core", "nvidia-l4t-bootloader")
    ]
    state = {"edition": "tegra", "gpus": [], "packages": {"installed": packages}, "users": [], "loaded": {}}
    assert driver_steps.steps(state, {}) == NOTHING


@pytest.mark.parametrize(
    ("edition", "gpus", "left_out", "sentence"),
    [
        (None, [gpu()], [], ""),
        ("vgpu_guest", [gpu(virtual=True)], [], ""),
        (None, [], [], "No NVIDIA GPU is on the PCI bus of this host, so it needs no driver."),
        (
            "tegra",
            [gpu()],
            [],
            "This host is a Tegra, such as a Jetson, whose driver is part of NVIDIA's Linux for it: it is left alone.",
        ),
        (
            None,
            [],
            [{"pci_address": FIRST, "why": "vfio-pci holds it for a virtual machine"}],
            f"All NVIDIA GPUs of this host are left out, so it needs no driver: {FIRST} (vfio-pci holds it for a"
            " virtual machine).",
        ),
    ],
)
def test_a_host_without_work_is_passed_over_with_the_reason(edition, gpus, left_out, sentence):
    assert driver_edition.passed_over({"edition": edition, "gpus": gpus, "left_out": left_out}) == sentence


def test_many_gpus_that_are_left_out_are_a_short_sentence():
    left_out = [{"pci_address": f"0000:{bus:02x}:00.0", "why": "nvidia_driver_ignore names it"} for bus in range(16)]
    assert driver_edition.passed_over({"edition": None, "gpus": [], "left_out": left_out}).endswith(", 12 more.")


def test_the_module_returns_both(tmp_path, monkeypatch):
    write(tmp_path, "proc/device-tree/compatible", "nvidia,p3767-0000\0nvidia,tegra234\0")
    monkeypatch.setattr(nvidia_driver_state.process_facts, "runner", lambda _module: lambda _arguments: (1, "", ""))
    driver = run_module(nvidia_driver_state, sysroot=str(tmp_path))["driver"]
    assert driver["edition"] == "tegra"
    assert driver["passed_over"].startswith("This host is a Tegra")
