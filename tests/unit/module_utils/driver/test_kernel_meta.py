# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Which meta package follows a kernel: what is installed tells, and a guess where nothing does."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.driver import kernel_meta
from ansible_collections.tfserving.fleet.plugins.plugin_utils.driver import packages as driver_packages

GA = ("linux-image-generic", "installed", "linux-image-5.15.0-160-generic, linux-modules-extra-5.15.0-160-generic")
HWE = ("linux-image-generic-hwe-22.04", "installed", "linux-image-6.8.0-87-generic, linux-firmware, intel-microcode")
EDGE = ("linux-image-generic-hwe-24.04-edge", "installed", "linux-image-6.17.0-5-generic | linux-image-unsigned, x")
VIRTUAL = ("linux-image-virtual", "installed", "linux-image-6.8.0-87-generic")
GCP = ("linux-image-gcp", "installed", "linux-image-6.14.0-1015-gcp, linux-modules-extra-6.14.0-1015-gcp")
GCP_LTS = ("linux-image-gcp-lts-24.04", "installed", "linux-image-6.8.0-1066-gcp (= 6.8.0-1066.71)")
OEM = ("linux-image-oem-22.04d", "installed", "linux-image-6.5.0-1025-oem")
GONE = ("linux-image-generic-hwe-22.04", "config-files", "linux-image-6.8.0-87-generic")
DEBIAN = ("linux-image-cloud-amd64", "installed", "linux-image-6.1.0-40-cloud-amd64 (= 6.1.153-1)")
ITSELF = ("linux-image-6.8.0-87-generic", "installed", "kmod, linux-base (>= 4.5ubuntu1~16.04.1)")
SERIES = ("linux-image-gcp-6.8", "installed", "linux-image-6.8.0-1074-gcp")
CORE = ("linux-image-uc-generic-hwe-22.04", "installed", "linux-image-uc-6.8.0-87-generic")
TOP = ("linux-headers-generic", "installed", "linux-headers-5.15.0-160-generic")


def follows(release, *rows):
    def run(arguments):
        prefix = arguments[-1].rstrip("*")
        return 0, "".join("\t".join(row) + "\n" for row in rows if row[0].startswith(prefix)), ""

    return kernel_meta.follows(release, kernel_meta.installed(run))


@pytest.mark.parametrize(
    ("release", "rows", "suffix"),
    [
        ("6.8.0-87-generic", [GA, HWE, ITSELF], "generic-hwe-22.04"),
        ("5.15.0-160-generic", [GA, HWE, TOP], "generic"),
        # The meta package is a kernel ahead until the host boots, within its series or with the next one.
        ("6.8.0-80-generic", [GA, HWE], "generic-hwe-22.04"),
        ("6.5.0-44-generic", [GA, HWE], "generic-hwe-22.04"),
        ("6.17.0-5-generic", [EDGE], "generic-hwe-24.04-edge"),
        ("6.8.0-87-generic", [VIRTUAL], "virtual"),
        ("6.14.0-1015-gcp", [GCP, GCP_LTS], "gcp"),
        ("6.8.0-1066-gcp", [GCP, GCP_LTS], "gcp-lts-24.04"),
        ("6.5.0-1025-oem", [OEM], "oem-22.04d"),
        ("6.1.0-40-cloud-amd64", [DEBIAN], "cloud-amd64"),
        ("5.15.0-160-generic", [TOP], "generic"),
        ("6.8.0-1066-gcp", [GCP, SERIES], "gcp-6.8"),
        ("6.8.0-87-generic", [CORE, HWE], "generic-hwe-22.04"),
        # None of this kernel's: removed, or of another flavour.
        ("6.8.0-87-generic", [GONE, GCP], ""),
        ("6.8.0-87-lowlatency", [HWE], ""),
        ("6.1.21", [DEBIAN], ""),
        ("6.8.0-87-generic", [], ""),
    ],
)
def test_what_is_installed_tells_which_meta_package_follows(release, rows, suffix):
    assert follows(release, *rows) == suffix


def resolved(release, kernel, **more):
    host = {"distribution": "Ubuntu", "release": release, "architecture": "x86_64", "kernel": kernel, **more}
    return driver_packages.resolve({"modules": "prebuilt"}, host, [{"device_id": "0x20b2"}])


@pytest.mark.parametrize(
    ("release", "kernel", "meta"),
    [
        ("22.04", "5.15.0-160-generic", "generic"),
        ("22.04", "6.8.0-87-generic", "generic-hwe-22.04"),
        ("22.04", "6.8.0-87-lowlatency", "lowlatency-hwe-22.04"),
        ("24.04", "6.8.0-87-generic", "generic"),
        ("24.04", "6.14.0-33-generic", "generic-hwe-24.04"),
        ("24.04", "6.14.0-33-generic-64k", "generic-64k-hwe-24.04"),
        ("22.04", "6.8.0-1030-azure", "azure"),
        ("24.04", "6.8.0-1066-gcp", "gcp"),
        ("24.04", "6.14.0-1010-aws", "aws"),
    ],
)
def test_without_a_meta_package_the_kernels_age_tells_the_stack(release, kernel, meta):
    names = resolved(release, kernel)
    assert names["packages"][0] == f"linux-modules-nvidia-580-server-open-{meta}"
    assert names["module_package"] == names["packages"][0]
    assert names["kernel_modules"] == [f"linux-modules-nvidia-580-server-open-{kernel}"]
    assert names["kernel_packages"][-2:] == [f"linux-image-{meta}", f"linux-headers-{meta}"]


def test_what_is_installed_comes_before_the_guess():
    names = resolved("22.04", "5.15.0-1090-gcp", kernel_meta="gcp-lts-22.04")
    assert names["module_package"] == "linux-modules-nvidia-580-server-open-gcp-lts-22.04"


def test_a_virtual_machines_meta_package_takes_the_generic_modules():
    names = resolved("22.04", "6.8.0-87-generic", kernel_meta="virtual-hwe-22.04")
    assert names["module_package"] == "linux-modules-nvidia-580-server-open-generic-hwe-22.04"
    assert names["kernel_packages"][-1] == "linux-headers-virtual-hwe-22.04"


@pytest.mark.parametrize("kernel", ["6.5.0-1025-oem", "6.8.12"])
def test_where_nothing_follows_the_kernel_its_own_modules_are_taken(kernel):
    names = resolved("22.04", kernel)
    assert names["module_package"] == f"linux-modules-nvidia-580-server-open-{kernel}"
    assert names["kernel_modules"] == []


def test_headers_follow_the_kernels_stack_too():
    host = {"distribution": "Ubuntu", "release": "22.04", "architecture": "x86_64", "kernel": "6.8.0-87-generic"}
    names = driver_packages.resolve({}, host, [{"device_id": "0x20b2"}])
    assert names["headers"] == ["linux-headers-6.8.0-87-generic", "linux-headers-generic-hwe-22.04"]


def test_prebuilt_modules_are_not_pinned_to_a_version_that_is_their_kernels():
    pinned = [name for pin in resolved("24.04", "6.8.0-87-generic")["pins"] for name in pin["packages"]]
    assert [name for name in pinned if name.startswith("linux-modules")] == []
    assert "nvidia-headless-no-dkms-580-server-open" in pinned
