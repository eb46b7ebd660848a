# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Recorded GPUs (recorded_gpus.yml) behind the simulated nvidia-smi, which answers as their branch does."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml
from ansible_collections.tfserving.fleet.plugins.module_utils.gpus import findings as gpu_findings
from ansible_collections.tfserving.fleet.plugins.module_utils.gpus import health as gpu_health
from ansible_collections.tfserving.fleet.plugins.module_utils.gpus import reading as gpu_reading
from ansible_collections.tfserving.fleet.plugins.module_utils.nvidia import smi as nvidia_smi
from ansible_collections.tfserving.fleet.plugins.module_utils.topology import nvidia as topology_nvidia
from machines import topology
from repository import REPOSITORY

RECORDED = yaml.safe_load(Path(__file__).with_suffix(".yml").read_text(encoding="utf-8"))
COLUMNS = RECORDED["columns"].split()
MACHINES = {machine["name"]: machine for machine in RECORDED["machines"]}
QUIET_LOG = ["Linux version 6.1.0", "NVRM: loading NVIDIA UNIX x86_64 Kernel Module"]


def simulated(name: str = "nvidia_smi") -> ModuleType:
    """A module of the simulated machine."""
    folder = str(REPOSITORY / "lab" / "simulated_gpu")
    if folder not in sys.path:
        sys.path.append(folder)
    return importlib.import_module(name)


def gpu(name: str, index: int = 0, /, **cells: Any) -> dict[str, Any]:
    """A recorded GPU as the simulated machine keeps one, with some cells changed."""
    machine = MACHINES[name]
    row = {field: "[N/A]" if cell is None else cell for field, cell in zip(COLUMNS, machine["gpu"])}
    others = {} if index == 0 else {"index": str(index), "address": f"0000:{0x80 + index:02x}:00.0"}
    uuid = f"GPU-00000000-0000-0000-0000-{index:012d}"
    return {**row, "uuid": uuid, "mig": machine.get("mig", []), **others, **cells}


def host(driver: str, *gpus: dict[str, Any], **state: Any) -> dict[str, Any]:
    """A machine whose driver has a version."""
    return {"library": driver, "loaded": driver, "gpus": list(gpus), **state}


def recorded(name: str) -> dict[str, Any]:
    """A recorded machine."""
    return host(MACHINES[name]["driver"], gpu(name))


def asking(machine: dict[str, Any]) -> Callable[[tuple[str, ...]], str]:
    """What `nvidia_smi.run` would be on such a machine; ``asked`` are the questions so far."""

    def ask(arguments: tuple[str, ...]) -> str:
        ask.asked.append(arguments)
        code, answer = simulated().respond(machine, list(arguments))
        remarks = "".join(f"{line}\n" for line in machine.get("says", {}).get("errors", []))
        return nvidia_smi.interpreted(f"nvidia-smi {arguments[0].partition('=')[0]}", code, answer, remarks)

    ask.asked = []
    return ask


def on_bus(machine: dict[str, Any]) -> list[str]:
    """The PCI addresses of a machine's GPUs."""
    return [each["address"] for each in machine["gpus"]]


def facts(machine: dict[str, Any]) -> dict[str, Any]:
    """The topology of such a machine."""
    found = topology(gpus=[{"pci_address": address} for address in on_bus(machine)])
    topology_nvidia.enrich(found, asking(machine))
    return found


def findings(machine: dict[str, Any], expected: int | None = None) -> list[gpu_findings.Finding]:
    """The findings on such a machine whose kernel log is quiet."""
    loaded = {"version": machine["loaded"], "modules": ["nvidia", "nvidia_uvm"], "nouveau": False}
    bus = [{"pci_address": address} for address in on_bus(machine)]
    reading = {"gpus": bus, "loaded": loaded, "library_version": machine["library"], "log": QUIET_LOG}
    return gpu_health.examine({**reading, "smi": gpu_reading.answers(asking(machine))}, expected)
