# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The packages of NVIDIA's driver, recognised by name and version: pure functions.

A name alone is not enough: nvidia-docker2, nvidia-gds, nvidia-prime, DGX OS's nvidia-system-core and a Jetson's
nvidia-l4t-bootloader are not part of a driver. A package with a family name and a driver version is.
"""

from __future__ import annotations

import re

# In Debian's, Canonical's and NVIDIA's packaging (debian/control of nvidia-graphics-drivers and its -tesla and -server
# variants; https://docs.nvidia.com/datacenter/tesla/driver-installation-guide/, "Ubuntu 590 and later packages").
_FAMILY = re.compile(
    r"(lib)?nvidia-|libcuda1(-\d+)?$|libnv(cuvid|optix)1$|libnvsdm|lib(egl|gl1|glx|gles)-nvidia|firmware-nvidia|"
    r"xserver-xorg-video-nvidia|cuda-drivers"
)

# Packages with a version of their own rather than a driver's: never pinned, never taken for another branch's.
FLOATING = (
    "nvidia-modprobe",
    "nvidia-persistenced",
    "nvidia-settings",
    "nvidia-support",
    "nvidia-kernel-common",
    "nvidia-installer-cleanup",
    "nvidia-xconfig",
)
# ... and the others that come with a driver but lack its version. Canonical's signatures have a kernel's.
_UNVERSIONED = re.compile(
    rf"({'|'.join(FLOATING)})$|glx-(alternative|diversions)|update-glx|linux-signatures-nvidia-\d"
)

# Canonical's modules for one kernel, or for those that a meta package follows:
# linux-modules-nvidia-580-server-open-6.8.0-1066-gcp. Their version is the kernel's (6.8.0-1066.71+1), so only the name
# tells the branch. Those of nvidia-fs (linux-modules-nvidia-fs-) are not the driver's.
PREBUILT = re.compile(
    r"linux-(?P<part>modules|objects|signatures)-nvidia-"
    r"(?P<series>(?P<branch>[3-9]\d\d)(?:-server)?(?P<open>-open)?)-(?P<kernel>.+)"
)
# NVIDIA's pin on a branch, or on one version: nvidia-driver-pinning-590, version 590-1.
_PINNING = re.compile(r"nvidia-driver-pinning-(?P<branch>[3-9]\d\d)(\.[\d.]+)?")
# 304 was the first branch with packages of its own.
_VERSION = re.compile(r"(?:\d+:)?(?P<whole>(?P<branch>[3-9]\d\d)(?:\.\d+)+)")

# Packages of the libraries that talk to the kernel modules, and refuse those of another version.
LIBRARY = re.compile(r"libcuda1|libnvidia-(tesla-(\d{3}-)?)?(ml1|cuda1)|libnvidia-compute(-\d{3}(-server)?)?")


def is_driver(name: str, version: str) -> bool:
    """Return whether a package, by its bare name, is part of NVIDIA's driver."""
    if _UNVERSIONED.match(name) or PREBUILT.fullmatch(name) or _PINNING.fullmatch(name):
        return True
    return bool(_FAMILY.match(name) and branch_of(version))


def branch_of(version: str, name: str = "") -> str | None:
    """Return the branch of a package; None if neither name nor version tells it (``20220217+3``)."""
    match = PREBUILT.fullmatch(name) or _PINNING.fullmatch(name) or _VERSION.match(version)
    return match["branch"] if match else None


def upstream(version: str) -> str | None:
    """Return the driver version in a package's version (``535.261.03-1``: ``535.261.03``), or None."""
    match = _VERSION.match(version)
    return match["whole"] if match else None
