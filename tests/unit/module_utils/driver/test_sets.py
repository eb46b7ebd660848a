# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Sets of packages as hosts really have them, and what would become of each: what goes, what comes, what is refused."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.driver import installed as driver_installed
from ansible_collections.tfserving.fleet.plugins.module_utils.driver import steps as driver_steps
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.driver import foreseen as driver_foreseen
from ansible_collections.tfserving.fleet.plugins.plugin_utils.driver import packages as driver_packages
from driver_hosts import HEADERS, state

T4 = [{"device_id": "0x1eb8"}]
NOBLE, JAMMY, BOOKWORM = ("Ubuntu", "24.04", "6.8.0-87-generic"), ("Ubuntu", "22.04", "5.15.0-160-generic"), None


def wish(system, **asked):
    distribution, release, kernel = system or ("Debian", "12", "6.1.0-40-amd64")
    host = {"distribution": distribution, "release": release, "architecture": "x86_64", "kernel": kernel}
    return driver_packages.resolve(asked, host, T4)


def read(*rows):
    """What dpkg-query would print of packages, each ``name version`` with an optional state, read back."""
    lines = []
    for row in rows:
        name, version, *status = row.split()
        want, flag, now = (status or ["install/ok/installed"])[0].split("/")
        lines.append("\t".join((name, version, want, flag, now)))

    def run(arguments):
        return (0, "amd64\n", "") if arguments[0] == "dpkg" else (0, "\n".join(lines) + "\n", "")

    return driver_installed.packages(run)


def host(*rows, kernel="6.8.0-87-generic", **parts):
    found = state(**{"dkms_sources": [], **parts})
    found["kernel"].update(running=kernel, wanted=kernel)
    found["packages"] = {**read(*rows), "headers": [f"linux-headers-{kernel}", "linux-headers-generic", *HEADERS]}
    return found


def versioned(names, version):
    return [f"{name} {version}" for name in names]


def whole(resolved):
    """The packages of a wish as they are once it has been granted."""
    version = {"535": "535.274.02-1", "580": "580.95.05-1"}[resolved["branch"]]
    names = [*resolved["packages"], *resolved["kernel_modules"]]
    return [f"{name} {'6.8.0-87.88+1' if name.startswith('linux-modules') else version}" for name in names]


SERVER_535 = wish(JAMMY, branch=535)
SERVER_580 = wish(NOBLE, branch=580, flavour="open")
PREBUILT_580 = wish(NOBLE, branch=580, flavour="open", modules="prebuilt")
OWN_535 = wish(BOOKWORM)
OF_NVIDIA_580 = ["nvidia-kernel-open-dkms", "nvidia-driver-cuda", "libcuda1", "libnvidia-ml1", "libnvsdm"]
BESIDE = [
    "nvidia-docker2 2.13.0-1",
    "nvidia-container-toolkit 1.17.8-1",
    "libnvidia-container1:amd64 1.17.8-1",
    "nvidia-gds-12-4 12.4.1-1",
    "nvidia-fs-dkms 2.19.7-1",
    "nvidia-system-core 24.09-1",
    "nvidia-repo-keys 22.04-1",
    "nvidia-nsight 12.4.131-1",
    "nvidia-cuda-toolkit 11.8.89~11.8.0-5",
    "nvidia-prime 0.8.17.1",
]

