# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Which of a host's GPUs are the collection's: not those of virtual machines, nor those left out by hand."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import yaml
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.host.sysfs import Tree
from ansible_collections.tfserving.fleet.plugins.module_utils.nvidia import devices as nvidia_devices
from ansible_collections.tfserving.fleet.plugins.module_utils.nvidia import owned as driver_gpus
from ansible_collections.tfserving.fleet.plugins.module_utils.topology import nvidia as topology_nvidia
from ansible_collections.tfserving.fleet.plugins.module_utils.topology import read as topology
from ansible_collections.tfserving.fleet.plugins.modules import host_topology, nvidia_driver_state, nvidia_gpu_status
from repository import REPOSITORY
from running import run_module

MODULES = REPOSITORY / "plugins/modules"
CONSOLE, FIRST, SECOND = "0000:03:00.0", "0000:18:00.0", "0000:2a:00.0"


@pytest.fixture
def machine(tmp_path):
    """A host with a GT 710 for the console and two H200, the second handed to a virtual machine."""
    for address, device, driver in (
        (CONSOLE, "0x128b", None),
        (FIRST, "0x2335", "nvidia"),
        (SECOND, "0x2335", "vfio-pci"),
    ):
        folder = tmp_path / "sys/bus/pci/devices" / address
        folder.mkdir(parents=True)
        for name, value in {"vendor": "0x10de", "class": "0x030200", "device": device}.items():
            (folder / name).write_text(f"{value}\n")
        if driver:
            (folder / "driver").symlink_to(f"../../../bus/pci/drivers/{driver}")
    cpu = tmp_path / "sys/devices/system/cpu"
    for path, value in {"online": "0-1", "present": "0-1", "possible": "0-1"}.items():
        cpu.mkdir(parents=True, exist_ok=True)
        (cpu / path).write_text(f"{value}\n")
    for number in (0, 1):
        place = cpu / f"cpu{number}/topology"
        place.mkdir(parents=True)
        for name, value in {"core_id": number, "physical_package_id": 0, "thread_siblings_list": number}.items():
            (place / name).write_text(f"{value}\n")
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal: 8000000 kB\n")
    return Tree(str(tmp_path))


def addresses(found):
    return [gpu["pci_address"] for gpu in found]


def test_a_gpu_of_a_virtual_machine_is_neither_counted_nor_offered(machine):
    found = nvidia_devices.devices(machine)
    assert addresses(found["gpus"]) == [CONSOLE, FIRST]
    assert [(gpu["pci_address"], gpu["why"]) for gpu in found["left_out"]] == [
        (SECOND, "vfio-pci holds it for a virtual machine")
    ]
    read = topology.read(machine, ["0x10de"])
    assert addresses(read["gpus"]) == [CONSOLE, FIRST]
    assert read["gpus_left_out"] == [{"pci_address": SECOND, "why": "vfio-pci holds it for a virtual machine"}]


@pytest.mark.parametrize("name", ["0000:03:00.0", "03:00.0", "00000000:03:00.0", "10DE:128B", " 10de:128b "])
def test_a_gpu_is_left_out_by_its_place_or_its_kind(machine, name):
    ignored = driver_gpus.checked([name])
    found = nvidia_devices.devices(machine, ignored)
    assert addresses(found["gpus"]) == [FIRST]
    assert found["left_out"][0]["why"] == "nvidia_driver_ignore names it"
    assert found["unmatched"] == []
    assert addresses(topology.read(machine, ["0x10de"], ignored)["gpus"]) == [FIRST]


def test_what_is_left_out_in_vain_is_told(machine):
    assert nvidia_devices.devices(machine, driver_gpus.checked(["10de:9999", "99:00.0", "2a:00.0"]))["unmatched"] == [
        "10de:9999",
        "0000:99:00.0",
    ]


