# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Which packages are the driver that was asked for, and what is refused in which words."""

from __future__ import annotations

import re

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.driver import packages as driver_packages
from ansible_collections.tfserving.fleet.plugins.plugin_utils.driver import table as driver_table
from hypothesis import given
from hypothesis import strategies as st

BOOKWORM = ("Debian", "12.5", "6.1.0-40-amd64")
TRIXIE = ("Debian", "13", "6.12.48+deb13-cloud-amd64")
JAMMY = ("Ubuntu", "22.04", "5.15.0-160-generic")
NOBLE = ("Ubuntu", "24.04", "6.8.0-87-generic")

# PCI device ids of one GPU of each generation.
P40, V100, T4, A100, L4, H200, GH200, B200 = (
    "0x1b38",
    "0x1db6",
    "0x1eb8",
    "0x20b2",
    "0x27b8",
    "0x2335",
    "0x2342",
    "0x2901",
)
K80, NEXT_YEARS = "0x102d", "0x3700"


def resolve(system, *device_ids, architecture="x86_64", **wish):
    distribution, release, kernel = system
    host = {"distribution": distribution, "release": release, "architecture": architecture, "kernel": kernel}
    return driver_packages.resolve(wish, host, [{"device_id": device_id} for device_id in device_ids])


def refusal(system, *device_ids, **wish):
    with pytest.raises(WishError) as caught:
        resolve(system, *device_ids, **wish)
    return str(caught.value)


NVIDIA = {"repository": "nvidia"}
DEBIANS_OWN = ["libcuda1", "libnvidia-cfg1", "libnvidia-ml1", "nvidia-smi", "nvidia-persistenced"]
TESLA_470 = ["libnvidia-tesla-470-cuda1", "libnvidia-tesla-470-cfg1", "libnvidia-tesla-470-ml1", "nvidia-tesla-470-smi"]
TESLA_535 = ["libnvidia-tesla-535-cuda1", "libnvidia-tesla-535-cfg1", "libnvidia-tesla-535-ml1", "nvidia-tesla-535-smi"]

TABLE = [
    # The distributions' own archives.
    (BOOKWORM, [T4], {}, "535", ["nvidia-kernel-dkms", *DEBIANS_OWN]),
    (BOOKWORM, [T4], {"flavour": "open"}, "535", ["nvidia-open-kernel-dkms", *DEBIANS_OWN]),
    (BOOKWORM, [K80], {}, "470", ["nvidia-tesla-470-kernel-dkms", *TESLA_470, "nvidia-persistenced"]),
    (BOOKWORM, [T4], {"branch": "470"}, "470", ["nvidia-tesla-470-kernel-dkms", *TESLA_470, "nvidia-persistenced"]),
    (TRIXIE, [H200], {}, "550", ["nvidia-kernel-dkms", *DEBIANS_OWN]),
    (TRIXIE, [GH200], {}, "550", ["nvidia-open-kernel-dkms", *DEBIANS_OWN]),
    (TRIXIE, [T4], {"branch": 535}, "535", ["nvidia-tesla-535-kernel-dkms", *TESLA_535, "nvidia-persistenced"]),
    (
        NOBLE,
        [H200],
        {},
        "580",
        [
            "nvidia-dkms-580-server-open",
            "nvidia-headless-580-server-open",
            "nvidia-utils-580-server",
            "nvidia-compute-utils-580-server",
        ],
    ),
    (
        JAMMY,
        [V100],
        {"branch": "535"},
        "535",
        [
            "nvidia-dkms-535-server",
            "nvidia-headless-535-server",
            "nvidia-utils-535-server",
            "nvidia-compute-utils-535-server",
        ],
    ),
    (
        NOBLE,
        [A100],
        {"modules": "prebuilt"},
        "580",
        [
            "linux-modules-nvidia-580-server-open-generic",
            "nvidia-headless-no-dkms-580-server-open",
            "nvidia-utils-580-server",
            "nvidia-compute-utils-580-server",
        ],
    ),
    (
        NOBLE,
        [L4],
        {"variant": "desktop", "branch": "590"},
        "590",
        ["nvidia-dkms-590-open", "nvidia-driver-590-open", "nvidia-utils-590", "nvidia-compute-utils-590"],
    ),
    # NVIDIA's repository, before and after the names lost their branch.
    (BOOKWORM, [B200], NVIDIA, "580", ["nvidia-kernel-open-dkms", "nvidia-driver-cuda", "nvidia-persistenced"]),
    (BOOKWORM, [P40], NVIDIA, "580", ["nvidia-kernel-dkms", "nvidia-driver-cuda", "nvidia-persistenced"]),
    (
        TRIXIE,
        [T4],
        {**NVIDIA, "branch": "590", "variant": "desktop"},
        "590",
        ["nvidia-kernel-open-dkms", "nvidia-driver-cuda", "nvidia-persistenced", "nvidia-driver"],
    ),
    (
        NOBLE,
        [A100],
        NVIDIA,
        "580",
        ["nvidia-dkms-580-open", "libnvidia-compute-580", "nvidia-utils-580", "nvidia-compute-utils-580"],
    ),
    (
        NOBLE,
        [A100],
        {**NVIDIA, "branch": "590"},
        "590",
        ["nvidia-dkms-open", "libnvidia-compute", "nvidia-persistenced"],
    ),
    (
        JAMMY,
        [A100],
        {**NVIDIA, "branch": "595", "flavour": "proprietary"},
        "595",
        ["nvidia-dkms", "libnvidia-compute", "nvidia-persistenced"],
    ),
]


