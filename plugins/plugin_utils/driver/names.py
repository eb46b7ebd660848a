# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Names of the driver packages in each archive. tables/drivers.yml lists the sources."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from ansible_collections.tfserving.fleet.plugins.module_utils.driver import kernel_meta
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError

from . import table as driver_table
from .request import Request

# All packages that a driver consists of, as patterns for apt's preferences.
PARTS = ("*nvidia*", "libcuda1", "libnvcuvid1", "libnvoptix1")

# Packages that unattended-upgrades must leave alone: a library newer than the loaded module refuses to work with it.
# NVIDIA's other packages still get their security updates.
UNATTENDED = [
    "^nvidia-(?!container|docker|gds|fs|nsight|cuda-toolkit|mig|prime|repo|system|l4t)",
    "^libnvidia-(?!container|egl-(wayland|gbm)|ml-dev)",
    "^libcuda1$",
    "^firmware-nvidia-",
    "^cuda-drivers",
    "^xserver-xorg-video-nvidia",
    "^linux-(modules|objects|signatures)-nvidia-",
]
# A kernel newer than the modules boots without them.
UNATTENDED_KERNEL = ["^linux-image-", "^linux-headers-", "^linux-modules-", "^linux-generic"]


@dataclass
class Names:
    """The package names of one driver."""

    packages: list[str]
    """Packages to install together."""
    module_package: str
    """The package with the kernel modules, empty if there is none."""
    own: str
    """A regular expression that matches every package of this packaging and none of another."""
    module_packages: list[str] = field(default_factory=list)
    """All packages of this packaging with kernel modules; they exclude each other."""
    pinning: list[str] = field(default_factory=list)
    """Packages to install before all others."""
    fabric_manager: list[str] = field(default_factory=list)
    headers: list[str] = field(default_factory=list)
    kernel_packages: list[str] = field(default_factory=list)
    """The kernel's own packages, held if the kernel is to be held as well."""
    kernel_modules: list[str] = field(default_factory=list)
    """Prebuilt modules for this exact kernel, in addition to the package that follows its successors."""
    module_series: str = ""
    """Canonical's series of prebuilt modules (``580-server-open``), empty for none."""


def name(request: Request) -> Names:
    """Return the names for a checked request; raise WishError if the archive has no such packages."""
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
    """Return the running kernel's headers, and the metapackage for the headers of the next kernel."""
    exact = f"linux-headers-{request.kernel}"
    return [exact, meta] if (meta := _meta(request, "headers")) else [exact]


def _kernel_packages(request: Request) -> list[str]:
    metas = [meta for meta in (_meta(request, "image"), _meta(request, "headers")) if meta]
    return [f"linux-image-{request.kernel}", f"linux-headers-{request.kernel}", *metas]


def _meta(request: Request, part: str) -> str:
    """Return the metapackage that follows the kernel (``6.1.0-40-cloud-amd64``: ``linux-image-cloud-amd64``)."""
    follows = request.kernel_meta or _guessed_meta(request)
    return f"linux-{part}-{follows}" if follows else ""


def _guessed_meta(request: Request) -> str:
    """Return the most likely suffix of the metapackage, from the kernel's flavour and Ubuntu's HWE stack.

    Cloud kernels keep the plain name from one version to the next; OEM kernels have a letter that only an installed
    package tells.
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
    """Return the names of Canonical's packages: the server series for servers, the branch in every name."""
    branch = f"{request.branch}-server" if request.variant == "server" else f"{request.branch}"
    flavoured = f"{branch}-open" if request.open else branch
    modules = [f"nvidia-dkms-{branch}", f"nvidia-dkms-{branch}-open"]
    module, headless, exact = f"nvidia-dkms-{flavoured}", f"nvidia-headless-{flavoured}", ""
    if request.modules == "prebuilt":
        # The metapackage for virtual machines installs the generic kernel, with the same modules, and less around it.
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
    """Return NVIDIA's pinning package, to be installed first: without it apt would install the newest branch."""
    if request.branch < int(driver_table.setting("pinning_from")):
        return []
    return [f"nvidia-driver-pinning-{request.version or request.branch}"]


def _nvidia_fabric_manager(request: Request) -> list[str]:
    if not request.fabric_manager:
        return []
    suffix = "" if request.branch >= int(driver_table.setting("fabric_unsuffixed_from")) else f"-{request.branch}"
    return [f"nvidia-fabricmanager{suffix}"]
