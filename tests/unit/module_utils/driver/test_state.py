# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Reading what a host shows of its driver: from files below a folder, and from programs' recorded words."""

from __future__ import annotations

import os

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.driver import installed as driver_installed
from ansible_collections.tfserving.fleet.plugins.module_utils.driver import secure_boot
from ansible_collections.tfserving.fleet.plugins.module_utils.driver import state as driver_state
from ansible_collections.tfserving.fleet.plugins.module_utils.host.sysfs import Tree
from ansible_collections.tfserving.fleet.plugins.module_utils.nvidia import devices as nvidia_devices

KERNEL = "6.1.0-40-amd64"


@pytest.fixture
def host(tmp_path):
    """Paths and contents in, the tree that holds them out."""

    def build(files=None, links=None):
        for path, content in (files or {}).items():
            file = tmp_path / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content if isinstance(content, bytes) else content.encode())
        for path, target in (links or {}).items():
            link = tmp_path / path
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(target)
        return Tree(str(tmp_path))

    return build


def saying(text, status=0):
    return lambda arguments: (status, text, "")


def pci(address, device_class, device, vendor="0x10de"):
    folder = f"sys/bus/pci/devices/{address}"
    return {f"{folder}/vendor": vendor, f"{folder}/class": device_class, f"{folder}/device": device}


def test_gpus_and_nvswitches_are_told_apart_from_sound_and_from_other_vendors(host):
    tree = host(
        {
            **pci("0000:18:00.0", "0x030200", "0x2335"),
            **pci("0000:18:00.1", "0x040300", "0x22bb"),
            **pci("0000:03:00.0", "0x030000", "0x2000", vendor="0x1a03"),
            **pci("0000:c1:00.0", "0x068000", "0x22a3"),
        },
        {"sys/bus/pci/devices/0000:18:00.0/driver": "../../drivers/nouveau"},
    )
    assert nvidia_devices.devices(tree) == {
        "gpus": [
            {
                "pci_address": "0000:18:00.0",
                "device_id": "0x2335",
                "driver": "nouveau",
                "virtual": None,
                "functions": 0,
            }
        ],
        "nvswitches": 1,
        "left_out": [],
        "unmatched": [],
    }


@pytest.mark.parametrize(
    ("line", "version", "flavour"),
    [
        (
            "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.261.03  Tue Jun 10 18:30:31 UTC 2025",
            "535.261.03",
            "proprietary",
        ),
        (
            "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build  (dvs-builder@U22)  Tue",
            "580.95.05",
            "open",
        ),
    ],
)
def test_the_loaded_driver_says_its_version_and_flavour(host, line, version, flavour):
    tree = host(
        {"proc/driver/nvidia/version": f"{line}\nGCC version: gcc 12.2\n", "sys/module/nvidia/version": version}
    )
    loaded = driver_state.loaded(tree)
    assert (loaded["version"], loaded["flavour"], loaded["modules"]) == (version, flavour, ["nvidia"])


def test_without_a_driver_nothing_is_loaded(host):
    assert driver_state.loaded(host()) == {"modules": [], "version": None, "flavour": None, "nouveau": False}


@pytest.mark.parametrize(
    "path",
    [
        "usr/lib/x86_64-linux-gnu/libnvidia-ml.so.580.95.05",
        "usr/lib/x86_64-linux-gnu/nvidia/current/libnvidia-ml.so.580.95.05",
        "usr/lib64/libnvidia-ml.so.580.95.05",
    ],
)
def test_the_library_is_found_where_each_packaging_puts_it(host, path):
    assert driver_state.library_version(host({path: ""})) == "580.95.05"
    assert driver_state.library_version(Tree("/nonexistent")) is None


# What modinfo says of the modules that Debian's nvidia-kernel-dkms 535.261.03 built for 6.1.0-56.
MODINFO = """\
filename:       /lib/modules/6.1.0-56-amd64/updates/dkms/nvidia-current.ko
firmware:       nvidia/535.261.03/gsp_tu10x.bin
alias:          char-major-195-*
version:        535.261.03
license:        NVIDIA
depends:
retpoline:      Y
name:           nvidia
vermagic:       6.1.0-56-amd64 SMP preempt mod_unload modversions
signer:         DKMS module signing key
"""


def test_a_built_module_says_what_it_is_for(host):
    tree = host(
        {
            f"lib/modules/{KERNEL}/updates/dkms/nvidia-current.ko": "",
            f"lib/modules/{KERNEL}/updates/dkms/nvidia-current-uvm.ko": "",
        }
    )
    (module,) = driver_installed.built_modules(tree, KERNEL, saying(MODINFO))
    assert (module["version"], module["kernel"], module["flavour"]) == ("535.261.03", "6.1.0-56-amd64", "proprietary")
    assert module["signer"] == "DKMS module signing key"


def test_a_free_licence_tells_the_open_modules(host):
    tree = host({f"lib/modules/{KERNEL}/updates/dkms/nvidia.ko.zst": ""})
    (module,) = driver_installed.built_modules(tree, KERNEL, saying("version: 580.95.05\nlicense: Dual MIT/GPL\n"))
    assert module["flavour"] == "open"


PACKAGES = "\n".join(
    "\t".join(row)
    for row in [
        ("libcuda1", "535.261.03-1", "hold", "ok", "installed"),
        ("nvidia-support", "20220217+3~deb12u1", "install", "ok", "installed"),
        ("glx-alternative-nvidia", "1.2.2", "install", "ok", "installed"),
        ("nvidia-smi", "535.261.03-1", "deinstall", "ok", "config-files"),
        ("nvidia-container-toolkit", "1.19.1-1", "install", "ok", "installed"),
        ("nvidia-kernel-dkms", "535.261.03-1", "install", "reinstreq", "half-installed"),
        ("linux-headers-amd64", "6.1.158-1", "install", "ok", "installed"),
        ("bash", "5.2.15-2", "install", "ok", "half-configured"),
    ]
)


def test_packages_are_sorted_into_the_drivers_the_headers_and_the_broken():
    found = driver_installed.packages(saying(PACKAGES + "\n"))
    assert [(each["name"], each["branch"], each["held"]) for each in found["installed"]] == [
        ("libcuda1", "535", True),
        ("nvidia-support", None, False),
        ("glx-alternative-nvidia", None, False),
        ("nvidia-kernel-dkms", "535", False),
    ]
    assert found["headers"] == ["linux-headers-amd64"]
    assert found["broken"] == ["bash", "nvidia-kernel-dkms"]


def test_components_are_told_with_the_file_that_names_them():
    text = "bookworm\tmain\t/etc/apt/sources.list:1\nbookworm\tnon-free\t/etc/apt/sources.list.d/x.sources:1\n"
    assert driver_state.components(saying(text)) == [
        {"suite": "bookworm", "component": "main", "file": "/etc/apt/sources.list"},
        {"suite": "bookworm", "component": "non-free", "file": "/etc/apt/sources.list.d/x.sources"},
    ]


def test_processes_that_have_a_gpu_open_are_told_with_their_units(host):
    tree = host(
        {
            "proc/41/comm": "tensorflow_mode\n",
            "proc/41/cgroup": "0::/tfserving.slice/tfserving-x.slice/tfserving@ranker.service\n",
            "proc/42/comm": "bash\n",
            "proc/42/cgroup": "0::/user.slice/user-0.slice/session-1.scope\n",
        },
        {"proc/41/fd/7": "/dev/nvidia0", "proc/42/fd/0": "/dev/pts/0"},
    )
    assert driver_state.users(tree) == [{"pid": 41, "name": "tensorflow_mode", "unit": "tfserving@ranker.service"}]


