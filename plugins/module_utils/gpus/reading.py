# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Reads the input of `gpus.health`: the bus, the loaded driver, nvidia-smi's answers and the kernel log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..driver import state as driver_state
from ..host.run import Run
from ..host.sysfs import Tree
from ..nvidia import cells as nvidia_cells
from ..nvidia import devices as nvidia_devices
from ..nvidia import kernel_log
from ..nvidia import query as nvidia_query
from ..nvidia import state as gpu_state
from ..nvidia.query import Ask
from ..nvidia.smi import NvidiaSmiError

# Fields queried of each GPU, by the names that the checks use.
FIELDS = {
    "compute_cap": "compute_capability",
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
    "clocks_event_reasons.active": "throttle",
    gpu_state.RECOVERY: "recovery",
}
# GPUs since Ampere set rows aside, earlier ones pages; neither kind reports the other.
ROWS = {
    "remapped_rows.correctable": "rows_correctable",
    "remapped_rows.uncorrectable": "rows_uncorrectable",
    "remapped_rows.pending": "remap_pending",
    "remapped_rows.failure": "remap_failure",
}


def read(tree: Tree, ask: Ask, run: Run, saved_log: str | None = None, ignored: Sequence[str] = ()) -> dict[str, Any]:
    """Return the reading. ``saved_log`` is a file that replaces this boot's log, ``ignored`` are GPUs to leave out."""
    loaded = driver_state.loaded(tree)
    return {
        **nvidia_devices.devices(tree, ignored, loaded["version"]),
        "loaded": loaded,
        "library_version": driver_state.library_version(tree),
        "smi": answers(ask),
        "log": kernel_log.read(run, saved_log),
    }


def answers(ask: Ask) -> dict[str, Any]:
    """Return nvidia-smi's answers.

    ``gpus``: one dictionary each (None without nvidia-smi), with ``absent`` as in `nvidia.query`; ``remarks`` and
    ``cut_short``: lines that are not a GPU's; ``error`` and its ``code`` if it failed for all GPUs or some.
    """
    try:
        answer = nvidia_query.gpus(ask, tuple(FIELDS))
    except NvidiaSmiError as error:
        return {"gpus": None, "remarks": [], "cut_short": [], "error": str(error), "code": error.code}
    said: dict[str, Any] = {"gpus": None, "remarks": [], "cut_short": [], "error": "", "code": None}
    if answer is None:
        return said
    if answer.error:
        said.update(error=str(answer.error), code=answer.error.code)
    rows, refusal = _rows(ask) if answer.gpus else ({}, [])
    unasked = nvidia_cells.FAILED if refusal else nvidia_cells.LACKING
    gpus = [_gpu(gpu, rows.get(gpu["uuid"]), unasked) for gpu in answer.gpus]
    return {**said, "gpus": gpus, "remarks": answer.remarks + refusal, "cut_short": answer.cut_short}


def _rows(ask: Ask) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Return remapped rows by UUID, and the reason there are none if nvidia-smi failed."""
    try:
        rows = nvidia_query.rows(ask, "remapped-rows", ("gpu_uuid", *ROWS))
    except NvidiaSmiError as error:
        return {}, [str(error)]
    return {row["gpu_uuid"]: row for row in rows if row["gpu_uuid"]}, []


def _gpu(gpu: Mapping[str, Any], rows: Mapping[str, Any] | None, unasked: str) -> dict[str, Any]:
    """Return a GPU's answers by the checks' names; ``unasked`` is the reason why there are no ``rows``."""
    row = rows or {**dict.fromkeys(ROWS), "absent": dict.fromkeys(ROWS, unasked)}
    names = {**FIELDS, **ROWS}
    absent = {names.get(field, field): why for part in (gpu, row) for field, why in part["absent"].items()}
    told = {**gpu, **{field: row[field] for field in ROWS}, "absent": absent}
    return {names.get(field, field): value for field, value in told.items()}
