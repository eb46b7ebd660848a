# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Reads what `gpu_health` judges: the bus, the loaded driver, nvidia-smi's answers and the kernel log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils import driver_state, kernel_log, nvidia_query
from ansible_collections.tfserving.fleet.plugins.module_utils.nvidia_query import Ask
from ansible_collections.tfserving.fleet.plugins.module_utils.nvidia_smi import NvidiaSmiError
from ansible_collections.tfserving.fleet.plugins.module_utils.process_facts import Run
from ansible_collections.tfserving.fleet.plugins.module_utils.sysfs import Tree

# What is asked of each GPU, under the names that the checks use.
FIELDS = {
    "ecc.mode.current": "ecc_mode",
    "ecc.mode.pending": "ecc_pending",
    "ecc.errors.corrected.volatile.total": "corrected",
    "ecc.errors.uncorrected.volatile.total": "uncorrected",
    "retired_pages.single_bit_ecc.count": "pages_single",
    "retired_pages.double_bit.count": "pages_double",
    "retired_pages.pending": "pages_pending",
    "mig.mode.current": "mig",
    "persistence_mode": "persistence",
    "temperature.gpu": "temperature",
    "power.draw": "power",
}
# Called "throttle reasons" until branch 535, "event reasons" since.
THROTTLE_FIELDS = ("clocks_event_reasons.active", "clocks_throttle_reasons.active")
# GPUs since Ampere set rows aside, those before pages; each has nothing to say of the other.
ROWS = {
    "remapped_rows.correctable": "rows_correctable",
    "remapped_rows.uncorrectable": "rows_uncorrectable",
    "remapped_rows.pending": "remap_pending",
    "remapped_rows.failure": "remap_failure",
}


def read(tree: Tree, ask: Ask, run: Run, saved_log: str | None = None, ignored: Sequence[str] = ()) -> dict[str, Any]:
    """Return the reading. ``saved_log`` is a file in place of this boot's log, ``ignored`` are GPUs to leave out."""
    return {
        **driver_state.devices(tree, ignored),
        "loaded": driver_state.loaded(tree),
        "library_version": driver_state.library_version(tree),
        "smi": answers(ask),
        "log": kernel_log.read(run, saved_log),
    }


def answers(ask: Ask) -> dict[str, Any]:
    """Return ``gpus``, one dictionary each (None without nvidia-smi), and its ``error`` where it refused."""
    try:
        gpus = _gpus(ask)
        if gpus:
            by_uuid = {row["gpu_uuid"]: row for row in nvidia_query.rows(ask, "remapped-rows", ("gpu_uuid", *ROWS))}
            for gpu in gpus:
                rows = by_uuid.get(gpu["uuid"], {})
                gpu.update({name: rows.get(field) for field, name in ROWS.items()})
        return {"gpus": gpus, "error": ""}
    except NvidiaSmiError as error:
        return {"gpus": None, "error": str(error)}


def _gpus(ask: Ask) -> list[dict[str, Any]] | None:
    """Ask with the newer name of the throttle reasons, and with the older one where the driver does not know it."""
    try:
        rows = nvidia_query.gpus(ask, (*FIELDS, THROTTLE_FIELDS[0]))
    except NvidiaSmiError as error:
        if "not a valid field" not in str(error):
            raise
        rows = nvidia_query.gpus(ask, (*FIELDS, THROTTLE_FIELDS[1]))
    names = {**FIELDS, **dict.fromkeys(THROTTLE_FIELDS, "throttle")}
    return None if rows is None else [{names.get(key, key): value for key, value in row.items()} for row in rows]
