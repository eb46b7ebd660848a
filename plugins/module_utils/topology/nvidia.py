# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""nvidia-smi's additions to a topology from sysfs: names, UUIDs, memory, MIG instances, versions.

https://docs.nvidia.com/deploy/nvidia-smi/ and https://docs.nvidia.com/datacenter/tesla/mig-user-guide/
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ..nvidia import cells as nvidia_cells
from ..nvidia import query as nvidia_query
from ..nvidia import smi as nvidia_smi
from ..nvidia import state as gpu_state
from ..nvidia import xids
from ..nvidia.owned import VENDOR
from ..nvidia.query import Ask
from ..nvidia.smi import NvidiaSmiError
from ..visible_text import told
from .schema import Gpu, MigInstance, Topology

FIELDS = ("memory.total", "compute_cap", "mig.mode.current", "driver_version", *gpu_state.FIELDS)
LIST = ("-L",)
# Known since branch 550; without it the CUDA version stays unknown.
VERSION = ("--version",)

# Additionally: no driver (9), no library (12), a library of another version (18).
_NOT_OF_GPUS = nvidia_smi.UNASKED | {9, 12, 18}

# "GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-...)", followed for each MIG instance by " MIG 3g.20gb Device 0: (UUID:
# MIG-...)".
_GPU_LINE = re.compile(r"GPU \d+:.*\(UUID: (?P<uuid>[^)]+)\)")
_MIG_LINE = re.compile(r"\s+MIG (?P<profile>\S+)\s+Device\s+(?P<index>\d{1,3}):\s+\(UUID: (?P<uuid>[^)]+)\)")

# "CUDA Version : 12.4"; drivers since 610 write "CUDA UMD Version".
_CUDA_LINE = re.compile(r"CUDA (?:UMD )?version\s*:\s*(\d+(?:\.\d+)+)", re.IGNORECASE)
_CAPABILITY = re.compile(r"\d{1,2}\.\d{1,2}")
SILENT = "does not answer"
_MODES = {"Enabled": "enabled", "Disabled": "disabled"}


def enrich(topology: Topology, ask: Ask, left_out: Collection[str] = ()) -> None:
    """Add nvidia-smi's facts to the GPUs of a topology, matched by PCI address, and to its versions.

    `ask` takes arguments and returns the text, as `nvidia_smi.run` does; `left_out` are addresses of GPUs that are not
    ours. If nvidia-smi fails, or disagrees with sysfs, the topology's problems say so and the GPUs stay as sysfs shows
    them. An unusable GPU has no index, and ``why`` gives the reason.
    """
    gpus = [gpu for gpu in topology["gpus"] if gpu["vendor"] == VENDOR]
    # Without such a GPU nvidia-smi, if installed, would only complain that there is none.
    if not gpus:
        return
    problems = topology["problems"]
    try:
        answer = nvidia_query.gpus(ask, FIELDS)
        if answer is None:
            return
        problems.extend(f"nvidia-smi says: {remark}" for remark in answer.remarks)
        problems.extend(f"nvidia-smi cut a row short: {row}" for row in answer.cut_short)
        if answer.error:
            problems.append(str(answer.error))
        silent = gpu_state.addresses_in(str(answer.error or ""))
        _complete(gpus, [gpu for gpu in answer.gpus if gpu["pci_address"] not in left_out], silent, problems)
        topology["driver_version"] = next(filter(None, (gpu["driver_version"] for gpu in gpus)), None)
        _add_instances([gpu for gpu in gpus if gpu["mig"]["mode"] == "enabled"], ask, problems)
        topology["cuda_version"] = _cuda_version(ask)
    except NvidiaSmiError as error:
        problems.append(str(error))
        _disown(gpus, error)


def parse_list(text: str) -> dict[str, list[MigInstance]]:
    """Return the MIG instances in the answer to LIST by their GPU's UUID: index, profile ("1g.5gb") and UUID."""
    instances: dict[str, list[MigInstance]] = {}
    gpu: list[MigInstance] = []
    for line in text.splitlines():
        if match := _GPU_LINE.match(line):
            gpu = instances.setdefault(match["uuid"], [])
        elif match := _MIG_LINE.match(line):
            gpu.append({"index": int(match["index"]), "profile": match["profile"], "uuid": match["uuid"]})
    return instances


