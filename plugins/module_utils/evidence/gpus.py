# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Clocks of an instance's GPUs and what holds them back, from nvidia-smi."""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import partial
from typing import Any

from ..nvidia import query, smi

# It usually answers within half a second; a driver in trouble must not hold up anything.
TIMEOUT_S = 4.0
REASONS = "clocks_event_reasons.active"
FIELDS = {"clocks.sm": "sm_mhz", "clocks.mem": "memory_mhz", "temperature.gpu": "temperature", "power.draw": "power_w"}

# Bits that mean a fault or a limit (NvmlClocksEventReasons). Idle clocks (0x1) and clocks that somebody has set (0x2)
# are no throttling.
HELD_BACK = {
    0x4: "power limit",
    0x8: "hardware slowdown",
    0x20: "thermal slowdown by the driver",
    0x40: "thermal slowdown by the hardware",
    0x80: "power brake",
}


ASK = partial(smi.run, timeout=TIMEOUT_S)


def read(wanted: Collection[int | str], ask: query.Ask = ASK) -> Any:
    """Return the GPUs of an instance, a dictionary each; None without nvidia-smi or without its answer."""
    try:
        answer = query.gpus(ask, (*FIELDS, REASONS))
    except smi.NvidiaSmiError:
        return None
    if answer is None:
        return None
    return [_gpu(gpu) for gpu in chosen(answer.gpus, wanted)]


def chosen(gpus: list[dict[str, Any]], wanted: Collection[int | str]) -> list[dict[str, Any]]:
    """Return the GPUs of an instance. Of a MIG slice only the plan knows the GPU: then all."""
    return [gpu for gpu in gpus if gpu["uuid"] in wanted or _index(gpu["index"]) in wanted] or gpus


def _gpu(gpu: dict[str, Any]) -> dict[str, Any]:
    figures = {name: _number(gpu[field]) for field, name in FIELDS.items()}
    return {"index": _index(gpu["index"]), **figures, "reasons": _bits(gpu[REASONS])}


def _index(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() else None


def _number(text: str | None) -> float | None:
    return float(text) if text and re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text) else None


def _bits(text: str | None) -> int | None:
    return int(text, 16) if text and re.fullmatch(r"0x[0-9a-fA-F]{1,16}", text) else None
