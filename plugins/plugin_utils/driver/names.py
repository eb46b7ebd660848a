# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""How each archive names the packages of a driver. Sources are in tables/drivers.yml."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from ansible_collections.tfserving.fleet.plugins.module_utils.driver import kernel_meta
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError

from . import table as driver_table
from .request import Request

# Patterns, as apt's preferences take them, of all packages that a driver is made of.
PARTS = ("*nvidia*", "libcuda1", "libnvcuvid1", "libnvoptix1")

# What unattended-upgrades leaves alone: a library that is newer than the loaded module refuses to work with it. What
# has NVIDIA's name and is no part of a driver gets its security updates.
UNATTENDED = [
    "^nvidia-(?!container|docker|gds|fs|nsight|cuda-toolkit|mig|prime|repo|system|l4t)",
    "^libnvidia-(?!container|egl-(wayland|gbm)|ml-dev)",
    "^libcuda1$",
    "^firmware-nvidia-",
    "^cuda-drivers",
    "^xserver-xorg-video-nvidia",
    "^linux-(modules|objects|signatures)-nvidia-",
]
# A kernel that is newer than the modules boots without them.
UNATTENDED_KERNEL = ["^linux-image-", "^linux-headers-", "^linux-modules-", "^linux-generic"]


@dataclass
class Names:
    """The names of one driver's packages."""

    packages: list[str]
    """To be installed together."""
    module_package: str
    """The one that brings the kernel modules, empty without any."""
    own: str
    """Regular expression that every package of this packaging matches, and none of a differently named one."""
    module_packages: list[str] = field(default_factory=list)
    """All that bring kernel modules of this packaging: side by side they would fight for one place."""
    pinning: list[str] = field(default_factory=list)
    """To be installed before all others."""
    fabric_manager: list[str] = field(default_factory=list)
    headers: list[str] = field(default_factory=list)
    kernel_packages: list[str] = field(default_factory=list)
    """The kernel's own packages, held where the kernel is to stay as well."""
    kernel_modules: list[str] = field(default_factory=list)
    """Modules that were built elsewhere for this very kernel, beside the package that follows its successors."""
    module_series: str = ""
    """Which of Canonical's series of prebuilt modules it is (``580-server-open``), empty for none."""


def name(request: Request) -> Names:
    """Return the names for a checked request. Raises WishError where the archive has no such packages."""
    makers = {
        ("Debian", "distribution"): _debian,
        ("Ubuntu", "distribution"): _ubuntu,
        ("Debian", "nvidia"): _nvidia_debian,
        ("Ubuntu", "nvidia"): _nvidia_ubuntu,
    }
    names = makers[request.distribution, request.repository](request)
    names.headers = _headers(request)
    names.kernel_packages = _kernel_packages(request)
    if request.modules == "none":
        names.packages = [package for package in names.packages if package not in names.module_packages]
        names.module_package = ""
    return names


def _headers(request: Request) -> list[str]:
    """Return the running kernel's headers, and the meta package that brings those of the next one."""
    exact = f"linux-headers-{request.kernel}"
    return [exact, meta] if (meta := _meta(request, "headers")) else [exact]


def _kernel_packages(request: Request) -> list[str]:
    metas = [meta for meta in (_meta(request, "image"), _meta(request, "headers")) if meta]
    return [f"linux-image-{request.kernel}", f"linux-headers-{request.kernel}", *metas]


def _meta(request: Request, part: str) -> str:
    """Return the package that follows the kernel (``6.1.0-40-cloud-amd64``: ``linux-image-cloud-amd64``)."""
    follows = request.kernel_meta or _guessed_meta(request)
    return f"linux-{part}-{follows}" if follows else ""


def _guessed_meta(request: Request) -> str:
    """Return what most likely follows a kernel without an installed meta package: its flavour, and Ubuntu's HWE stack.

    Clouds' kernels move on under the plain name; OEM kernels have a letter that only the installed package knows.
    """
    flavour = kernel_meta.flavour(request.kernel)
    first = kernel_meta.base(str(request.system.get("kernel", "")))
    newer = bool(first) and kernel_meta.base(request.kernel)[: len(first)] > first
    if newer and re.fullmatch(r"(generic|lowlatency|nvidia)(-64k)?", flavour):
        return f"{flavour}-hwe-{request.system['called'].split()[1]}"
    return "" if flavour == "oem" else flavour


