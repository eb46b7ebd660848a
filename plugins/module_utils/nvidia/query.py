# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Queries to nvidia-smi by field, as listed by ``nvidia-smi --help-query-gpu``; the answers are dictionaries.

Each driver branch has its own fields, and rejects a whole query for one unknown field: that field is dropped and the
rest asked again. docs/gpus.md lists the fields of each branch. https://docs.nvidia.com/deploy/nvidia-smi/ and
https://nvidia.custhelp.com/app/answers/detail/a_id/3751
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Optional

from ..visible_text import told
from . import cells as nvidia_cells
from . import pci_address
from .smi import ROW_BEGINS, NvidiaSmiError

# Arguments in, text out; None if nvidia-smi is not installed. Raises NvidiaSmiError.
Ask = Callable[[tuple[str, ...]], Optional[str]]

# The GPU that an answer is about. The name comes last because it is the only field that might contain a comma.
IDENTITY = ("index", "uuid", "pci.bus_id")
NAME = "name"
# Former names of fields, for drivers that do not know the present one.
OLDER_NAMES = {"clocks_event_reasons.active": "clocks_throttle_reasons.active"}  # until branch 530
FORMAT = "--format=csv,noheader,nounits"

# With a blank, unlike the decimal comma of a French locale.
_SEPARATOR = ", "
_BUS_ID = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]", re.IGNORECASE)
_UUID = re.compile(r"GPU-[0-9A-Za-z-]{1,64}")

# The driver supports 32 (NV_MAX_DEVICES of open-gpu-kernel-modules, nvlimits.h); far more cannot be its answer.
MOST_GPUS = 128
# A host of sixteen GPUs may print a warning for each, and the one that matters after them.
MOST_REMARKS = 40
LONGEST_REMARK = 200


class Answer(NamedTuple):
    """nvidia-smi's answer about a host's GPUs."""

    gpus: list[dict[str, Any]]
    """One dictionary per GPU, in its order: ``index``, ``uuid``, ``pci_address``, ``name`` and the fields, each a text
    or None, and ``absent``: for each field without a value the reason, as a word of nvidia_cells."""
    remarks: list[str]
    """Its other output, such as that an info ROM is damaged; one line each."""
    cut_short: list[str]
    """Rows with missing fields, as printed."""
    error: NvidiaSmiError | None = None
    """Its final failure, if it answered for some GPUs only."""


def gpus(ask: Ask, fields: Sequence[str]) -> Answer | None:
    """Query ``fields`` of all GPUs; return None if nvidia-smi is not installed. Raises NvidiaSmiError.

    If it fails for one GPU and answers for others, those are returned.
    """
    answer, asked, error = _asked(ask, "gpu", (*IDENTITY, *fields, NAME), keep=(*IDENTITY, NAME))
    if answer is None:
        return None
    found = Answer([], [], [], error)
    for line in filter(None, map(str.strip, answer.splitlines())):
        row = _row(line, fields, asked)
        if row and _is_gpu(row):
            found.gpus.append(_addressed(row))
        elif not _is_told(line, row, error) and len(found.remarks) + len(found.cut_short) < MOST_REMARKS:
            (found.cut_short if ROW_BEGINS.match(line) else found.remarks).append(told(line, LONGEST_REMARK))
    if error and not found.gpus:
        raise error
    if len(found.gpus) > MOST_GPUS:
        raise NvidiaSmiError(f"nvidia-smi reports {len(found.gpus)} GPUs, and no driver takes that many")
    _disown_shared(found.gpus)
    return found


def _is_told(line: str, row: Mapping[str, Any] | None, error: NvidiaSmiError | None) -> bool:
    """Return whether a line adds nothing: it is part of ``error``, or the row of a GPU about which nothing is known."""
    return " ".join(line.split()) in str(error or "") or bool(row and not any(row[field] for field in IDENTITY))


def rows(ask: Ask, kind: str, fields: Sequence[str], *options: str) -> list[dict[str, Any]]:
    """Return the answer to ``--query-KIND=fields``; empty if this driver does not have that query.

    Raises NvidiaSmiError if it has, and does not answer.
    """
    answer, asked, error = _asked(ask, kind, fields, (fields[0],), options)
    if error and error.unknown_option:
        return []
    found = [row for line in (answer or "").splitlines() if (row := _row(line, fields, asked))]
    if error and not found:
        raise error
    return found


def _asked(
    ask: Ask, kind: str, fields: Sequence[str], keep: Sequence[str], options: Sequence[str] = ()
) -> tuple[str | None, dict[str, str], NvidiaSmiError | None]:
    """Return the answer, the fields that this driver knows, each with the name that it uses, and its failure."""
    asked = {field: field for field in fields}
    while True:
        try:
            return ask((f"--query-{kind}={','.join(asked.values())}", FORMAT, *options)), asked, None
        except NvidiaSmiError as error:
            rest = _without(asked, error.unknown_field, keep)
            if rest is None:
                return error.said, asked, error
            asked = rest


def _without(asked: dict[str, str], refused: str | None, keep: Sequence[str]) -> dict[str, str] | None:
    """Return the remaining fields to ask; None if the refusal is not about a field that can be dropped."""
    field = next((field for field, name in asked.items() if name == refused), None)
    if field is None or field in keep:
        return None
    if OLDER_NAMES.get(field, refused) != refused:
        return {**asked, field: OLDER_NAMES[field]}
    return {other: name for other, name in asked.items() if other != field}


def _row(line: str, fields: Sequence[str], asked: dict[str, str]) -> dict[str, Any] | None:
    """Return a line's values by field; None if the line is not a row, or is incomplete."""
    texts = line.strip().split(_SEPARATOR, len(asked) - 1)
    if len(texts) != len(asked):
        return None
    unknown = nvidia_cells.Cell(None, nvidia_cells.NOT_ASKED)
    cells = {**dict.fromkeys(fields, unknown), **dict(zip(asked, map(nvidia_cells.read, texts)))}
    row: dict[str, Any] = {field: cell.value for field, cell in cells.items()}
    return {**row, "absent": {field: cell.absence for field, cell in cells.items() if cell.value is None}}


def _is_gpu(row: dict[str, Any]) -> bool:
    """Return whether a row of the right length is a GPU's: a remark may contain as many commas."""
    index, uuid, bus_id = (row[field] for field in IDENTITY)
    forms = ((r"\d{1,4}", index), (_UUID, uuid), (_BUS_ID, bus_id))
    return any((index, uuid, bus_id)) and all(value is None or re.fullmatch(form, value) for form, value in forms)


def _addressed(row: dict[str, Any]) -> dict[str, Any]:
    """Return a GPU with its PCI address in the notation of sysfs."""
    bus_id = row.pop("pci.bus_id")
    if bus_id is None:
        row["absent"]["pci_address"] = row["absent"].pop("pci.bus_id")
        return {**row, "pci_address": None}
    domain, _colon, place = bus_id.partition(":")
    return {**row, "pci_address": pci_address.normal(domain, place)}


def _disown_shared(found: Sequence[dict[str, Any]]) -> None:
    """Remove a UUID from all GPUs that share it: it identifies none of them."""
    counted = Counter(gpu["uuid"] for gpu in found)
    for gpu in found:
        if gpu["uuid"] and counted[gpu["uuid"]] > 1:
            gpu["uuid"], gpu["absent"]["uuid"] = None, nvidia_cells.FAILED
