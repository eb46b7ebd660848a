# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What nvidia-smi adds to a topology. The texts follow its manual, the MIG user guide and forms seen in bug reports."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.nvidia import pci_address
from ansible_collections.tfserving.fleet.plugins.module_utils.nvidia import smi as nvidia_smi
from ansible_collections.tfserving.fleet.plugins.module_utils.topology import nvidia as topology_nvidia
from machines import topology


def line(index, uuid, bus_id, memory, capability, mode, name):
    """A healthy GPU's row."""
    return f"{index}, GPU-{uuid}, {bus_id}, {memory}, {capability}, {mode}, 580.95.05, 34, None, {name}"


A100 = line(0, "5d5ba0d6-d33d-2b2c-524d-9e3d8d2b8a77", "00000000:3B:00.0", 40960, "8.0", "Enabled", "NVIDIA A100-SXM4")
H100 = line(1, "c6d4f1ef-42e4-5de3-91c7-45d71c87eb3f", "00000000:D8:00.0", 81559, "9.0", "Disabled", "NVIDIA H100")
T4 = line(2, "0f1c8f2e-9a38-6c39-a2a5-5a1b64b0d1ce", "00000000:AF:00.0", 15360, "7.5", "[N/A]", "Tesla T4")
GB10 = line(0, "1b724e78-eef5-4163-d43c-e4da15d41176", "0000000F:01:00.0", "[N/A]", "12.1", "[N/A]", "NVIDIA GB10")

LIST = """\
GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-5d5ba0d6-d33d-2b2c-524d-9e3d8d2b8a77)
  MIG 3g.20gb     Device  0: (UUID: MIG-c7384736-a75d-5afc-978f-d2f1294409fd)
  MIG 1c.3g.20gb  Device  1: (UUID: MIG-GPU-5d5ba0d6-d33d-2b2c-524d-9e3d8d2b8a77/1/0)
  MIG 1g.5gb+me   Device 12: (UUID: MIG-a28ad590-3fda-56dd-84fc-0a0b96edc58d)
GPU 1: NVIDIA H100 PCIe (UUID: GPU-c6d4f1ef-42e4-5de3-91c7-45d71c87eb3f)
"""

VERSION = """\
NVIDIA-SMI version  : 550.54.15
NVML version        : 550.54
DRIVER version      : 550.54.15
CUDA Version        : 12.4
"""


def host(*addresses, **gpu):
    return topology(gpus=[{"pci_address": address, **gpu} for address in addresses])


def answering(**answers):
    """Stands in for the program: what it answers to --query-gpu (query), -L (listing) and --version (version)."""
    texts = {"-L": "listing", "--version": "version"}

    def ask(arguments):
        answer = answers.get(texts.get(arguments[0], "query"))
        if isinstance(answer, Exception):
            raise answer
        return answer

    return ask


def test_a_name_may_hold_commas():
    found = host("0000:3b:00.0")
    topology_nvidia.enrich(found, answering(query=f"{A100}, 40GB, rev. A"))
    assert found["gpus"][0]["name"] == "NVIDIA A100-SXM4, 40GB, rev. A"


@pytest.mark.parametrize(
    ("bus_id", "address"),
    [("00000000:3B:00.0", "0000:3b:00.0"), ("0000000F:01:00.0", "000f:01:00.0"), ("00010000:01:00.0", "10000:01:00.0")],
)
def test_bus_ids_are_written_as_sysfs_writes_them(bus_id, address):
    assert pci_address.normal(*bus_id.split(":", 1)) == address


def test_mig_instances_are_read_below_their_gpu():
    assert topology_nvidia.parse_list(LIST) == {
        "GPU-5d5ba0d6-d33d-2b2c-524d-9e3d8d2b8a77": [
            {"index": 0, "profile": "3g.20gb", "uuid": "MIG-c7384736-a75d-5afc-978f-d2f1294409fd"},
            {"index": 1, "profile": "1c.3g.20gb", "uuid": "MIG-GPU-5d5ba0d6-d33d-2b2c-524d-9e3d8d2b8a77/1/0"},
            {"index": 12, "profile": "1g.5gb+me", "uuid": "MIG-a28ad590-3fda-56dd-84fc-0a0b96edc58d"},
        ],
        "GPU-c6d4f1ef-42e4-5de3-91c7-45d71c87eb3f": [],
    }


@pytest.mark.parametrize(
    ("text", "version"),
    [(VERSION, "12.4"), ("CUDA UMD Version    : 13.1", "13.1"), ("CUDA Version : N/A", None), ("", None)],
)
def test_the_cuda_version_is_read_in_its_old_and_new_spelling(text, version):
    assert topology_nvidia.parse_version(text) == version


