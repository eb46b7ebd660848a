# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The health of a GPU's memory: ECC errors, and rows or pages set aside. Pure functions.

A feature that a GPU lacks is no concern; one that it has but could not report is unknown, never healthy.
https://docs.nvidia.com/deploy/a100-gpu-mem-error-mgmt/ and https://docs.nvidia.com/deploy/dynamic-page-retirement/
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..nvidia import cells as nvidia_cells
from ..nvidia import xids
from ..nvidia.cells import number
from .findings import CRITICAL, INFO, PASS, UNKNOWN, WARNING, Finding

# GPUs since Ampere (compute capability 8.0) set rows aside, earlier ones pages.
_ROWS_SINCE = 8.0
_SET_ASIDE = (
    *("rows_uncorrectable", "rows_correctable", "remap_pending", "remap_failure"),
    *("pages_double", "pages_single", "pages_pending"),
)
# vGPUs are named after their profile ("GRID V100D-8C", "NVIDIA A16-1-2B"); their host looks after their memory.
_VIRTUAL = re.compile(r"GRID |.*-\d+[ABCQ](ME)?$")
# The maximum of pages set aside: DCGM's limit, that of the field diagnostic (DCGM_LIMIT_MAX_RETIRED_PAGES).
_MOST_PAGES = 63


def findings(gpu: Mapping[str, Any]) -> list[Finding]:
    """Return the findings on a GPU, in the keys of `gpus.reading`."""
    return [*_ecc_mode(gpu), _ecc(gpu), _set_aside(gpu)]


def _ecc_mode(gpu: Mapping[str, Any]) -> list[Finding]:
    now, after = gpu["ecc_mode"], gpu["ecc_pending"]
    if now is None or after is None or now == after:
        return []
    detail = f"ECC is {now.lower()} and will be {after.lower()} after a reset"
    return [Finding("ecc_mode", WARNING, detail, gpu["pci_address"], xids.RESET_GPU)]


def _ecc(gpu: Mapping[str, Any]) -> Finding:
    address = gpu["pci_address"]
    corrected, uncorrected = number(gpu["corrected"]), number(gpu["uncorrected"])
    if uncorrected:
        detail = f"{uncorrected:.0f} memory errors that ECC could not correct since the driver was loaded"
        return Finding("ecc", CRITICAL, detail, address, xids.RESET_GPU)
    if _failed(gpu, "ecc_mode"):
        return Finding("ecc", UNKNOWN, "the driver could not tell whether ECC is on", address)
    if gpu["ecc_mode"] != "Enabled" and uncorrected is None:
        return Finding("ecc", PASS, "no ECC to ask" if gpu["ecc_mode"] is None else "ECC is off", address)
    if uncorrected is None and _is_virtual(gpu) and not _failed(gpu, "uncorrected", "corrected"):
        return Finding("ecc", INFO, "the memory errors of a vGPU are counted on its host", address)
    if uncorrected is None or _failed(gpu, "corrected"):
        return Finding("ecc", UNKNOWN, "ECC is on, and its counters could not be queried", address)
    if corrected:
        return Finding("ecc", INFO, f"{corrected:.0f} memory errors, all corrected", address)
    return Finding("ecc", PASS, "no memory errors", address)


def _set_aside(gpu: Mapping[str, Any]) -> Finding:
    address = gpu["pci_address"]
    rows = sum(number(gpu[part]) or 0 for part in ("rows_uncorrectable", "rows_correctable"))
    pages = sum(number(gpu[part]) or 0 for part in ("pages_double", "pages_single"))
    if _is_yes(gpu["remap_failure"]):
        detail = "a bad memory row could not be set aside"
        return Finding("retired_memory", CRITICAL, detail, address, xids.CONTACT_SUPPORT)
    if pages >= _MOST_PAGES:
        detail = f"{pages:.0f} bad pages of memory are set aside, and NVIDIA's limit is {_MOST_PAGES}"
        return Finding("retired_memory", CRITICAL, detail, address, xids.CONTACT_SUPPORT)
    if _is_yes(gpu["remap_pending"]) or _is_yes(gpu["pages_pending"]):
        detail = "bad memory is set aside at the next reset"
        return Finding("retired_memory", WARNING, detail, address, xids.RESET_GPU)
    if _failed(gpu, *_SET_ASIDE):
        return Finding("retired_memory", UNKNOWN, "whether bad memory is set aside could not be queried", address)
    if all(gpu[part] is None for part in _SET_ASIDE):
        return _nothing_told(gpu)
    if rows + pages:
        return Finding("retired_memory", INFO, f"{rows + pages:.0f} bad rows or pages of memory are set aside", address)
    return Finding("retired_memory", PASS, "no memory is set aside", address)


def _nothing_told(gpu: Mapping[str, Any]) -> Finding:
    """Return the finding on a GPU that reports neither rows nor pages."""
    address = gpu["pci_address"]
    if gpu["ecc_mode"] != "Enabled":
        return Finding("retired_memory", PASS, "no memory that could be set aside", address)
    if gpu["mig"] == "Enabled":
        detail = "whether bad memory is set aside is not reported while MIG is on"
        return Finding("retired_memory", INFO, detail, address)
    has_rows = (number(gpu["compute_capability"]) or 0) >= _ROWS_SINCE and not _is_virtual(gpu)
    detail = "the driver does not report whether bad memory is set aside"
    return Finding("retired_memory", UNKNOWN if has_rows else INFO, detail, address)


def _is_virtual(gpu: Mapping[str, Any]) -> bool:
    return bool(_VIRTUAL.match(gpu["name"] or ""))


def _is_yes(text: str | None) -> bool:
    """Return whether a flag is set; some drivers print the number of pending rows instead."""
    return (text or "").lower() == "yes" or bool(number(text))


def _failed(gpu: Mapping[str, Any], *fields: str) -> bool:
    """Return whether the driver has one of the fields, and could not or would not report it."""
    answered = (None, nvidia_cells.LACKING, nvidia_cells.NOT_ASKED)
    return any(gpu["absent"].get(field) not in answered for field in fields)
