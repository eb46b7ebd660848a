# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Which packages of a host are NVIDIA's driver, and of which branch: names and versions as they are in the archives."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.driver import family as driver_family

DRIVER = [
    # Debian
    ("libcuda1", "535.261.03-1~deb12u1", "535"),
    ("libnvidia-tesla-470-ml1", "470.256.02-1~deb12u1", "470"),
    ("firmware-nvidia-gsp", "535.261.03-1~deb12u1", "535"),
    ("libegl-nvidia0", "550.163.01-2", "550"),
    ("nvidia-egl-common", "535.261.03-1~deb12u1", "535"),
    ("nvidia-legacy-390xx-driver", "390.157-14~deb12u1", "390"),
    ("nvidia-cuda-mps", "535.261.03-1~deb12u1", "535"),
    # Canonical
    ("nvidia-kernel-common-580-server", "580.95.05-0ubuntu0.24.04.2", "580"),
    ("nvidia-firmware-580-server-580.95.05", "580.95.05-0ubuntu0.24.04.2", "580"),
    ("xserver-xorg-video-nvidia-535", "535.274.02-0ubuntu0.22.04.1", "535"),
    ("libnvidia-nscq-550", "550.163.01-0ubuntu0.24.04.1", "550"),
    ("libcuda1-384", "390.157-0ubuntu0.22.04.2", "390"),
    # NVIDIA
    ("cuda-drivers-550", "550.90.07-1", "550"),
    ("libnvsdm", "590.48.01-1", "590"),
    ("libnvsdm-570", "570.195.03-1", "570"),
    ("nvidia-imex-570", "570.195.03-1", "570"),
    ("nvidia-fabricmanager", "1:590.48.01-1", "590"),
    ("nvidia-open-580", "580.95.05-0ubuntu1", "580"),
    # Prebuilt ones bear the kernel's version.
    ("linux-modules-nvidia-550-server-6.8.0-51-generic", "6.8.0-51.52+1", "550"),
    ("linux-modules-nvidia-580-server-open-generic-hwe-22.04", "6.8.0-87.88~22.04.1+1", "580"),
    ("linux-objects-nvidia-535-server-6.8.0-1066-gcp", "6.8.0-1066.71+1", "535"),
    ("nvidia-driver-pinning-590", "590-1", "590"),
    ("nvidia-driver-pinning-590.48.01", "590.48.01-1", "590"),
    # No version of a driver, and yet a part of one.
    ("linux-signatures-nvidia-6.8.0-51-generic", "6.8.0-51.52+1", None),
    ("nvidia-support", "20220217+3~deb12u1", None),
    ("glx-alternative-nvidia", "1.2.2", None),
    ("nvidia-settings", "510.47.03-0ubuntu1", "510"),
]

OTHERS = [
    ("nvidia-docker2", "2.13.0-1"),
    ("nvidia-container-toolkit", "1.19.1-1"),
    ("libnvidia-container1", "1.19.1-1"),
    ("nvidia-container-runtime", "3.14.0-1"),
    ("nvidia-gds-12-4", "12.4.1-1"),
    ("nvidia-fs", "2.19.7-1"),
    ("nvidia-fs-dkms", "2.19.7-1"),
    ("linux-modules-nvidia-fs-6.11.0-1016-nvidia", "6.11.0-1016.16"),
    ("nvidia-nsight", "12.4.131-1"),
    ("nvidia-cuda-toolkit", "11.8.89~11.8.0-5~deb12u1"),
    ("libnvidia-ml-dev", "11.8.86~11.8.0-5~deb12u1"),
    ("nvidia-repo-keys", "22.04-1"),
    ("nvidia-system-core", "24.09-1"),
    ("nvidia-system-mlnx-drivers", "24.09-1"),
    ("nvidia-conf-cachefilesd", "22.04-1"),
    ("nvidia-crashdump", "24.01-1"),
    ("nvidia-mig-manager", "0.12.1-1"),
    ("nvidia-prime", "0.8.17.1"),
    ("nvidia-vaapi-driver", "0.0.8-1"),
    ("nvidia-driver-local-repo-ubuntu2204-535.104.05", "1.0-1"),
    ("nvidia-driver-assistant", "0.21.57.08-1"),
    ("libnvidia-egl-wayland1", "1:1.1.10-1"),
    # For nouveau.
    ("firmware-nvidia-graphics", "20250410-2"),
    ("nvidia-l4t-core", "35.3.1-20230319081403"),
    ("nvidia-l4t-bootloader", "36.4.3-20250107174145"),
    ("nvidia-tegra-drivers-36", "36.4.0-1002.2"),
    ("nvlsm", "2025.03.1-1"),
    ("cuda-compat-12-4", "550.54.15-1"),
    ("libxnvctrl0", "510.47.03-0ubuntu1"),
    ("linux-headers-6.8.0-1016-nvidia", "6.8.0-1016.17"),
    ("nvtop", "3.0.1-1"),
]


@pytest.mark.parametrize(("name", "version", "branch"), DRIVER)
def test_a_part_of_the_driver_is_known_with_its_branch(name, version, branch):
    assert driver_family.is_driver(name, version)
    assert driver_family.branch_of(version, name) == branch


@pytest.mark.parametrize(("name", "version"), OTHERS)
def test_what_merely_has_nvidias_name_is_none(name, version):
    assert not driver_family.is_driver(name, version)


@pytest.mark.parametrize(
    ("name", "series", "kernel"),
    [
        ("linux-modules-nvidia-580-server-open-6.8.0-1066-gcp", "580-server-open", "6.8.0-1066-gcp"),
        ("linux-modules-nvidia-580-open-generic-hwe-24.04", "580-open", "generic-hwe-24.04"),
        ("linux-modules-nvidia-535-server-azure", "535-server", "azure"),
        ("linux-modules-nvidia-470-lowlatency", "470", "lowlatency"),
    ],
)
def test_prebuilt_modules_say_their_series_and_what_they_follow(name, series, kernel):
    match = driver_family.PREBUILT.fullmatch(name)
    assert (match["series"], match["kernel"]) == (series, kernel)
