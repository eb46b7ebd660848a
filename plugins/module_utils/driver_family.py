# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Which packages NVIDIA's driver is made of, told by their names and versions: pure functions."""

from __future__ import annotations

import re

# Everything that NVIDIA's driver is made of, in Debian's, Canonical's and NVIDIA's packaging.
FAMILY = re.compile(
    r"(lib)?nvidia-|libcuda1$|libnv(cuvid|optix)1$|lib(egl|gl1|glx|gles)-nvidia|firmware-nvidia|"
    r"xserver-xorg-video-nvidia|cuda-drivers|glx-(alternative|diversions)|update-glx|linux-modules-nvidia-|linux-objects-nvidia-"
)
# ... and what looks like it and is none: container tools, CUDA libraries, settings with version numbers of their own.
NOT_FAMILY = re.compile(r"(lib)?nvidia-(container|cuda|cudnn|ml-dev|opencl-dev|profiler|visual|egl-|vaapi|texture|mig)")

# Packages that bear a version of their own, or none of a driver: never pinned, never taken for another branch's.
FLOATING = (
    "nvidia-modprobe",
    "nvidia-persistenced",
    "nvidia-settings",
    "nvidia-support",
    "nvidia-kernel-common",
    "nvidia-installer-cleanup",
    "nvidia-xconfig",
)


def is_driver(name: str) -> bool:
    return bool(FAMILY.match(name)) and not NOT_FAMILY.match(name)


def branch_of(version: str) -> str | None:
    """Return the branch of a package's version; None where it has no driver's version (``20220217+3``)."""
    match = re.match(r"(?:\d+:)?(\d{3})\.\d+", version)
    return match[1] if match else None