SETS = [
    (
        "495 and 510 mixed, with leftovers",
        wish(NOBLE, branch=580),
        [
            "libnvidia-compute-495:amd64 495.46-0ubuntu0.20.04.1",
            "nvidia-dkms-510 510.47.03-0ubuntu0.20.04.1",
            "nvidia-utils-495 495.46-0ubuntu0.20.04.1 deinstall/ok/config-files",
            "nvidia-container-toolkit 1.8.0-1",
        ],
        ["libnvidia-compute-495", "nvidia-dkms-510"],
    ),
    (
        "a desktop's 470 with its 32-bit libraries",
        SERVER_535,
        [
            "nvidia-driver-470 470.256.02-0ubuntu0.22.04.1",
            "libnvidia-compute-470:amd64 470.256.02-0ubuntu0.22.04.1",
            "libnvidia-compute-470:i386 470.256.02-0ubuntu0.22.04.1",
        ],
        ["libnvidia-compute-470", "libnvidia-compute-470:i386", "nvidia-driver-470"],
    ),
    (
        "transitional packages of old branches",
        SERVER_535,
        ["nvidia-driver-418 430.50-0ubuntu3", "nvidia-dkms-455 460.91.03-0ubuntu1", "libcuda1-384 418.226.00-0ubuntu1"],
        ["libcuda1-384", "nvidia-dkms-455", "nvidia-driver-418"],
    ),
    (
        "NVIDIA's 550 beside Canonical's 535",
        SERVER_535,
        [
            "cuda-drivers-550 550.90.07-1",
            "cuda-drivers 550.90.07-1",
            "libnvidia-compute-550 550.90.07-0ubuntu1 hold/ok/installed",
            "nvidia-fabricmanager-550 550.90.07-1",
            "libnvidia-compute-535-server 535.274.02-0ubuntu0.22.04.1",
        ],
        ["cuda-drivers", "cuda-drivers-550", "libnvidia-compute-550", "nvidia-fabricmanager-550"],
    ),
    (
        "a desktop's 535, of which apt's conflicts take what the server's replaces",
        SERVER_535,
        ["nvidia-driver-535 535.274.02-0ubuntu0.22.04.1", "libnvidia-gl-535:amd64 535.274.02-0ubuntu0.22.04.1"],
        [],
    ),
    (
        "Debian's 535 beside what is left of tesla-470",
        OWN_535,
        [*versioned(OWN_535["packages"], "535.261.03-1"), "libnvidia-tesla-470-ml1:amd64 470.256.02-1"],
        ["libnvidia-tesla-470-ml1"],
    ),
    (
        "NVIDIA's 580 on Debian, back to Debian's own",
        OWN_535,
        [*versioned(OF_NVIDIA_580, "580.95.05-1"), "nvidia-driver-pinning-580 580-1", "nvidia-settings 580.95.05-1"],
        sorted([*OF_NVIDIA_580, "nvidia-driver-pinning-580"]),
    ),
    (
        "590 without a branch in its names, to Canonical's 580",
        SERVER_580,
        ["nvidia-dkms-open 590.48.01-1", "libnvidia-compute 590.48.01-1", "nvidia-driver-pinning-590 590-1"],
        ["libnvidia-compute", "nvidia-driver-pinning-590", "nvidia-dkms-open"],
    ),
    (
        "prebuilt modules of other branches and kernels",
        PREBUILT_580,
        [
            "linux-modules-nvidia-550-server-6.8.0-51-generic 6.8.0-51.52+1",
            "linux-objects-nvidia-550-server-6.8.0-51-generic 6.8.0-51.52+1",
            "linux-modules-nvidia-580-server-6.8.0-87-generic 6.8.0-87.88+1",
            "linux-objects-nvidia-580-server-6.8.0-87-generic 6.8.0-87.88+1",
            "linux-modules-nvidia-580-server-open-6.8.0-51-generic 6.8.0-51.52+2",
            "linux-signatures-nvidia-6.8.0-87-generic 6.8.0-87.88+1",
            "linux-modules-nvidia-fs-6.8.0-87-generic 6.8.0-87.88",
        ],
        [
            "linux-modules-nvidia-550-server-6.8.0-51-generic",
            "linux-modules-nvidia-580-server-6.8.0-87-generic",
            "linux-objects-nvidia-550-server-6.8.0-51-generic",
        ],
    ),
    (
        "prebuilt modules where dkms is to build them",
        SERVER_580,
        ["linux-modules-nvidia-580-server-open-generic 6.8.0-87.88+1"],
        ["linux-modules-nvidia-580-server-open-generic"],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("resolved", "rows", "purge"), [each[1:] for each in SETS], ids=[each[0] for each in SETS])
def test_what_is_of_another_driver_goes_and_all_else_stays(resolved, rows, purge):
    result = driver_steps.steps(host(*rows, *BESIDE), resolved)
    assert result["purge"] == sorted(purge)
    assert result["kind"] == "change"


@pytest.mark.parametrize(("resolved", "rows", "purge"), [each[1:] for each in SETS], ids=[each[0] for each in SETS])
def test_the_run_after_it_changes_nothing(resolved, rows, purge):
    stay = [row for row in rows if row.split()[0].removesuffix(":amd64") not in [*purge, *resolved["packages"]]]
    result = driver_steps.steps(host(*stay, *whole(resolved), *BESIDE, loaded="535.274.02"), resolved)
    assert (result["kind"], result["install"], result["purge"], result["replaces"]) == ("none", [], [], False)


def test_a_32_bit_leftover_goes_once_and_stops_nobody():
    whole = versioned(SERVER_535["packages"], "535.274.02-0ubuntu0.22.04.1")
    users = [{"pid": 1, "name": "python3", "unit": None}]
    rows = [*whole, "libnvidia-compute-470:i386 470.256.02-0ubuntu0.22.04.1"]
    found = host(*rows, kernel="5.15.0-160-generic", loaded="535.274.02", users=users)
    result = driver_steps.steps(found, SERVER_535)
    assert (result["purge"], result["replaces"]) == (["libnvidia-compute-470:i386"], False)
    after = driver_steps.steps(host(*whole, kernel="5.15.0-160-generic", loaded="535.274.02"), SERVER_535)
    assert (after["kind"], after["purge"]) == ("none", [])


def test_a_32_bit_library_of_the_same_driver_stays_and_is_no_native_one():
    rows = versioned(SERVER_535["packages"], "535.274.02-0ubuntu0.22.04.1")
    rows = [row.replace("nvidia-utils-535-server", "nvidia-utils-535-server:i386") for row in rows]
    result = driver_steps.steps(
        host(*rows, "libnvidia-compute-535-server:i386 535.274.02-0ubuntu0.22.04.1"), SERVER_535
    )
    assert result["purge"] == []
    assert result["install"] == SERVER_535["packages"], "its native namesake lacks"


def test_removal_takes_the_driver_and_leaves_what_stands_beside_it():
    driver = [
        *versioned(SERVER_580["packages"], "580.95.05-0ubuntu0.24.04.2"),
        "libnvidia-compute-580-server:i386 580.95.05-0ubuntu0.24.04.2",
        "linux-signatures-nvidia-6.8.0-87-generic 6.8.0-87.88+1",
        "nvidia-modprobe 580.95.05-1",
        "libnvsdm 580.95.05-1",
        "nvidia-imex-580 580.95.05-1",
    ]
    result = driver_steps.steps(host(*driver, *BESIDE), {})
    assert result["purge"] == sorted(row.split()[0] for row in driver)


def test_without_a_driver_there_is_nothing_to_remove_beside_docker_and_gds():
    assert driver_steps.steps(host(*BESIDE), {})["kind"] == "none"


def test_a_jetsons_packages_are_its_boards():
    board = ["nvidia-l4t-core 35.3.1-20230319081403", "nvidia-l4t-bootloader 35.3.1-20230319081403"]
    assert driver_steps.steps(host(*board, "nvidia-tegra-drivers-36 36.4.0-1002.2"), {})["purge"] == []


def module(version, folder="updates/dkms", flavour="proprietary", kernel="5.15.0-160-generic"):
    path = f"/lib/modules/{kernel}/{folder}/nvidia.ko"
    return {"path": path, "version": version, "kernel": kernel, "flavour": flavour, "signer": None}


def row(version, name="nvidia-srv", kernel="5.15.0-160-generic"):
    return {"name": name, "version": version, "kernel": kernel, "status": "installed"}


MODULES_161, LIBRARIES_183 = "535.161.07-0ubuntu0.22.04.1", "535.183.01-0ubuntu0.22.04.1"
APART = [
    f"nvidia-dkms-535-server {MODULES_161}",
    *versioned([*SERVER_535["packages"][1:], "libnvidia-compute-535-server:amd64"], LIBRARIES_183),
]


class TestOneBranchTwoVersions:
    def host(self, *rows, built="535.161.07", loaded="535.161.07"):
        kernel = "5.15.0-160-generic"
        parts = {"built": [module(built)], "dkms": [row(built)], "library_version": "535.183.01"}
        return host(*rows, kernel=kernel, loaded=loaded, **parts)

    def test_they_are_brought_to_one_version_together(self):
        result = driver_steps.steps(self.host(*APART), SERVER_535)
        assert (result["kind"], result["install"], result["purge"]) == ("change", SERVER_535["packages"], [])
        assert result["replaces"], "the old modules have to go"
        assert result["unproven"] == (
            "the modules for kernel 5.15.0-160-generic are 535.161.07, and the libraries are 535.183.01"
        )

    def test_modules_that_are_newer_than_the_libraries_are_no_better(self):
        swapped = [text.replace("161.07", "x").replace("183.01", "161.07").replace("x", "183.01") for text in APART]
        found = {**self.host(*swapped, built="535.183.01", loaded="535.183.01"), "library_version": "535.161.07"}
        assert driver_steps.steps(found, SERVER_535)["install"] == SERVER_535["packages"]

    def test_packages_of_one_version_whose_module_was_not_built_are_left_to_dkms(self):
        whole = versioned([*SERVER_535["packages"], "libnvidia-compute-535-server:amd64"], LIBRARIES_183)
        result = driver_steps.steps(self.host(*whole), SERVER_535)
        assert (result["kind"], result["install"], result["replaces"]) == ("none", [], False)
        assert result["unproven"].startswith("the modules for kernel")

    def test_a_boot_that_would_not_help_is_not_asked_for(self):
        assert driver_steps.reboot_reasons(self.host(*APART)) == []
        assert driver_steps.reboot_reasons(self.host(*APART, built="535.183.01")) == [
            "the kernel runs driver 535.161.07, and the libraries are 535.183.01"
        ]

    def test_a_kernel_of_another_branch_is_healed_by_the_change_of_packages(self):
        rows = versioned(["nvidia-kernel-dkms", "libcuda1", "libnvidia-ml1"], "525.147.05-1")
        result = driver_steps.steps(host(*rows, kernel="6.1.0-40-amd64", loaded="520.61.05"), OWN_535)
        assert (result["kind"], result["purge"]) == ("change", ["libcuda1", "libnvidia-ml1", "nvidia-kernel-dkms"])


def inst(name, version, old=None):
    return f"Inst {name}{f' [{old}]' if old else ''} ({version} Ubuntu:22.04/jammy-updates [amd64])"


class TestWhatAptWouldLeave:
    def foreseen(self, rows, *lines, resolved=SERVER_535, purge=(), simulated=None, **parts):
        found = host(*rows, kernel=parts.pop("kernel", "5.15.0-160-generic"), **parts)
        said = {"rc": 0, "stdout": "\n".join(["Reading package lists...", *lines]), "stderr": ""}
        return driver_foreseen.foreseen(found, resolved, purge, {**said, **(simulated or {})})

    def test_one_version_of_both_is_let_through(self):
        after = self.foreseen(APART, inst("nvidia-dkms-535-server", LIBRARIES_183, MODULES_161))
        assert after["nvidia-dkms-535-server"] == LIBRARIES_183

    @pytest.mark.parametrize(
        "lines",
        [
            [],
            # The archive brings newer libraries and has no modules to go with them.
            [inst("libnvidia-compute-535-server", "535.274.02-0ubuntu0.22.04.1", LIBRARIES_183)],
        ],
    )
    def test_an_archive_without_a_pair_is_refused_before_anything_stops(self, lines):
        with pytest.raises(WishError) as refusal:
            self.foreseen(APART, *lines)
        library = "535.274.02" if lines else "535.183.01"
        assert str(refusal.value) == (
            f"nvidia_driver_version: the archive has nvidia-dkms-535-server of driver 535.161.07 and libraries of"
            f" {library}, which refuse each other; set this to a version that 'apt-cache madison' shows of both"
        )

    def test_what_is_purged_or_removed_no_longer_counts(self):
        old = ["libnvidia-compute-535-server 535.161.07-0ubuntu0.22.04.1", "libcuda1 535.54.03-1"]
        fresh = [inst("nvidia-dkms-535-server", LIBRARIES_183), inst("libnvidia-compute-535-server", LIBRARIES_183)]
        after = self.foreseen(old, *fresh, "Remv libcuda1 [535.54.03-1]", purge=["libnvidia-compute-535-server"])
        assert after == dict.fromkeys(["nvidia-dkms-535-server", "libnvidia-compute-535-server"], LIBRARIES_183)

    def test_a_32_bit_library_is_nobodys_pair(self):
        rows = ["libnvidia-compute-535-server:i386 535.54.03-0ubuntu1"]
        fresh = [inst("nvidia-dkms-535-server", LIBRARIES_183), inst("libnvidia-compute-535-server", LIBRARIES_183)]
        assert self.foreseen(rows, *fresh)

    # As apt 2.4 says it of Ubuntu 22.04's archive on 2026-11-26, where modules of older kernels are not built anew.
    UNMET = (
        "The following packages have unmet dependencies:\n"
        " linux-modules-nvidia-580-server-open-6.8.0-100-generic : Depends: nvidia-kernel-common-580-server"
        " (<= 580.126.09-1) but 580.178.04-0ubuntu0.22.04.1 is to be installed\n"
    )

    def test_modules_of_an_older_kernel_that_the_archive_has_left_behind_are_told_in_apts_words(self):
        failed = {
            "rc": 100,
            "stdout": self.UNMET,
            "stderr": "E: Unable to correct problems, you have held broken packages.",
        }
        with pytest.raises(WishError) as refusal:
            self.foreseen([], resolved=PREBUILT_580, simulated=failed)
        assert str(refusal.value) == (
            "nvidia_driver_branch: apt cannot install the driver"
            " (linux-modules-nvidia-580-server-open-6.8.0-100-generic: Depends: nvidia-kernel-common-580-server"
            " (<= 580.126.09-1) but 580.178.04-0ubuntu0.22.04.1 is to be installed); boot the newest kernel, which the"
            " archive has modules for, or set nvidia_driver_modules to dkms"
        )

    def test_a_package_that_the_archive_lacks_is_named(self):
        failed = {"rc": 100, "stdout": "", "stderr": "W: x\nE: Unable to locate package nvidia-dkms-535-server\n"}
        with pytest.raises(WishError) as refusal:
            self.foreseen([], simulated=failed)
        assert str(refusal.value) == (
            "nvidia_driver_branch: apt cannot install the driver (Unable to locate package nvidia-dkms-535-server);"
            " name another branch that the archive has, or see what 'apt-get install nvidia-dkms-535-server' says"
        )

    def prebuilt(self, *lines, library="580.105.08"):
        rows = [
            *versioned(PREBUILT_580["kernel_modules"] + PREBUILT_580["packages"][:1], "6.8.0-87.88+1"),
            *versioned(
                [*PREBUILT_580["packages"][1:], "libnvidia-compute-580-server", "nvidia-kernel-common-580-server"],
                f"{library}-0ubuntu0.24.04.1",
            ),
        ]
        kernel = "6.8.0-87-generic"
        built = [module("580.95.05", "kernel/nvidia-580srv-open", "open", kernel)]
        return self.foreseen(rows, *lines, resolved=PREBUILT_580, kernel=kernel, built=built)

    def test_prebuilt_modules_that_lag_behind_are_refused_where_apt_has_no_others(self):
        with pytest.raises(WishError) as refusal:
            self.prebuilt()
        assert str(refusal.value) == (
            "nvidia_driver_version: the archive has linux-modules-nvidia-580-server-open-generic of driver 580.95.05"
            " and libraries of 580.105.08, which refuse each other; set this to a version that 'apt-cache madison'"
            " shows of both, or nvidia_driver_modules to dkms"
        )

    def test_prebuilt_modules_that_come_are_of_the_version_that_they_depend_on(self):
        assert self.prebuilt(inst("linux-modules-nvidia-580-server-open-6.8.0-87-generic", "6.8.0-87.88+2", "x"))
        assert self.prebuilt(library="580.95.05")


class TestPrebuilt:
    KERNEL = "6.8.0-1066-gcp"

    def resolved(self, **asked):
        wished = {"modules": "prebuilt", "branch": 580, "flavour": "open", **asked}
        return wish(("Ubuntu", "22.04", self.KERNEL), **wished)

    def host(self, resolved, folder="kernel/nvidia-580srv-open", **parts):
        rows = [
            *versioned([*resolved["packages"][:1], *resolved["kernel_modules"]], "6.8.0-1066.71~22.04.1+1"),
            *versioned([*resolved["packages"][1:], "libnvidia-compute-580-server:amd64"], "580.95.05-0ubuntu0.22.04.2"),
        ]
        built = [module("580.95.05", folder, "open", self.KERNEL)]
        return host(*rows, kernel=self.KERNEL, built=built, library_version="580.95.05", loaded="580.95.05", **parts)

    def test_what_is_installed_and_runs_is_proven_and_left_alone(self):
        result = driver_steps.steps(self.host(self.resolved()), self.resolved())
        assert result == {"kind": "none", "install": [], "purge": [], "replaces": False, "unproven": ""}

    def test_modules_for_this_very_kernel_are_installed_too(self):
        found = {**self.host(self.resolved()), "built": []}
        del found["packages"]["installed"][1]
        result = driver_steps.steps(found, self.resolved())
        assert result["install"][-1] == "linux-modules-nvidia-580-server-open-6.8.0-1066-gcp"
        assert result["unproven"] == f"no module of driver 580 lies in /lib/modules/{self.KERNEL}"

    def test_prebuilt_modules_that_lag_behind_their_libraries_are_brought_to_one_version(self):
        found = {
            **self.host(self.resolved()),
            "built": [module("580.82.07", "kernel/nvidia-580srv-open", "open", self.KERNEL)],
        }
        result = driver_steps.steps(found, self.resolved())
        assert (result["kind"], result["install"]) == (
            "change",
            [*self.resolved()["packages"], *self.resolved()["kernel_modules"]],
        )

    def test_modules_that_dkms_has_left_come_before_them_and_are_named(self):
        found = self.host(self.resolved())
        found["built"].insert(0, module("535.274.02", "updates/dkms", "proprietary", self.KERNEL))
        assert driver_steps.steps(found, self.resolved())["unproven"] == (
            f"/lib/modules/{self.KERNEL}/updates/dkms/nvidia.ko (driver 535.274.02) comes before the modules of driver"
            " 580"
        )
