# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Finding GPUs and network cards, and the nodes they hang on."""

from __future__ import annotations

import shutil

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.host.sysfs import Tree
from ansible_collections.tfserving.fleet.plugins.module_utils.topology import read as topology
from machines import build, link, write

PCI = "sys/devices/pci0000:00"
GPU = f"{PCI}/0000:10:00.0"
CARD = f"{PCI}/0000:80:00.0"
PORT = f"{CARD}/net/ens0"


def read(root, vendors=("0x10de",)):
    return topology.read(Tree(str(root)), vendors)


@pytest.mark.parametrize("display_class", ["0x030000", "0x030200", "0x038000"])
def test_display_controllers_of_the_vendor_are_gpus(tmp_path, display_class):
    build(tmp_path, gpus=[{}])
    write(tmp_path, f"{GPU}/class", display_class)
    assert [gpu["pci_address"] for gpu in read(tmp_path)["gpus"]] == ["0000:10:00.0"]


@pytest.mark.parametrize(("file", "text"), [("class", "0x040300"), ("class", "0x120000"), ("vendor", "0x102b")])
def test_sound_functions_accelerators_and_other_vendors_are_no_gpus(tmp_path, file, text):
    build(tmp_path, gpus=[{}])
    write(tmp_path, f"{GPU}/{file}", text)
    assert read(tmp_path)["gpus"] == []


def test_the_vendors_looked_for_can_be_chosen_in_either_case(tmp_path):
    build(tmp_path, gpus=[{"vendor": "0x1234"}, {}, {"vendor": "0x10de"}])
    assert [gpu["vendor"] for gpu in read(tmp_path, ["0x1234", "0X10DE"])["gpus"]] == ["0x1234", "0x10de", "0x10de"]


def test_gpus_are_numbered_by_pci_address_domain_first(tmp_path):
    addresses = ["10000:01:00.0", "0002:01:00.0", "0000:c1:00.0", "0000:0a:00.0"]
    build(tmp_path, gpus=[{"pci_address": address} for address in addresses])
    found = [(gpu["index"], gpu["pci_address"]) for gpu in read(tmp_path)["gpus"]]
    assert found == list(enumerate(reversed(addresses)))


def test_a_gpu_on_no_known_node_is_near_all_usable_cpus(tmp_path):
    build(tmp_path, sockets=2, cores=2, smt=1, gpus=[{"node": None}], allowed=[1, 2])
    (tmp_path / GPU / "local_cpulist").unlink()
    gpu = read(tmp_path)["gpus"][0]
    assert (gpu["node"], gpu["local_cpus"]) == (None, [1, 2])


def test_a_gpu_without_a_list_is_near_the_cpus_of_its_node(tmp_path):
    build(tmp_path, sockets=2, cores=2, smt=1, gpus=[{"node": 1}])
    (tmp_path / GPU / "local_cpulist").unlink()
    assert read(tmp_path)["gpus"][0]["local_cpus"] == [2, 3]


def test_a_node_that_is_not_there_is_reported(tmp_path):
    build(tmp_path, sockets=2, gpus=[{}])
    write(tmp_path, f"{GPU}/numa_node", 7)
    found = read(tmp_path)
    assert found["gpus"][0]["node"] is None
    assert found["problems"] == ["PCI device 0000:10:00.0 is said to be on NUMA node 7, which is not there"]


def test_interfaces_without_a_device_are_not_cards(tmp_path):
    build(tmp_path, nics=[{}])
    write(tmp_path, "sys/devices/virtual/net/docker0/operstate", "up")
    link(tmp_path, "sys/class/net/docker0", "../../devices/virtual/net/docker0")
    write(tmp_path, "sys/class/net/bonding_masters", "bond0")
    assert [nic["name"] for nic in read(tmp_path)["nics"]] == ["ens0"]


def test_virtual_functions_and_representors_are_not_cards(tmp_path):
    build(tmp_path, nics=[{}, {}, {}])
    link(tmp_path, f"{PCI}/0000:81:00.0/physfn", "../0000:80:00.0")
    write(tmp_path, f"{PCI}/0000:82:00.0/net/ens2/phys_port_name", "pf0vf3")
    write(tmp_path, f"{PORT}/phys_port_name", "p0")
    assert [nic["name"] for nic in read(tmp_path)["nics"]] == ["ens0"]


@pytest.mark.parametrize("speed", ["-1", "4294967295", "0", "", None])
def test_a_speed_that_the_driver_does_not_know_is_null(tmp_path, speed):
    build(tmp_path, nics=[{}])
    if speed is None:
        (tmp_path / PORT / "speed").unlink()
    else:
        write(tmp_path, f"{PORT}/speed", speed)
    assert read(tmp_path)["nics"][0]["speed_mbps"] is None


@pytest.mark.parametrize(("carrier", "up"), [("1", True), ("0", False), ("", True)])
def test_a_card_is_up_when_it_has_a_link(tmp_path, carrier, up):
    build(tmp_path, nics=[{"up": True}])
    write(tmp_path, f"{PORT}/carrier", carrier)
    assert read(tmp_path)["nics"][0]["up"] is up


def test_a_device_behind_a_pci_device_has_its_place(tmp_path):
    build(tmp_path, sockets=2, nics=[{"node": 1}])
    link(tmp_path, "sys/class/net/eth0", "../../devices/pci0000:00/0000:80:00.0/virtio3/net/eth0")
    link(tmp_path, f"{CARD}/virtio3/net/eth0/device", "../..")
    link(tmp_path, f"{CARD}/virtio3/driver", "../../../../bus/virtio/drivers/virtio_net")
    shutil.rmtree(tmp_path / CARD / "net")
    (tmp_path / "sys/class/net/ens0").unlink()
    nic = read(tmp_path)["nics"][0]
    assert (nic["pci_address"], nic["node"], nic["driver"]) == ("0000:80:00.0", 1, "virtio_net")


class TestInterrupts:
    INTERRUPTS = """\
            CPU0       CPU1
  24:         10          0  IR-PCI-MSI 524288-edge      ens0-TxRx-0
  25:          0         12  IR-PCI-MSI 524289-edge      ens0-TxRx-1
  26:          3          0  IR-PCI-MSI 524290-edge      ens01
  27:          3          0  IR-PCI-MSI 524291-edge      mlx5_async0@pci:0000:80:00.0
  28:          3          0  IR-PCI-MSI 524292-edge      mlx5_async0@pci:0000:81:00.0
 NMI:          1          1  Non-maskable interrupts
"""

    def test_the_cards_own_list_counts_first(self, tmp_path):
        build(tmp_path, nics=[{"irqs": [40, 9, 110]}])
        write(tmp_path, "proc/interrupts", self.INTERRUPTS)
        assert read(tmp_path)["nics"][0]["irqs"] == [9, 40, 110]

    def test_otherwise_interrupts_that_bear_its_name_or_address_are_its_own(self, tmp_path):
        build(tmp_path, nics=[{"irqs": []}])
        write(tmp_path, "proc/interrupts", self.INTERRUPTS)
        assert read(tmp_path)["nics"][0]["irqs"] == [24, 25, 27]

    def test_otherwise_the_line_it_was_given_counts(self, tmp_path):
        build(tmp_path, nics=[{"irqs": []}])
        write(tmp_path, f"{CARD}/irq", 16)
        assert read(tmp_path)["nics"][0]["irqs"] == [16]

    def test_line_zero_means_none(self, tmp_path):
        build(tmp_path, nics=[{"irqs": []}])
        write(tmp_path, f"{CARD}/irq", 0)
        assert read(tmp_path)["nics"][0]["irqs"] == []
