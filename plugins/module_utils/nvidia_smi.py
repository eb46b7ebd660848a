# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What nvidia-smi knows about GPUs beyond sysfs: names, UUIDs, memory, MIG instances, versions.

The parsers are functions of text; `run` is the one place that starts the program.
https://docs.nvidia.com/deploy/nvidia-smi/ and https://docs.nvidia.com/datacenter/tesla/mig-user-guide/
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Collection
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.visible_text import visible

VENDOR = "0x10de"

# The name comes last because it is the one field that might hold a comma.
FIELDS = ("index", "uuid", "pci.bus_id", "memory.total", "compute_cap", "mig.mode.current", "driver_version", "name")
QUERY = (f"--query-gpu={','.join(FIELDS)}", "--format=csv,noheader,nounits")
LIST = ("-L",)
VERSION = ("--version",)

# "GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-...)", then below it, for each MIG instance,
# "  MIG 3g.20gb     Device  0: (UUID: MIG-...)".
_GPU_LINE = re.compile(r"GPU \d+:.*\(UUID: (?P<uuid>[^)]+)\)")
_MIG_LINE = re.compile(r"\s+MIG (?P<profile>\S+)\s+Device\s+(?P<index>\d+):\s+\(UUID: (?P<uuid>[^)]+)\)")

# "CUDA Version : 12.4"; drivers from 610 on write "CUDA UMD Version".
_CUDA_LINE = re.compile(r"CUDA (?:UMD )?version\s*:\s*(\d+(?:\.\d+)+)", re.IGNORECASE)


# The exit code for a damaged info ROM (serial numbers and error counts): a warning, all answers are there.
_INFOROM_CORRUPTED = 14


class NvidiaSmiError(RuntimeError):
    """nvidia-smi is there and did not answer; the text is what it said, on one line."""

    def __init__(self, message: str) -> None:
        super().__init__(visible(message))


def run(arguments: tuple[str, ...], timeout: float) -> str | None:
    """Starts nvidia-smi and returns what it printed; None where it is not installed.

    Raises NvidiaSmiError when it fails or takes more than `timeout` seconds.
    """
    try:
        process = subprocess.Popen(
            ["nvidia-smi", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
        )
    except OSError:
        return None
    try:
        # It prints its complaints on either stream.
        output, _none = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        # A process that waits inside a wedged driver outlives even this. It is not waited for: the host's facts must
        # not hang with it, and init takes it over.
        process.kill()
        raise NvidiaSmiError(f"nvidia-smi {arguments[0]} did not answer within {timeout:g} seconds") from None
    if process.returncode not in (0, _INFOROM_CORRUPTED):
        said = " ".join(output.split()) or "without a word"
        raise NvidiaSmiError(f"nvidia-smi {arguments[0]} failed with code {process.returncode}: {said}")
    return output


def enrich(
    topology: dict[str, Any], ask: Callable[[tuple[str, ...]], str | None], left_out: Collection[str] = ()
) -> None:
    """Adds what nvidia-smi knows to the GPUs of a topology, matched by PCI address, and to its versions.

    `ask` takes arguments and returns the text, as `run` does; `left_out` are addresses of GPUs that are none of ours.
    Where nvidia-smi fails, and where it and sysfs disagree,
    the topology's problems say so and the GPUs stay as sysfs shows them.
    """
    gpus = [gpu for gpu in topology["gpus"] if gpu["vendor"] == VENDOR]
    problems = topology["problems"]
    # Without such a GPU the program, where it is installed, would only complain that there is none.
    if not gpus:
        return
    try:
        answer = ask(QUERY)
        if answer is None:
            return
        known, remarks = parse_query(answer)
        problems.extend(visible(f"nvidia-smi says: {remark}") for remark in remarks)
        ours = {gpu["pci_address"]: gpu for gpu in known if gpu["pci_address"] not in left_out}
        _complete(gpus, ours, problems)
        topology["driver_version"] = next(filter(None, (gpu["driver_version"] for gpu in gpus)), None)
        topology["cuda_version"] = parse_version(ask(VERSION) or "")
        if any(gpu["mig"]["mode"] == "enabled" for gpu in gpus):
            instances = parse_list(ask(LIST) or "")
            for gpu in gpus:
                gpu["mig"]["instances"] = instances.get(gpu["uuid"], [])
    except NvidiaSmiError as error:
        problems.append(str(error))


def parse_query(text: str) -> tuple[list[dict[str, Any]], list[str]]:
    """The GPUs in the answer to QUERY with the topology keys that it knows of, and its remarks."""
    gpus: list[dict[str, Any]] = []
    remarks: list[str] = []
    for line in filter(None, map(str.strip, text.splitlines())):
        gpu = _parse_gpu(line)
        if gpu:
            gpus.append(gpu)
        else:
            remarks.append(line)
    return gpus, remarks


def parse_list(text: str) -> dict[str, list[dict[str, Any]]]:
    """The MIG instances in the answer to LIST by the UUID of their GPU: index, profile ("1g.5gb") and UUID."""
    instances: dict[str, list[dict[str, Any]]] = {}
    gpu: list[dict[str, Any]] = []
    for line in text.splitlines():
        if match := _GPU_LINE.match(line):
            gpu = instances.setdefault(match["uuid"], [])
        elif match := _MIG_LINE.match(line):
            gpu.append({"index": int(match["index"]), "profile": match["profile"], "uuid": match["uuid"]})
    return instances


def parse_version(text: str) -> str | None:
    """The newest CUDA version that the driver supports, from the answer to VERSION."""
    match = _CUDA_LINE.search(text)
    return match.group(1) if match else None


def pci_address(bus_id: str) -> str:
    """nvidia-smi's "00000000:3B:00.0" as sysfs writes it: lower case, the domain with four digits where they do."""
    domain, _colon, rest = bus_id.lower().partition(":")
    return f"{int(domain, 16):04x}:{rest}"


def _parse_gpu(line: str) -> dict[str, Any] | None:
    values = [_value(field) for field in line.split(",", len(FIELDS) - 1)]
    try:
        index, uuid, bus_id, memory, capability, mig, driver, name = values
        return {
            "index": int(index),
            "uuid": uuid,
            "name": name,
            "pci_address": pci_address(bus_id),
            # GPUs that share the host's memory (GB10, Jetson) have none of their own to report.
            "memory_mb": None if memory is None else int(memory),
            "compute_capability": capability,
            "mig": {"mode": mig and mig.lower(), "instances": []},
            "driver_version": driver,
        }
    except (AttributeError, TypeError, ValueError):
        return None


def _value(field: str) -> str | None:
    """A field's text; None for "[N/A]", "[Not Supported]", "[Unknown Error]" and whatever else stands in brackets."""
    field = field.strip()
    return None if field in ("", "N/A") or (field.startswith("[") and field.endswith("]")) else field


def _complete(gpus: list[dict[str, Any]], known: dict[str, dict[str, Any]], problems: list[str]) -> None:
    """Adds what is known to the GPUs with the same PCI address, and tells of those that only one side sees."""
    for gpu in gpus:
        address = gpu["pci_address"]
        # The driver numbers only the GPUs it drives, so a number counted from sysfs could be another GPU's.
        gpu.update(known.get(address, {"index": None}))
        if address not in known:
            why = "this driver does not drive it, another holds it, or it is broken"
            problems.append(f"GPU {address} is not known to nvidia-smi: {why}")
    for address in known.keys() - {gpu["pci_address"] for gpu in gpus}:
        problems.append(f"GPU {address} is known to nvidia-smi but not to sysfs")