@pytest.mark.parametrize(("system", "gpus", "wish", "branch", "packages"), TABLE)
def test_a_wish_becomes_these_packages(system, gpus, wish, branch, packages):
    resolved = resolve(system, *gpus, **wish)
    assert (resolved["branch"], resolved["packages"]) == (branch, packages)


@pytest.mark.parametrize(
    ("branch", "wish", "pinning"),
    [
        ("550", {}, []),
        ("570", {}, ["nvidia-driver-pinning-570"]),
        ("590", {}, ["nvidia-driver-pinning-590"]),
        ("590", {"version": "590.48.01"}, ["nvidia-driver-pinning-590.48.01"]),
    ],
)
def test_nvidias_pinning_package_comes_first(branch, wish, pinning):
    assert resolve(NOBLE, T4, **NVIDIA, branch=branch, **wish)["pinning"] == pinning


def test_the_distributions_archive_needs_no_pinning_package():
    assert resolve(NOBLE, T4, branch="590")["pinning"] == []


@pytest.mark.parametrize(
    ("gpus", "wish", "flavour", "reason"),
    [
        ([T4], {"branch": 550}, "proprietary", "NVIDIA's default before branch 560"),
        ([T4], {"branch": 580}, "open", "NVIDIA's default since branch 560 for GPUs from Turing on"),
        ([V100], {"branch": 580}, "proprietary", "Volta is older than Turing, where the open kernel modules begin"),
        ([V100, T4], {"branch": 580}, "proprietary", "Volta is older than Turing, where the open kernel modules begin"),
        ([T4, B200], {"branch": 580}, "open", "Blackwell has open kernel modules only"),
        ([GH200], {"branch": 550}, "open", "Grace Hopper has open kernel modules only"),
        ([NEXT_YEARS], {"branch": 595}, "open", "a generation newer than this collection has open kernel modules only"),
        ([T4], {"branch": 580, "flavour": "proprietary"}, "proprietary", "as wished"),
    ],
)
def test_the_flavour_follows_the_gpus(gpus, wish, flavour, reason):
    resolved = resolve(BOOKWORM, *gpus, **NVIDIA, **wish)
    assert (resolved["flavour"], resolved["flavour_reason"]) == (flavour, reason)


@pytest.mark.parametrize(
    ("system", "headers"),
    [
        (BOOKWORM, ["linux-headers-6.1.0-40-amd64", "linux-headers-amd64"]),
        (TRIXIE, ["linux-headers-6.12.48+deb13-cloud-amd64", "linux-headers-cloud-amd64"]),
        (NOBLE, ["linux-headers-6.8.0-87-generic", "linux-headers-generic"]),
        (("Debian", "12", "6.1.21"), ["linux-headers-6.1.21"]),
    ],
)
def test_headers_are_those_of_the_kernel_and_of_its_successors(system, headers):
    assert resolve(system, T4)["headers"] == headers


def test_prebuilt_modules_need_no_headers():
    assert resolve(NOBLE, T4, modules="prebuilt")["headers"] == []


def test_without_modules_only_libraries_and_tools_are_installed():
    resolved = resolve(BOOKWORM, T4, modules="none")
    assert (resolved["packages"], resolved["module_package"], resolved["headers"]) == (DEBIANS_OWN, "", [])