def _debian(request: Request) -> Names:
    row = request.system["archive"][request.branch]
    prefix = f"{row['prefix']}-" if row["prefix"] else ""
    if request.open and not row["open"]:
        raise WishError(
            "nvidia_driver_flavour",
            f"is open, and {request.system['called']} has branch {request.branch} with proprietary modules only",
            "set it to proprietary, or nvidia_driver_repository to nvidia",
        )
    if request.fabric_manager:
        raise WishError(
            "nvidia_driver_fabric_manager",
            f"this host has NVSwitches, and {request.system['called']} has no fabric manager in its own archive",
            "set nvidia_driver_repository to nvidia",
        )
    modules = [f"nvidia-{prefix}kernel-dkms", *(["nvidia-open-kernel-dkms"] if row["open"] else [])]
    module = modules[1] if request.open else modules[0]
    cuda = f"libnvidia-{prefix}cuda1" if prefix else "libcuda1"
    server = [
        module,
        cuda,
        f"libnvidia-{prefix}cfg1",
        f"libnvidia-{prefix}ml1",
        f"nvidia-{prefix}smi",
        "nvidia-persistenced",
    ]
    desktop = [f"nvidia-{prefix}driver", "nvidia-settings"] if request.variant == "desktop" else []
    own = f"-{row['prefix']}-" if prefix else r"^(?!.*-tesla(-\d+)?-)"
    return Names(packages=[*server, *desktop], module_package=module, module_packages=modules, own=own)


def _ubuntu(request: Request) -> Names:
    """Canonical's packages: the server series for servers, the branch in every name."""
    branch = f"{request.branch}-server" if request.variant == "server" else f"{request.branch}"
    flavoured = f"{branch}-open" if request.open else branch
    modules = [f"nvidia-dkms-{branch}", f"nvidia-dkms-{branch}-open"]
    module, headless, exact = f"nvidia-dkms-{flavoured}", f"nvidia-headless-{flavoured}", ""
    if request.modules == "prebuilt":
        # A virtual machine's meta package installs less beside the generic kernel, whose modules are the same.
        kernel = re.sub(r"^virtual\b", "generic", _meta(request, "image").replace("linux-image-", ""))
        exact = f"linux-modules-nvidia-{flavoured}-{request.kernel}"
        module = f"linux-modules-nvidia-{flavoured}-{kernel}" if kernel else exact
        headless = f"nvidia-headless-no-dkms-{flavoured}"
        modules = [*modules, module]
    if request.modules == "none":
        headless = f"libnvidia-compute-{branch}"
    base = f"nvidia-driver-{flavoured}" if request.variant == "desktop" and request.modules != "none" else headless
    return Names(
        packages=[module, base, f"nvidia-utils-{branch}", f"nvidia-compute-utils-{branch}"],
        module_package=module,
        module_packages=modules,
        own=rf"-{request.branch}(-|$)",
        fabric_manager=[f"nvidia-fabricmanager-{request.branch}"] if request.fabric_manager else [],
        kernel_modules=[exact] if exact and exact != module else [],
        module_series=flavoured if exact else "",
    )


def _nvidia_debian(request: Request) -> Names:
    modules = ["nvidia-kernel-dkms", "nvidia-kernel-open-dkms"]
    module = modules[1 if request.open else 0]
    desktop = ["nvidia-driver"] if request.variant == "desktop" else []
    return Names(
        packages=[module, "nvidia-driver-cuda", "nvidia-persistenced", *desktop],
        module_package=module,
        module_packages=modules,
        own=r"^(?!.*-tesla(-\d+)?-)",
        pinning=_pinning(request),
        fabric_manager=_nvidia_fabric_manager(request),
    )


def _nvidia_ubuntu(request: Request) -> Names:
    if request.branch >= int(driver_table.setting("unsuffixed_from")):
        modules = ["nvidia-dkms", "nvidia-dkms-open"]
        module = modules[1 if request.open else 0]
        desktop = ["nvidia-driver-open" if request.open else "nvidia-driver"] if request.variant == "desktop" else []
        packages = [module, "libnvidia-compute", "nvidia-persistenced", *desktop]
        own = r"^(?!.*-\d{3}(-|$))"
    else:
        branch = request.branch
        modules = [f"nvidia-dkms-{branch}", f"nvidia-dkms-{branch}-open"]
        module = modules[1 if request.open else 0]
        flavoured = f"{branch}-open" if request.open else f"{branch}"
        desktop = [f"nvidia-driver-{flavoured}"] if request.variant == "desktop" else []
        tools = [f"nvidia-utils-{branch}", f"nvidia-compute-utils-{branch}"]
        packages = [module, f"libnvidia-compute-{branch}", *tools, *desktop]
        own = rf"-{branch}(-|$)"
    return Names(
        packages=packages,
        module_package=module,
        module_packages=modules,
        own=own,
        pinning=_pinning(request),
        fabric_manager=_nvidia_fabric_manager(request),
    )


def _pinning(request: Request) -> list[str]:
    """Return NVIDIA's pinning package. It must be there first: without it the newest branch would be installed."""
    if request.branch < int(driver_table.setting("pinning_from")):
        return []
    return [f"nvidia-driver-pinning-{request.version or request.branch}"]


def _nvidia_fabric_manager(request: Request) -> list[str]:
    if not request.fabric_manager:
        return []
    suffix = "" if request.branch >= int(driver_table.setting("fabric_unsuffixed_from")) else f"-{request.branch}"
    return [f"nvidia-fabricmanager{suffix}"]
