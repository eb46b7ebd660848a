# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A host whose next kernel has the driver's modules, really compiled."""

from __future__ import annotations

import pytest


@pytest.fixture
def kernel(host):
    return host.check_output("ls /boot").split("vmlinuz-")[1].split()[0]


def test_dkms_has_built_for_that_kernel(host, kernel):
    status = host.check_output("dkms status")
    assert f"{kernel}, x86_64: installed" in status


def test_the_modules_say_the_kernel_and_the_version_of_the_libraries(host, kernel):
    module = host.check_output("modinfo /lib/modules/%s/updates/dkms/nvidia-current.ko", kernel)
    version = host.package("libcuda1").version.split("-")[0]
    assert f"version:        {version}" in module
    assert f"vermagic:       {kernel} " in module


def test_the_initramfs_keeps_nouveau_away(host, kernel):
    files = host.check_output("lsinitramfs /boot/initrd.img-%s", kernel)
    assert "etc/modprobe.d/nvidia-driver-fleet.conf" in files


def test_the_container_itself_was_told_to_load_nothing(host):
    assert not host.service("nvidia-persistenced.service").is_running
    assert not host.run("systemctl --failed --no-legend | grep nvidia").stdout