@pytest.mark.parametrize(
    ("system", "wish", "packages"),
    [
        (NOBLE, {"branch": 580}, ["nvidia-fabricmanager-580"]),
        (NOBLE, {**NVIDIA, "branch": 570}, ["nvidia-fabricmanager-570"]),
        (NOBLE, {**NVIDIA, "branch": 580}, ["nvidia-fabricmanager"]),
        (BOOKWORM, {**NVIDIA, "branch": 590}, ["nvidia-fabricmanager"]),
    ],
)
def test_the_fabric_manager_is_of_the_drivers_own_series(system, wish, packages):
    assert resolve(system, A100, fabric_manager=True, **wish)["fabric_manager"] == packages
    assert resolve(system, A100, **wish)["fabric_manager"] == []


def test_pins_let_apt_install_the_wanted_version_and_no_other():
    wanted, never = resolve(BOOKWORM, T4, version="535.261.03")["pins"]
    assert (wanted["version"], wanted["priority"]) == ("535.261.03-*", 1001)
    assert (never["version"], never["priority"]) == ("*", -1)
    assert "nvidia-persistenced" not in wanted["packages"], "has version numbers of its own"


@pytest.mark.parametrize(
    ("name", "left_alone"),
    [
        ("libnvidia-compute-580-server", True),
        ("nvidia-dkms-580-server-open", True),
        ("libcuda1", True),
        ("linux-modules-nvidia-580-server-open-generic-hwe-22.04", True),
        ("nvidia-container-toolkit", False),
        ("libnvidia-container1", False),
        ("nvidia-docker2", False),
        ("nvidia-gds-12-4", False),
        ("nvidia-system-core", False),
        ("linux-modules-6.8.0-87-generic", False),
    ],
)
def test_unattended_upgrades_leaves_the_driver_alone_and_nothing_else(name, left_alone):
    # By re.match, as unattended-upgrades itself does.
    patterns = resolve(NOBLE, T4)["unattended"]
    assert any(re.match(pattern, name) for pattern in patterns) == left_alone


def test_a_version_alone_decides_the_branch():
    resolved = resolve(NOBLE, T4, **NVIDIA, version="570.133.20")
    assert (resolved["branch"], resolved["version_prefix"]) == ("570", "570.133.20")


def test_debians_archive_is_named_with_the_components_that_hold_the_driver():
    assert resolve(BOOKWORM, T4)["repository"] == {
        "kind": "distribution",
        "suites": ["bookworm", "bookworm-updates"],
        "components": ["contrib", "non-free", "non-free-firmware"],
        "architecture": "amd64",
    }


@pytest.mark.parametrize(
    ("system", "architecture", "path", "key"),
    [
        (BOOKWORM, "x86_64", "debian12/x86_64", "3bf863cc.pub"),
        (TRIXIE, "x86_64", "debian13/x86_64", "8793F200.pub"),
        (NOBLE, "aarch64", "ubuntu2404/sbsa", "3bf863cc.pub"),
    ],
)
def test_nvidias_repository_has_a_path_and_a_key_for_each_system(system, architecture, path, key):
    repository = resolve(system, T4, architecture=architecture, **NVIDIA)["repository"]
    assert (repository["path"], repository["key"]["file"]) == (path, key)
    assert len(repository["key"]["fingerprint"]) == 40