class TestEnrich:
    def test_gpus_are_matched_by_their_address_not_by_their_order(self):
        found = host("0000:3b:00.0", "0000:af:00.0", "0000:d8:00.0")
        query = "\n".join([A100, H100, T4])
        topology_nvidia.enrich(found, answering(query=query, version=VERSION, listing=LIST))
        assert [(gpu["pci_address"], gpu["index"], gpu["name"]) for gpu in found["gpus"]] == [
            ("0000:3b:00.0", 0, "NVIDIA A100-SXM4"),
            ("0000:af:00.0", 2, "Tesla T4"),
            ("0000:d8:00.0", 1, "NVIDIA H100"),
        ]
        assert [len(gpu["mig"]["instances"]) for gpu in found["gpus"]] == [3, 0, 0]
        assert (found["driver_version"], found["cuda_version"], found["problems"]) == ("580.95.05", "12.4", [])

    def test_places_from_sysfs_stay(self):
        found = topology(gpus=[{"pci_address": "000f:01:00.0", "node": 1}])
        topology_nvidia.enrich(found, answering(query=GB10))
        gpu = found["gpus"][0]
        assert (gpu["node"], gpu["local_cpus"], gpu["memory_mb"]) == (1, found["nodes"][1]["cpus"], None)

    def test_where_it_is_not_installed_nothing_changes(self):
        found = host("0000:3b:00.0")
        topology_nvidia.enrich(found, answering(query=None))
        assert found == host("0000:3b:00.0")

    @pytest.mark.parametrize("gpus", [[], [{"vendor": "0x1234"}]])
    def test_without_an_nvidia_gpu_it_is_not_asked(self, gpus):
        found = topology(gpus=gpus)
        topology_nvidia.enrich(found, answering(query=nvidia_smi.NvidiaSmiError("No devices were found")))
        assert found == topology(gpus=gpus)

    def test_its_failure_is_a_problem_and_sysfs_remains(self):
        found = host("0000:3b:00.0")
        topology_nvidia.enrich(found, answering(query=nvidia_smi.NvidiaSmiError("nvidia-smi failed: no driver", 9)))
        assert found.pop("problems") == ["nvidia-smi failed: no driver"]
        assert found["gpus"] == host("0000:3b:00.0")["gpus"]

    @pytest.mark.parametrize("code", [6, 15, 255])
    def test_gpus_that_the_driver_does_not_find_are_not_offered(self, code):
        found = host("0000:3b:00.0")
        topology_nvidia.enrich(found, answering(query=nvidia_smi.NvidiaSmiError("nvidia-smi failed", code)))
        assert found["gpus"][0]["index"] is None

    def test_a_late_failure_keeps_what_was_answered_before(self):
        found = host("0000:3b:00.0")
        topology_nvidia.enrich(found, answering(query=A100, version=VERSION, listing=nvidia_smi.NvidiaSmiError("lost")))
        assert found["gpus"][0]["uuid"] == "GPU-5d5ba0d6-d33d-2b2c-524d-9e3d8d2b8a77"
        assert found["problems"] == ["lost"]

    def test_a_gpu_that_does_not_tell_its_instances_is_used_for_nothing(self):
        found = host("0000:3b:00.0", "0000:d8:00.0")
        silent = nvidia_smi.NvidiaSmiError("nvidia-smi -L did not answer within 30 seconds")
        topology_nvidia.enrich(found, answering(query=f"{A100}\n{H100}", version=VERSION, listing=silent))
        assert [(gpu["index"], gpu["why"]) for gpu in found["gpus"]] == [
            (None, "does not report its MIG instances"),
            (1, None),
        ]
        assert (found["problems"], found["cuda_version"]) == ([str(silent)], "12.4")

    def test_a_driver_that_hangs_is_asked_once(self):
        asked = []

        def ask(arguments):
            asked.append(arguments)
            raise nvidia_smi.NvidiaSmiError("nvidia-smi --query-gpu did not answer within 30 seconds")

        found = host("0000:3b:00.0")
        topology_nvidia.enrich(found, ask)
        assert (len(asked), found["problems"]) == (1, ["nvidia-smi --query-gpu did not answer within 30 seconds"])
        assert [(gpu["index"], gpu["why"]) for gpu in found["gpus"]] == [(None, "nvidia-smi does not answer")]

    def test_a_gpu_that_only_sysfs_shows_loses_its_number(self):
        found = host("0000:01:00.0", "0000:3b:00.0")
        topology_nvidia.enrich(found, answering(query=A100))
        assert [gpu["index"] for gpu in found["gpus"]] == [None, 0]
        assert found["problems"] == [
            "GPU 0000:01:00.0 is not known to nvidia-smi: this driver does not drive it, another holds it, or it is"
            " broken"
        ]

    def test_a_gpu_that_only_the_driver_shows_is_reported(self):
        found = host("0000:3b:00.0")
        topology_nvidia.enrich(found, answering(query=f"{A100}\n{H100}"))
        assert len(found["gpus"]) == 1
        assert found["problems"] == ["GPU 0000:d8:00.0 is known to nvidia-smi but not to sysfs"]

    def test_its_remarks_are_passed_on(self):
        found = host("0000:3b:00.0")
        topology_nvidia.enrich(found, answering(query=f"{A100}\nWARNING: infoROM is corrupted at gpu 0000:3B:00.0"))
        assert found["problems"] == ["nvidia-smi says: WARNING: infoROM is corrupted at gpu 0000:3B:00.0"]