class TestKernel:
    def test_the_running_kernel_is_meant_unless_another_is_named(self, host):
        tree = host({"proc/sys/kernel/osrelease": KERNEL, f"lib/modules/{KERNEL}/build/Makefile": ""})
        found = driver_state.kernel(tree, "running")
        assert (found["running"], found["wanted"], found["headers"]) == (KERNEL, KERNEL, True)
        assert not driver_state.kernel(tree, "6.1.0-41-amd64")["headers"]

    @pytest.mark.parametrize(("built", "stale"), [(100, True), (300, False)])
    def test_an_initramfs_older_than_the_module_options_is_stale(self, host, built, stale):
        tree = host({f"boot/initrd.img-{KERNEL}": "", "etc/modprobe.d/nvidia-driver-fleet.conf": "blacklist nouveau"})
        os.utime(tree.path(f"boot/initrd.img-{KERNEL}"), (built, built))
        os.utime(tree.path("etc/modprobe.d/nvidia-driver-fleet.conf"), (200, 200))
        initramfs = driver_state.kernel(tree, KERNEL)["initramfs"]
        assert initramfs == {"path": f"/boot/initrd.img-{KERNEL}", "stale": stale}

    @pytest.mark.parametrize(("module", "stale"), [("nvidia-current.ko", True), ("acpi_call.ko", False)])
    def test_an_initramfs_older_than_the_drivers_modules_would_load_others(self, host, module, stale):
        place = f"lib/modules/{KERNEL}/updates/dkms/{module}"
        tree = host({f"boot/initrd.img-{KERNEL}": "", place: ""})
        os.utime(tree.path(f"boot/initrd.img-{KERNEL}"), (100, 100))
        os.utime(tree.path(place), (200, 200))
        assert driver_state.kernel(tree, KERNEL)["initramfs"]["stale"] is stale

    def test_a_host_without_an_initramfs_has_none_to_rebuild(self, host):
        assert driver_state.kernel(host(), KERNEL)["initramfs"] == {"path": None, "stale": False}


class TestSecureBoot:
    VARIABLE = f"{secure_boot.EFIVARS}/SecureBoot-{secure_boot.GLOBAL}"
    KEY = b"\x30\x82 the certificate"

    def read(self, tree):
        return secure_boot.read(tree, ["/var/lib/dkms/mok.pub"])

    def test_machines_without_uefi_have_none(self, host):
        assert self.read(host()) == {"state": "absent", "certificate": None, "enrolled": False}

    @pytest.mark.parametrize(("value", "state"), [(b"\x06\0\0\0\x01", "enabled"), (b"\x06\0\0\0\x00", "disabled")])
    def test_the_firmware_says_whether_it_is_on(self, host, value, state):
        assert self.read(host({self.VARIABLE: value}))["state"] == state

    @pytest.mark.parametrize("keys", secure_boot.KEY_LISTS)
    def test_an_enrolled_key_is_found_in_shims_list_and_in_the_firmwares(self, host, keys):
        tree = host(
            {"var/lib/dkms/mok.pub": self.KEY, keys: b"head" + self.KEY + b"tail", self.VARIABLE: b"\0\0\0\0\x01"}
        )
        assert self.read(tree) == {"state": "enabled", "certificate": "/var/lib/dkms/mok.pub", "enrolled": True}

    def test_a_key_that_is_in_no_list_is_not_enrolled(self, host):
        tree = host(
            {"var/lib/dkms/mok.pub": self.KEY, secure_boot.KEY_LISTS[0]: b"another", self.VARIABLE: b"\0\0\0\0\x01"}
        )
        assert not self.read(tree)["enrolled"]

    def test_an_empty_certificate_is_enrolled_nowhere(self, host):
        tree = host({"var/lib/dkms/mok.pub": b"", secure_boot.KEY_LISTS[0]: b"another"})
        assert not self.read(tree)["enrolled"]
