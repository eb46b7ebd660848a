# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A host with Debian's own driver, from the first run or after an interrupted one."""

from __future__ import annotations

import json

import pytest

BRANCHES = {"bookworm": "535", "trixie": "550"}


@pytest.fixture
def branch(host):
    return BRANCHES[host.system_info.codename]


def test_the_packages_are_debians_own_of_one_branch(host, branch):
    for name in ("nvidia-kernel-dkms", "libcuda1", "nvidia-smi", "libnvidia-ml1", "libnvidia-cfg1"):
        assert host.package(name).version.startswith(f"{branch}."), name


def test_nothing_of_a_desktop_came_along(host):
    assert not host.package("xserver-xorg-video-nvidia").is_installed
    assert not host.package("nvidia-driver").is_installed


def test_apt_would_not_take_another_branch(host, branch):
    policy = host.check_output("apt-cache policy nvidia-kernel-dkms")
    assert f"Candidate: {branch}." in policy
    assert "1001" in policy


def test_every_package_of_the_driver_is_held_and_the_kernel_too(host):
    held = host.check_output("apt-mark showhold").split()
    assert {"libcuda1", "libnvidia-ml1", "nvidia-kernel-dkms", "nvidia-persistenced", "firmware-nvidia-gsp"} <= set(
        held
    )
    assert {"linux-headers-simulated", "linux-headers-6.1.0-0-simulated"} <= set(held)


def test_unattended_upgrades_is_told_the_same(host):
    blacklist = host.check_output("apt-config dump Unattended-Upgrade::Package-Blacklist")
    assert '"^libnvidia-(?!container' in blacklist
    assert '"^linux-image-"' in blacklist


def test_the_archive_is_named_with_its_own_key(host):
    source = host.file("/etc/apt/sources.list.d/nvidia-driver.sources").content_string
    assert "Components: contrib non-free non-free-firmware" in source
    assert "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg" in source


def test_nouveau_is_gone_and_stays_away(host):
    assert "blacklist nouveau" in host.file("/etc/modprobe.d/nvidia-driver-fleet.conf").content_string
    assert not host.file("/sys/module/nouveau").exists


def test_the_initramfs_was_rebuilt_after_the_module_options(host):
    options = host.file("/etc/modprobe.d/nvidia-driver-fleet.conf").mtime
    assert host.file("/boot/initrd.img-6.1.0-0-simulated").mtime >= options


def test_cudas_module_is_loaded_at_boot(host):
    assert "nvidia-uvm" in host.file("/etc/modules-load.d/nvidia-driver-fleet.conf").content_string


def test_the_loaded_driver_is_the_installed_one(host):
    assert (
        host.file("/sys/module/nvidia/version").content_string.strip() == host.package("libcuda1").version.split("-")[0]
    )


def test_the_persistence_daemon_waits_for_the_module(host):
    unit = host.check_output("systemctl cat nvidia-persistenced.service")
    assert "ConditionPathExists=/proc/driver/nvidia/version" in unit
    assert host.service("nvidia-persistenced.service").is_running


@pytest.mark.parametrize(
    ("gpu", "key", "value"),
    [
        (0, "power.limit", 65.0),
        (1, "power.limit", 65.0),
        (1, "locked.graphics", "300,1200"),
        (1, "compute_mode", "Exclusive_Process"),
        (0, "compute_mode", "Default"),
    ],
)
def test_the_gpus_are_set_as_wished(host, gpu, key, value):
    machine = json.loads(host.file("/var/lib/simulated-gpu/state.json").content_string)
    assert machine["gpus"][gpu][key] == value


def test_the_next_boot_sets_what_gpus_forget(host):
    unit = host.check_output("systemctl cat tfserving-fleet-gpu.service")
    assert unit.count("--power-limit=65") == 2
    assert unit.count("--lock-gpu-clocks=300,1200") == 1
    assert "ecc" not in unit, "ECC stays in the GPU"
    assert host.check_output("systemctl is-active tfserving-fleet-gpu.service") == "active"


def test_the_gpus_are_cut_as_wished_with_the_server_out_of_the_way(host):
    machine = json.loads(host.file("/var/lib/simulated-gpu/state.json").content_string)
    assert machine["mig_geometry"] == host.file("/etc/nvidia-mig-manager/fleet.yaml").content_string
    assert "3g.40gb: 2" in machine["mig_geometry"]


def test_the_server_runs(host):
    assert host.service("tfserving@ranker.service").is_running


def test_nothing_waits_to_be_started_or_configured(host):
    assert not host.file("/var/lib/tfserving-fleet/nvidia-driver/stopped.json").exists
    assert host.check_output("dpkg --audit") == ""