REMEDY = (
    "give, in quotes, a PCI address such as '0000:3b:00.0', or the ids of vendor and device such as '10de:128b', as"
    " lspci -nn shows them"
)


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("GT 710", "a string"),
        ("", "the string ''"),
        ("10de", "the string '10de'"),
        ("10de:128b:1", "a string"),
        ("03:00.9", "a string"),
        (yaml.safe_load("0000:03:00.0"), "the fraction 180.0"),
        (None, "nothing"),
        (["0000:03:00.0"], "a list"),
    ],
)
def test_what_names_no_device_is_refused(value, kind):
    with pytest.raises(WishError) as refusal:
        driver_gpus.checked(["10de:128b", value])
    assert str(refusal.value) == f"nvidia_driver_ignore[1]: is {kind}; {REMEDY}"


@pytest.mark.parametrize(
    ("module", "option"),
    [(host_topology, "gpu_ignore"), (nvidia_driver_state, "ignore"), (nvidia_gpu_status, "ignore")],
)
def test_every_module_refuses_it_in_the_same_words(module, option, machine):
    result = run_module(module, **{option: [180.0], "sysroot": machine.path("")})
    assert result["msg"] == f"nvidia_driver_ignore[0]: is the fraction 180.0; {REMEDY}"


def test_warnings_name_what_was_left_out_in_vain_and_what_the_branch_does_not_drive(machine, monkeypatch):
    told = []
    monkeypatch.setattr(nvidia_driver_state.AnsibleModule, "warn", lambda _module, text: told.append(text))
    monkeypatch.setattr(nvidia_driver_state.process_facts, "runner", lambda _module: lambda _arguments: (1, "", ""))
    options = {
        "ignore": ["10de:9999"],
        "sysroot": machine.path(""),
        "resolved": {"left_alone": [{"pci_address": CONSOLE, "why": "GPU x is left alone"}]},
    }
    monkeypatch.setattr(nvidia_driver_state.verdict, "judge", lambda *_arguments: {})
    result = run_module(nvidia_driver_state, **options)
    assert told == ["nvidia_driver_ignore: 10de:9999 is not an NVIDIA GPU of this host", "GPU x is left alone"]
    assert addresses(result["driver"]["gpus"]) == [CONSOLE, FIRST]


def test_a_gpu_that_is_left_out_and_driven_all_the_same_contradicts_nothing():
    found = {"gpus": [], "problems": []}
    found["gpus"] = [
        {"vendor": "0x10de", "pci_address": FIRST, "uuid": None, "mig": {"mode": None}, "driver_version": None}
    ]
    answer = "".join(
        f"{index}, GPU-{index}, 0000{address.upper()}, 143771, 9.0, Disabled, 580.95.05, 34, None, NVIDIA H200\n"
        for index, address in enumerate((FIRST, SECOND))
    )
    topology_nvidia.enrich(found, lambda arguments: answer if "--query-gpu" in arguments[0] else "", {SECOND})
    assert found["problems"] == []
    assert found["gpus"][0]["index"] == 0


IMPORTS = """
import importlib, sys
BROUGHT = ("yaml", "jinja2", "cryptography")
class Refuse:
    def find_spec(self, name, *_more):
        if name.partition(".")[0] in BROUGHT:
            raise ModuleNotFoundError(name)
import ansible.module_utils.basic, ansible.module_utils.urls
for name in [name for name in sys.modules if name.partition(".")[0] in BROUGHT]:
    del sys.modules[name]
sys.meta_path.insert(0, Refuse())
for module in sys.argv[1:]:
    try:
        importlib.import_module(f"ansible_collections.tfserving.fleet.plugins.modules.{module}")
    except ModuleNotFoundError as error:
        print(module, "needs", error)
"""


def test_no_module_needs_more_than_hosts_have():
    """Python's own library and what Ansible brings along: neither YAML nor Jinja is on a host."""
    modules = sorted(path.stem for path in MODULES.glob("*.py"))
    environment = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [sys.executable, "-B", "-c", IMPORTS, *modules], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr
