# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The GPUs by nvidia-smi: once a sample what changes, once what they are, and whose processes they run."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import Any

from ..host.sysfs import Tree
from ..nvidia import query, smi
from ..visible_text import told

SECONDS = 4.0
ASK = partial(smi.run, timeout=SECONDS)

REASONS = "clocks_event_reasons.active"
MOVING = {
    "utilization.gpu": "utilisation",
    "memory.used": "memory_used_mb",
    "temperature.gpu": "temperature",
    "power.draw": "power_w",
    "clocks.sm": "sm_mhz",
    "pcie.link.width.current": "pcie_width",
    "pcie.link.gen.current": "pcie_gen",
}
STANDING = {
    "memory.total": "memory_total_mb",
    "power.limit": "power_limit_w",
    "clocks.max.sm": "sm_max_mhz",
    "pcie.link.width.max": "pcie_width_max",
    "pcie.link.gen.max": "pcie_gen_max",
    "ecc.errors.uncorrected.volatile.total": "ecc_uncorrectable",
}
FLAGS = {"remapped_rows.pending": "remap_pending", "remapped_rows.failure": "remap_failed"}
TEXTS = {"pstate": "pstate", "driver_version": "driver", "mig.mode.current": "mig"}
MOST_PROCESSES = 64


def sample(ask: query.Ask = ASK) -> list[dict[str, Any]] | None:
    """Return of each GPU what changes while it works; None without nvidia-smi. Raises NvidiaSmiError."""
    answer = query.gpus(ask, (*MOVING, REASONS))
    return None if answer is None else [_moving(gpu) for gpu in answer.gpus]


def read(tree: Tree, ask: query.Ask = ASK) -> list[dict[str, Any]] | None:
    """Return the GPUs with their processes; None without nvidia-smi. Raises NvidiaSmiError."""
    answer = query.gpus(ask, (*MOVING, REASONS, *STANDING, *TEXTS, "persistence_mode"))
    if answer is None:
        return None
    rows = {row["gpu_uuid"]: row for row in query.rows(ask, "remapped-rows", ("gpu_uuid", *FLAGS))}
    running = query.rows(ask, "compute-apps", ("gpu_uuid", "pid", "used_memory"))[: MOST_PROCESSES * query.MOST_GPUS]
    return [_gpu(tree, gpu, rows.get(gpu["uuid"], {}), running) for gpu in answer.gpus]


def _moving(gpu: Mapping[str, Any]) -> dict[str, Any]:
    figures = {name: _number(gpu[field]) for field, name in MOVING.items()}
    return {"index": _number(gpu["index"]), "uuid": gpu["uuid"], **figures, "reasons": _bits(gpu[REASONS])}


def _gpu(tree: Tree, gpu: Mapping[str, Any], rows: Mapping[str, Any], running: list[dict[str, Any]]) -> dict[str, Any]:
    node = tree.number(f"sys/bus/pci/devices/{gpu['pci_address']}/numa_node") if gpu["pci_address"] else None
    own = [row for row in running if row["gpu_uuid"] == gpu["uuid"]][:MOST_PROCESSES]
    return {
        **_moving(gpu),
        "name": told(gpu["name"] or "", 100),
        "pci": gpu["pci_address"],
        "node": node if node is not None and node >= 0 else None,
        **{name: _number(gpu[field]) for field, name in STANDING.items()},
        **{name: told(gpu[field], 40) if gpu[field] else None for field, name in TEXTS.items()},
        "persistence": {"Enabled": True, "Disabled": False}.get(gpu["persistence_mode"] or ""),
        **{name: _flag(rows.get(field)) for field, name in FLAGS.items()},
        "processes": [{"pid": _number(row["pid"]), "memory_mb": _number(row["used_memory"])} for row in own],
    }


def _number(text: str | None) -> float | int | None:
    if not text or not re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,9})?", text):
        return None
    return float(text) if "." in text else int(text)


def _bits(text: str | None) -> int | None:
    return int(text, 16) if text and re.fullmatch(r"0x[0-9a-fA-F]{1,16}", text) else None


def _flag(text: str | None) -> bool | None:
    """Return a cell that is a word on new drivers and a count on others."""
    return {"Yes": True, "No": False, "1": True, "0": False}.get(text or "")