def parse_version(text: str) -> str | None:
    """Return the newest CUDA version that the driver supports, from the answer to VERSION."""
    match = _CUDA_LINE.search(text)
    return match.group(1) if match else None


def _add_instances(cut: list[Gpu], ask: Ask, problems: list[str]) -> None:
    """Add the MIG instances of partitioned GPUs; a GPU that does not report them cannot be used."""
    if not cut:
        return
    try:
        instances = parse_list(ask(LIST) or "")
    except NvidiaSmiError as error:
        problems.append(str(error))
        instances = parse_list(error.said)
        for gpu in cut:
            if gpu["uuid"] not in instances:
                gpu.update({"index": None, "why": "does not report its MIG instances"})
    for gpu in cut:
        gpu["mig"]["instances"] = instances.get(gpu["uuid"] or "", [])


def _cuda_version(ask: Ask) -> str | None:
    try:
        return parse_version(ask(VERSION) or "")
    except NvidiaSmiError as error:
        if error.unknown_option:
            return None
        raise


def _complete(gpus: list[Gpu], answered: list[dict[str, Any]], silent: Collection[str], problems: list[str]) -> None:
    """Add nvidia-smi's facts to the GPUs with the same PCI address, and report those that only one side sees.

    ``silent`` are the addresses of GPUs already reported by nvidia-smi as not answering.
    """
    known = {gpu["pci_address"]: gpu for gpu in answered if gpu["pci_address"]}
    problems.extend(
        f"{gpu_state.called(gpu)} does not report its PCI address, so that it is used for nothing"
        for gpu in answered
        if not gpu["pci_address"]
    )
    for gpu in gpus:
        address = gpu["pci_address"]
        # The driver numbers only its own GPUs, so a number counted from sysfs could be another GPU's.
        if address not in known:
            gpu["index"] = None
            if address in silent:
                gpu["why"] = SILENT
                continue
            why = "this driver does not drive it, another holds it, or it is broken"
            problems.append(f"GPU {address} is not known to nvidia-smi: {why}")
            continue
        _add_facts(gpu, known[address])
        trouble = _trouble(known[address])
        if trouble:
            gpu.update({"index": None, "why": trouble.why})
            problems.append(f"GPU {address} {trouble.why}; {xids.ADVICE[trouble.action]}")
    others = sorted(set(known) - {gpu["pci_address"] for gpu in gpus})
    problems.extend(f"GPU {address} is known to nvidia-smi but not to sysfs" for address in others)


def _trouble(gpu: Mapping[str, Any]) -> gpu_state.Trouble | None:
    """Return the reason against giving a GPU to a server, if any."""
    why = gpu_state.untold(gpu)
    return gpu_state.trouble(gpu) or (gpu_state.Trouble(why, xids.RESTART_HOST) if why else None)


def _add_facts(gpu: Gpu, answers: Mapping[str, Any]) -> None:
    """Add nvidia-smi's answers about a GPU, in the keys of a topology."""
    capability, memory = answers["compute_cap"] or "", nvidia_cells.number(answers["memory.total"])
    gpu.update(
        {
            "index": int(answers["index"]) if answers["index"] else None,
            "uuid": answers["uuid"],
            "name": answers["name"] and told(answers["name"], 100),
            # GPUs that share the host's memory (GB10, Jetson) have none of their own to report.
            "memory_mb": None if memory is None else int(memory),
            "compute_capability": capability if _CAPABILITY.fullmatch(capability) else None,
            "mig": {"mode": _MODES.get(answers["mig.mode.current"] or ""), "instances": []},
            "driver_version": answers["driver_version"],
        }
    )


def _disown(gpus: Sequence[Gpu], error: NvidiaSmiError) -> None:
    """Remove the indexes of the GPUs if nvidia-smi reported none of them.

    If it stops at one of them, its numbering of the others is unknown; if it hangs, none can be used. A driver that is
    not in force yet tells nothing about GPUs, and a plan can use them as they are on the bus.
    """
    if error.code in _NOT_OF_GPUS or any(gpu["uuid"] for gpu in gpus):
        return
    others = "nvidia-smi does not answer" if error.code is None else "nvidia-smi fails"
    silent = gpu_state.addresses_in(str(error)) & {gpu["pci_address"] for gpu in gpus}
    for gpu in gpus:
        why = SILENT if gpu["pci_address"] in silent else "was not asked, since another one does not answer"
        gpu.update({"index": None, "why": why if silent else others})