REFUSALS = [
    (
        ("RedHat", "9.4", "5.14.0"),
        [T4],
        {},
        "nvidia_driver_state: RedHat 9.4 is not among the systems whose driver packages are known; use Debian 12"
        " and 13,"
        " Ubuntu 22.04 and 24.04, or install the driver yourself and leave this host out of nvidia_driver",
    ),
    (
        BOOKWORM,
        [T4],
        {"branch": "550"},
        "nvidia_driver_branch: Debian 12 has no driver 550 in its own archive; use 535 or 470, or set"
        " nvidia_driver_repository to nvidia",
    ),
    (
        BOOKWORM,
        [B200],
        {},
        "nvidia_driver_branch: 535 is too old for this host's GPUs (Blackwell needs 570 or newer); set it to 570 or"
        " newer;"
        " nvidia_driver_repository: nvidia has what the distribution lacks",
    ),
    (
        NOBLE,
        [V100],
        {**NVIDIA, "branch": 590},
        "nvidia_driver_branch: 590 no longer drives this host's GPUs (Volta ends at branch 580); set it to 580",
    ),
    (
        NOBLE,
        [V100],
        {"flavour": "open"},
        "nvidia_driver_flavour: is open, and Volta is older than Turing, where the open kernel modules begin; set it to"
        " proprietary or auto",
    ),
    (
        NOBLE,
        [B200],
        {"flavour": "proprietary"},
        "nvidia_driver_flavour: is proprietary, and Blackwell has open kernel modules only; set it to open or auto",
    ),
    (
        NOBLE,
        [P40, B200],
        {},
        "nvidia_driver_flavour: Pascal needs the proprietary modules and Blackwell the open ones, and a kernel"
        " loads one of"
        " them; name one kind in nvidia_driver_ignore, or take it out of the host",
    ),
    (
        BOOKWORM,
        [T4],
        {"branch": 470, "flavour": "open"},
        "nvidia_driver_flavour: is open, and branch 470 is older than 515, where the open kernel modules begin; set"
        " nvidia_driver_branch to a newer one, or this to proprietary",
    ),
    (
        TRIXIE,
        [T4],
        {"branch": 535, "flavour": "open"},
        "nvidia_driver_flavour: is open, and Debian 13 has branch 535 with proprietary modules only; set it to"
        " proprietary,"
        " or nvidia_driver_repository to nvidia",
    ),
    (
        BOOKWORM,
        [A100],
        {"fabric_manager": True},
        "nvidia_driver_fabric_manager: this host has NVSwitches, and Debian 12 has no fabric manager in its own"
        " archive; set"
        " nvidia_driver_repository to nvidia",
    ),
    (
        BOOKWORM,
        [T4],
        {"modules": "prebuilt"},
        "nvidia_driver_modules: is prebuilt, and only Ubuntu's own archive has modules that are built for each of its"
        " kernels; use dkms",
    ),
    (
        NOBLE,
        [T4],
        {"branch": 570, "version": "580.95.05"},
        "nvidia_driver_version: 580.95.05 is not of branch 570; set nvidia_driver_branch to 580, or leave one of"
        " the two out",
    ),
    (
        NOBLE,
        [T4],
        {"branch": "latest"},
        "nvidia_driver_branch: is the string 'latest'; give the number before the first point of the version, or auto",
    ),
    # Each of these ended in a traceback, or was taken for the number that it resembles.
    *(
        (
            NOBLE,
            [T4],
            {"branch": branch},
            f"nvidia_driver_branch: is {shown}; give the number before the first point of the version, or auto",
        )
        for branch, shown in (
            ("9" * 5000, "a string"),
            ("0570", "the string '0570'"),
            ("\u0665\u0667\u0660", "a string"),
        )
    ),
    *(
        (
            NOBLE,
            [T4],
            {"version": version},
            f"nvidia_driver_version: is {shown}; write it in quotes, as in 580.95.05, or leave it empty",
        )
        for version, shown in (
            ("abc", "the string 'abc'"),
            ("x.1", "the string 'x.1'"),
            (580.95, "the fraction 580.95"),
        )
    ),
    (NOBLE, [T4], {"flavour": "opne"}, "nvidia_driver_flavour: is the string 'opne'; did you mean 'open'?"),
    (
        NOBLE,
        [T4],
        {"repository": "canonical"},
        "nvidia_driver_repository: is the string 'canonical'; choose one of distribution, nvidia",
    ),
    (NOBLE, [T4], {"flavor": "open"}, "nvidia_driver_flavor: is not part of a driver wish; did you mean 'flavour'?"),
    (
        NOBLE,
        ["0x0191"],
        {},
        "nvidia_driver_branch: the PCI device 10de:0191 is of a generation that no supported branch drives; take"
        " the GPU"
        " out, or leave this host out of nvidia_driver",
    ),
]


@pytest.mark.parametrize(("system", "gpus", "wish", "sentence"), REFUSALS)
def test_what_cannot_be_is_refused_in_one_sentence(system, gpus, wish, sentence):
    assert refusal(system, *gpus, **wish) == sentence


GT_710, GT_610 = "0x128b", "0x104a"


def left_alone(system, *device_ids, **wish):
    distribution, release, kernel = system
    host = {"distribution": distribution, "release": release, "architecture": "x86_64", "kernel": kernel}
    gpus = [{"pci_address": f"0000:{0x10 + n:02x}:00.0", "device_id": each} for n, each in enumerate(device_ids)]
    resolved = driver_packages.resolve(wish, host, gpus)
    assert all(each["pci_address"] in each["why"] for each in resolved["left_alone"])
    return resolved["branch"], resolved["generations"], [each["why"] for each in resolved["left_alone"]]


