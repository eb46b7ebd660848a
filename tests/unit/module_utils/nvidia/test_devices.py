# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Which NVIDIA devices are a host's own, on buses like those of virtualisation hosts, guests, consoles and old boards.

What the devices look like is from the Linux kernel (drivers/pci, drivers/vfio), public lspci listings, and NVIDIA's
open-gpu-kernel-modules and k8s-device-plugin.
"""

from __future__ import annotations

from collections import defaultdict

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.gpus import health as gpu_health
from ansible_collections.tfserving.fleet.plugins.module_utils.host.sysfs import Tree
from ansible_collections.tfserving.fleet.plugins.module_utils.nvidia import devices as nvidia_devices
from ansible_collections.tfserving.fleet.plugins.module_utils.nvidia import owned as driver_gpus
from ansible_collections.tfserving.fleet.plugins.module_utils.topology import read as topology
from ansible_collections.tfserving.fleet.plugins.plugin_utils.tables.read import table
from machines import build, link, write

DEVICES = "sys/devices/pci0000:00"
A40, H200, T4, GT_710 = "0x2235", "0x2335", "0x1eb8", "0x128b"
FIRST, SECOND = "0000:18:00.0", "0000:2a:00.0"


@pytest.fixture
def bus(tmp_path):
    """A host with one core, to whose PCI bus devices are added."""
    build(tmp_path, sockets=1, cores=1, smt=1)

    def add(address, device=H200, device_class="0x030200", driver=None, vendor="0x10de", **files):
        folder = f"{DEVICES}/{address}"
        values = {"vendor": vendor, "class": device_class, "device": device, "driver_override": "(null)", **files}
        for name, text in values.items():
            write(tmp_path, f"{folder}/{name}", text)
        if driver:
            link(tmp_path, f"{folder}/driver", f"../../../bus/pci/drivers/{driver}")
        link(tmp_path, f"sys/bus/pci/devices/{address}", f"../../../devices/pci0000:00/{address}")

    add.root = tmp_path
    return add


def tree(bus):
    return Tree(str(bus.root))


def seen(bus, ignored=(), version=None):
    """The addresses that driver and topology call ours, and the reasons of the others; both have to agree."""
    found = nvidia_devices.devices(tree(bus), ignored, version)
    read = topology.read(tree(bus), ["0x10de"], list(ignored))
    ours = [gpu["pci_address"] for gpu in found["gpus"]]
    reasons = {gpu["pci_address"]: gpu["why"] for gpu in found["left_out"]}
    assert [gpu["pci_address"] for gpu in read["gpus"]] == ours
    assert {gpu["pci_address"]: gpu["why"] for gpu in read["gpus_left_out"]} == reasons
    return ours, reasons


def virtual_functions(bus, count, driver="nvidia", device=A40):
    """A GPU of a vGPU host with its virtual functions, as sriov-manage makes them."""
    bus("0000:81:00.0", device, driver="nvidia", sriov_numvfs=count)
    for number in range(count):
        address = f"0000:81:00.{number + 4}" if number < 4 else f"0000:81:01.{number - 4}"
        bus(address, device, driver=driver)
        link(bus.root, f"{DEVICES}/{address}/physfn", "../0000:81:00.0")


class TestVirtualMachines:
    @pytest.mark.parametrize(
        "driver",
        ["vfio-pci", "pci-stub", "nvgrace_gpu_vfio_pci", "nvidia-vgpu-vfio", "pciback", "xen-pciback"],
    )
    def test_a_gpu_that_a_virtual_machine_has_is_none_of_ours(self, bus, driver):
        bus(FIRST, driver="nvidia")
        bus(SECOND, driver=driver)
        assert seen(bus) == ([FIRST], {SECOND: f"{driver} holds it for a virtual machine"})

    @pytest.mark.parametrize("driver", ["uio_pci_generic", "igb_uio"])
    def test_nor_is_one_that_a_program_drives_by_itself(self, bus, driver):
        bus(FIRST, driver=driver)
        assert seen(bus) == ([], {FIRST: f"{driver} holds it for a program"})

    @pytest.mark.parametrize("driver", [None, "nouveau"])
    def test_one_that_is_kept_for_another_driver_is_not_missed_before_that_has_it(self, bus, driver):
        bus(FIRST, driver=driver, driver_override="vfio-pci")
        assert seen(bus) == ([], {FIRST: "driver_override keeps it for vfio-pci"})

    @pytest.mark.parametrize(
        ("driver", "override"), [("nvidia", "vfio-pci"), (None, "nvidia"), (None, "(null)"), ("nouveau", "(null)")]
    )
    def test_one_that_may_be_driven_stays_ours(self, bus, driver, override):
        bus(FIRST, driver=driver, driver_override=override)
        assert seen(bus) == ([FIRST], {})

    @pytest.mark.parametrize("driver", ["nvidia", "vfio-pci", None])
    def test_virtual_functions_are_no_gpus_whoever_has_them(self, bus, driver):
        virtual_functions(bus, 4, driver)
        ours, reasons = seen(bus)
        assert ours == ["0000:81:00.0"]
        assert set(reasons.values()) == {"it is a virtual function of 0000:81:00.0, for a virtual machine"}
        assert len(reasons) == 4

    def test_a_gpu_that_is_cut_into_functions_is_the_hosts_and_serves_nobody(self, bus):
        virtual_functions(bus, 8)
        (gpu,) = nvidia_devices.devices(tree(bus))["gpus"]
        assert gpu["functions"] == 8
        (offered,) = topology.read(tree(bus), ["0x10de"])["gpus"]
        assert offered["why"] == "is cut into 8 virtual functions for virtual machines"

    def test_one_whose_functions_are_switched_off_serves(self, bus):
        bus("0000:81:00.0", A40, driver="nvidia", sriov_numvfs=0, sriov_totalvfs=32)
        (gpu,) = topology.read(tree(bus), ["0x10de"])["gpus"]
        assert not gpu.get("why")

    def test_without_functions_the_vgpu_manager_shares_them_out_all_the_same(self, bus):
        bus(FIRST, T4, driver="nvidia")
        write(bus.root, "sys/module/nvidia_vgpu_vfio/refcnt", 0)
        (gpu,) = topology.read(tree(bus), ["0x10de"])["gpus"]
        assert gpu["why"] == "belongs to the vGPU manager, for virtual machines"

    def test_other_vendors_gpus_keep_to_their_own_drivers(self, bus):
        bus(FIRST, vendor="0x1002", driver="amdgpu", driver_override="amdgpu")
        bus(SECOND, vendor="0x1002", driver_override="vfio-pci")
        found = topology.read(tree(bus), ["0x1002"])
        assert [gpu["pci_address"] for gpu in found["gpus"]] == [FIRST]
        assert found["gpus_left_out"] == [{"pci_address": SECOND, "why": "driver_override keeps it for vfio-pci"}]


def smi(*addresses):
    """What a reading holds where nvidia-smi knows these GPUs and all is well with them."""
    gpus = [
        defaultdict(lambda: None, pci_address=address, index=str(index), throttle="0x0", absent={})
        for index, address in enumerate(addresses)
    ]
    return {"gpus": gpus, "remarks": [], "cut_short": [], "error": "", "code": None}


def count(bus, expected, *known, version="580.95.05"):
    loaded = {"modules": ["nvidia", "nvidia_uvm"], "version": version, "flavour": "open", "nouveau": False}
    reading = {
        **nvidia_devices.devices(tree(bus), (), version),
        "loaded": loaded,
        "library_version": version,
        "smi": smi(*known),
        "log": [],
    }
    (finding,) = [each for each in gpu_health.examine(reading, expected) if each.check == "count"]
    return finding.status, finding.detail, finding.action


@pytest.mark.parametrize("expected", [None, 1])
def test_an_a40_with_four_functions_is_one_gpu_and_not_five(bus, expected):
    virtual_functions(bus, 4)
    assert count(bus, expected, "0000:81:00.0") == ("pass", "1 GPU, as expected", "")


@pytest.mark.parametrize("expected", [None, 1])
def test_a_gpu_of_a_virtual_machine_is_not_missed_where_a_number_is_expected(bus, expected):
    bus(FIRST, driver="nvidia")
    bus(SECOND, driver="nvgrace_gpu_vfio_pci")
    assert count(bus, expected, FIRST) == ("pass", "1 GPU, as expected", "")


def test_who_expects_the_gpu_of_a_virtual_machine_is_told_who_has_it_and_not_to_boot(bus):
    bus(FIRST, driver="nvidia")
    bus(SECOND, driver="vfio-pci")
    assert count(bus, 2, FIRST) == (
        "critical",
        f"the driver knows 1 GPU, and 2 are expected; left out: {SECOND} (vfio-pci holds it for a virtual machine)",
        "",
    )
    assert count(bus, 3, FIRST)[2] == "restart_host"


def test_neither_functions_nor_a_console_explain_a_gpu_that_is_gone(bus):
    virtual_functions(bus, 4)
    bus("0000:03:00.0", GT_710, "0x030000")
    assert count(bus, 2, "0000:81:00.0") == ("critical", "the driver knows 1 GPU, and 2 are expected", "restart_host")


class TestNvswitches:
    @pytest.mark.parametrize("device", ["0x1ac2", "0x1af1", "0x22a3", "0x22A3"])
    def test_nvswitches_are_counted_with_and_without_a_driver(self, bus, device):
        bus("0000:c1:00.0", device, "0x068000")
        bus("0000:c2:00.0", device, "0x068000", driver="nvidia-nvswitch")
        assert nvidia_devices.devices(tree(bus))["nvswitches"] == 2

    def test_what_the_driver_of_nvswitches_holds_is_one_though_its_number_is_new(self, bus):
        bus("0000:c1:00.0", "0x3fff", "0x068000", driver="nvidia-nvswitch")
        assert nvidia_devices.devices(tree(bus))["nvswitches"] == 1

    @pytest.mark.parametrize(
        ("device", "device_class", "driver"),
        [
            ("0x0057", "0x068000", "forcedeth"),  # CK804 Ethernet
            ("0x03ef", "0x068000", None),  # MCP61 Ethernet
            ("0x0269", "0x068000", "forcedeth"),  # MCP51 Ethernet
            ("0x22b1", "0x060400", "pcieport"),  # a PCI bridge of GB200
            ("0x22a8", "0x060400", "pcieport"),  # a PCI bridge inside an NVSwitch tray
            ("0x22a3", "0x068000", "vfio-pci"),  # of a virtual machine that runs the fabric manager
        ],
    )
    def test_other_bridges_are_none(self, bus, device, device_class, driver):
        bus("0000:c1:00.0", device, device_class, driver)
        assert nvidia_devices.devices(tree(bus))["nvswitches"] == 0

    def test_the_bridges_of_other_vendors_are_none(self, bus):
        bus("0000:c1:00.0", "0x22a3", "0x068000", vendor="0x15b3")
        assert nvidia_devices.devices(tree(bus))["nvswitches"] == 0


class TestConsoles:
    @pytest.mark.parametrize("device", [GT_710, "0x0ffd", "0x107d", "0x03d1"])  # Kepler, Kepler, Fermi, nForce 430
    @pytest.mark.parametrize("driver", [None, "nouveau"])
    def test_a_card_that_the_running_driver_no_longer_drives_is_not_ours(self, bus, device, driver):
        bus("0000:03:00.0", device, "0x030000", driver)
        bus(FIRST, driver="nvidia")
        write(bus.root, "sys/module/nvidia/version", "580.95.05")
        assert seen(bus, version="580.95.05") == ([FIRST], {"0000:03:00.0": "driver 580 no longer drives it"})
        assert count(bus, None, FIRST)[0] == "pass"

    @pytest.mark.parametrize(
        ("device", "driver", "version"),
        [
            (GT_710, "nvidia", "470.256.02"),
            (GT_710, None, "470.256.02"),  # broken
            (GT_710, None, None),  # no driver runs yet, and which one will is the inventory's to say
            (H200, None, "580.95.05"),
            (H200, None, "470.256.02"),  # bought for serving, and the driver is too old for it
            ("0x1b38", None, "580.95.05"),
        ],
    )
    def test_others_are_ours_and_missed(self, bus, device, driver, version):
        bus(FIRST, device, driver=driver)
        if version:
            write(bus.root, "sys/module/nvidia/version", version)
        assert seen(bus, version=version) == ([FIRST], {})

    @pytest.mark.parametrize(
        ("version", "card", "gpu", "holds"),
        [
            (None, "nouveau", "nouveau", True),  # no driver yet: both are nouveau's
            ("580.95.05", "nouveau", "nvidia", False),
            ("580.95.05", "nouveau", "nouveau", True),
            ("470.256.02", "nouveau", "nvidia", True),  # which drives the card too
        ],
    )
    def test_nouveau_may_keep_the_card_and_no_gpu(self, bus, version, card, gpu, holds):
        bus("0000:03:00.0", GT_710, "0x030000", card)
        bus(FIRST, T4, driver=gpu)
        state = {**nvidia_devices.devices(tree(bus)), "loaded": {"nouveau": True, "version": version}}
        assert nvidia_devices.nouveau_holds(state) is holds

    def test_pascal_ends_with_580(self, bus):
        bus(FIRST, "0x1b38")
        write(bus.root, "sys/module/nvidia/version", "590.44.01")
        assert seen(bus, version="590.44.01")[1] == {FIRST: "driver 590 no longer drives it"}

    def test_hosts_know_the_same_last_branches_as_the_table(self):
        rows = [(*ids, row["last"]) for row in table("drivers")["architectures"] if "last" in row for ids in row["ids"]]
        assert sorted(driver_gpus.LAST_BRANCHES) == sorted(rows)


@pytest.mark.parametrize("device_class", ["0x040300", "0x0c0330", "0x0c8000", "0x0c0500", "0x020000", "0x058000"])
def test_the_other_functions_of_a_card_and_of_a_chipset_are_no_gpus(bus, device_class):
    bus(FIRST, driver="nvidia")
    bus("0000:18:00.1", "0x1aeb", device_class)
    assert seen(bus) == ([FIRST], {})


class TestVgpu:
    """Configuration spaces by hand: the header of the PCI specification, then a list of capabilities."""

    @staticmethod
    def config(*capabilities, status=0x10, size=256):
        data = bytearray(256)
        data[0:4], data[6] = b"\xde\x10\xb8\x1e", status
        places = [0x40 + 0x20 * number for number in range(len(capabilities))]
        data[0x34] = places[0] if places else 0
        for place, following, (kind, content) in zip(places, [*places[1:], 0], capabilities):
            data[place : place + 2 + len(content)] = bytes([kind, following]) + content
        return bytes(data[:size])

    MSI = (0x05, b"\x80\x00")
    VGPU = (0x09, b"\x1bVF\x00\x16535.161.07")
    PHYSICAL = (0x09, b"\x14\x01\x00\x00\x00")

    @pytest.mark.parametrize(
        ("config", "virtual"),
        [
            (config(MSI, VGPU), True),
            (config(PHYSICAL, VGPU), True),
            (config(MSI, PHYSICAL), False),
            (config(), False),
            (config(VGPU, status=0), False),
            (config(MSI, VGPU, size=64), None),
            (b"", None),
            (b"\xff" * 256, None),
            (None, None),
        ],
    )
    def test_a_vgpu_says_so_itself(self, config, virtual):
        assert nvidia_devices.is_vgpu(config) is virtual

    @pytest.mark.parametrize("first", [0x34, 0x40, 0xFE, 0xFF])
    def test_a_list_that_turns_in_a_circle_or_leaves_the_space_ends(self, first):
        data = bytearray(self.config(self.MSI))
        data[0x34], data[0x41], data[0xFE], data[0xFF] = first, 0x40, 0x09, 0x09
        assert nvidia_devices.is_vgpu(bytes(data)) is False

    def test_a_real_h200_that_a_virtual_machine_has_whole_is_none(self):
        """Recorded on one with driver 580.159.04; what lies between is zeros."""
        data = bytearray(256)
        for place, text in {
            0x00: "de10352346051000a1000203000000000c000002401000000c000000001000000c00000040100000",
            0x2C: "de10bf18000000004000000000000000ff0100000148130008000000056088030000",
            0x60: "10b0020021802c113451000005794500000005110000",
            0x84: "13080700401000003e00800105005e00",
            0xB0: "110008800000b9000000ba00",
        }.items():
            data[place : place + len(text) // 2] = bytes.fromhex(text)
        assert nvidia_devices.is_vgpu(bytes(data)) is False

    def test_it_is_told_of_each_gpu(self, bus):
        bus(FIRST, T4, driver="nvidia")
        bus(SECOND, T4, driver="nvidia")
        (bus.root / DEVICES / FIRST / "config").write_bytes(self.config(self.VGPU))
        assert [gpu["virtual"] for gpu in nvidia_devices.devices(tree(bus))["gpus"]] == [True, None]