@pytest.mark.parametrize(
    ("system", "gpus", "wish", "branch", "alone"),
    [
        (BOOKWORM, [GT_710, H200, H200], {}, "535", ["GPU 0000:10:00.0 (Kepler)"]),
        # Two cards for the console are still no reason to leave out the one for serving.
        (BOOKWORM, [H200, GT_710, GT_710], {}, "535", ["GPU 0000:11:00.0 (Kepler)", "GPU 0000:12:00.0 (Kepler)"]),
        (TRIXIE, [GT_710, H200], {}, "550", ["GPU 0000:10:00.0 (Kepler)"]),
        (NOBLE, [GT_710, H200], {}, "580", ["GPU 0000:10:00.0 (Kepler)"]),
        (NOBLE, [GT_710, B200], NVIDIA, "580", ["GPU 0000:10:00.0 (Kepler)"]),
        (NOBLE, [P40, H200], {**NVIDIA, "branch": 590}, "590", ["GPU 0000:10:00.0 (Pascal)"]),
        (
            NOBLE, ["0x0191", H200], {}, "580",
            ["GPU 0000:10:00.0 (of a generation that no supported branch drives)"],
        ),
        (BOOKWORM, [GT_710], {}, "470", []),
        (BOOKWORM, [GT_710, T4], {}, "470", []),
        (BOOKWORM, [GT_710, T4], {"branch": 535}, "535", ["GPU 0000:10:00.0 (Kepler)"]),
        (BOOKWORM, [GT_710, T4], {"branch": 470}, "470", []),
        (NOBLE, [P40, H200], {}, "580", []),
    ],
)  # fmt: skip
def test_what_the_branch_no_longer_drives_is_named_and_left_alone(system, gpus, wish, branch, alone):
    found, generations, told = left_alone(system, *gpus, **wish)
    assert found == branch
    sentence = "is left alone: driver {} does not drive it, and nothing is served on it"
    assert told == [f"{name} {sentence.format(branch)}" for name in alone]
    assert generations


def test_a_gpu_that_needs_a_newer_branch_is_never_left_alone():
    sentence = "nvidia_driver_branch: 470 is too old for this host's GPUs (Hopper needs 525 or newer); set it to 525"
    assert refusal(BOOKWORM, GT_710, H200, branch=470).startswith(sentence)
    assert "(Blackwell needs 570 or newer)" in refusal(BOOKWORM, T4, B200)


def test_a_card_without_a_future_is_no_reason_for_its_flavour():
    assert resolve(NOBLE, GT_710, B200, **NVIDIA)["flavour"] == "open"


def test_a_machine_without_driver_packages_is_refused():
    assert refusal(NOBLE, T4, architecture="riscv64") == (
        "nvidia_driver_state: this host is riscv64, for which no driver packages are known; use a host that is"
        " x86_64 or"
        " aarch64"
    )


@given(
    system=st.sampled_from([BOOKWORM, TRIXIE, JAMMY, NOBLE]),
    gpus=st.lists(st.sampled_from([K80, P40, V100, T4, A100, L4, H200, GH200, B200]), max_size=8),
    repository=st.sampled_from(["distribution", "nvidia"]),
    branch=st.sampled_from(["auto", 470, 535, 550, 570, 580, 590, 610]),
    flavour=st.sampled_from(["auto", "open", "proprietary"]),
)
def test_a_driver_is_refused_or_drives_the_gpus_that_it_does_not_leave_alone(system, gpus, repository, branch, flavour):
    try:
        resolved = resolve(system, *gpus, repository=repository, branch=branch, flavour=flavour)
    except WishError as refused:
        resolved = None
        told = refused.path, refused.remedy
    if resolved is None:
        assert all(told)
        return
    branch = int(resolved["branch"])
    generations = driver_table.architectures([{"device_id": gpu} for gpu in gpus])
    driven = [each for each in generations if branch <= (each.last or 10_000)]
    assert driven or not gpus
    assert len(resolved["left_alone"]) == len([gpu for gpu in gpus if gpu == K80 and branch > 470]) + len(
        [gpu for gpu in gpus if gpu in (P40, V100) and branch > 580]
    )
    for generation in driven:
        assert generation.first <= branch
        assert generation.open != {"open": "never", "proprietary": "always"}[resolved["flavour"]]
    # One package of modules, and it is the chosen flavour's.
    assert [package for package in resolved["packages"] if package in resolved["module_packages"]] == [
        resolved["module_package"]
    ]
    assert ("open" in resolved["module_package"]) == (resolved["flavour"] == "open")
