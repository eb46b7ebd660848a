# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The GPUs, by nvidia-smi: one question a run, and a second one that takes turns.

What a driver does not know is asked once and then left out until another driver is loaded. An nvidia-smi that hangs is
given up after ``SECONDS`` and left alone for ``REST_S``, so that stuck processes do not pile up.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from ..disk import plain_files
from ..nvidia import cells, query, smi
from .host import Host, PartError, whole
from .sample import Samples, known, sample

SECONDS = 3.0
REST_S = 600.0

REASONS, OLDER_REASONS = "clocks_event_reasons.active", "clocks_throttle_reasons.active"
DRIVER = "driver_version"
# Fields of nvidia-smi, by metric, and what makes its unit ours.
FIGURES: Mapping[str, tuple[str, float]] = {
    "gpu_utilisation_ratio": ("utilization.gpu", 0.01),
    "gpu_memory_used_bytes": ("memory.used", 1 << 20),
    "gpu_memory_total_bytes": ("memory.total", 1 << 20),
    "gpu_temperature_celsius": ("temperature.gpu", 1),
    "gpu_power_watts": ("power.draw", 1),
    "gpu_power_limit_watts": ("power.limit", 1),
    "gpu_sm_clock_hertz": ("clocks.sm", 1e6),
    "gpu_sm_clock_max_hertz": ("clocks.max.sm", 1e6),
    "gpu_pcie_width": ("pcie.link.width.current", 1),
    "gpu_pcie_width_max": ("pcie.link.width.max", 1),
}
ECC = {
    "corrected": "ecc.errors.corrected.volatile.total",
    "uncorrectable": "ecc.errors.uncorrected.volatile.total",
}
PERSISTENCE = "persistence_mode"
FIELDS = (*(field for field, _unit in FIGURES.values()), *ECC.values(), PERSISTENCE, DRIVER, REASONS)
REMAPPED = {"gpu_remap_pending": "remapped_rows.pending", "gpu_remap_failed": "remapped_rows.failure"}
# The bits of clocks_event_reasons.active by NVIDIA's names (nvml.h, nvmlClocksEventReason*). The first two are no
# faults: a GPU without work, and clocks that somebody has chosen.
CLOCK_EVENTS = {
    0x01: "idle",
    0x02: "applications_clocks_setting",
    0x04: "sw_power_cap",
    0x08: "hw_slowdown",
    0x10: "sync_boost",
    0x20: "sw_thermal_slowdown",
    0x40: "hw_thermal_slowdown",
    0x80: "hw_power_brake_slowdown",
    0x100: "display_clock_setting",
}
_BITS = re.compile(r"0x[0-9a-fA-F]{1,16}")
_SLICE = re.compile(r"MIG-(GPU-[0-9A-Za-z-]{1,64})/")
_MOST_PROCESSES = 1000

_KEPT = {
    "driver": str,
    "fields": [str],
    "rest_until": (int, float),
    "turn": int,
    "remapped": {str: {str: bool}},
    "foreign": lambda value: value is None or plain_files.fits(value, {str: int}),
}
_BEGIN: dict[str, Any] = {"fields": list(FIELDS), "rest_until": 0.0, "turn": 0, "remapped": {}, "foreign": None}


def applies(host: Host) -> bool:
    """Return whether NVIDIA's driver is loaded, or the plan gives out GPUs."""
    return host.tree.exists("sys/module/nvidia") or bool(host.serves and planned(host))


def planned(host: Host) -> int:
    """Return how many GPUs the plan gives out. Slices of MIG count as one: their ids do not tell whose they are."""
    names = {str(name) for each in host.instances for name in each["gpus"]}
    return len({_parent(name) for name in names})


def _parent(name: str) -> str:
    older = _SLICE.match(name)
    return older[1] if older else "MIG" if name.startswith("MIG-") else name


def read(host: Host) -> Samples:
    """Yield the samples."""
    if host.serves:
        yield sample("gpus_planned", planned(host))
    kept = _kept(host)
    if kept["rest_until"] > host.now:
        raise PartError("nvidia-smi did not answer a while ago and is left alone for ten minutes")
    until = time.monotonic() + SECONDS
    try:
        answer, kept["fields"] = asked(kept["fields"], partial(_ask, until))
        kept = _second_question(host, kept, partial(_ask, until))
    except smi.NvidiaSmiError as error:
        if time.monotonic() >= until:
            kept["rest_until"] = host.now + REST_S
        host.state.keep("gpus", kept)
        raise PartError(str(error)) from error
    host.state.keep("gpus", kept)
    yield from told(host, answer, kept)
    if answer.error or answer.cut_short:
        raise PartError(str(answer.error or f"nvidia-smi cut a row short: {answer.cut_short[0]}"))


def _kept(host: Host) -> dict[str, Any]:
    driver = host.tree.text("sys/module/nvidia/version") or ""
    kept = host.state.section("gpus", _KEPT)
    return kept if kept.get("driver") == driver else {**_BEGIN, "driver": driver}


def _ask(until: float, arguments: tuple[str, ...]) -> str | None:
    return smi.run(arguments, max(0.1, until - time.monotonic()))


def asked(fields: Sequence[str], ask: query.Ask) -> tuple[query.Answer, list[str]]:
    """Return the answer, and the fields that this driver knows, by the names that it uses. Raises NvidiaSmiError."""
    last: list[str] = []

    def noted(arguments: tuple[str, ...]) -> str | None:
        last[:] = [arguments[0]]
        return ask(arguments)

    answer = query.gpus(noted, fields)
    if answer is None:
        raise smi.NvidiaSmiError("nvidia-smi is not installed")
    names = last[0].partition("=")[2].split(",")
    return answer, [name for name in names if name in (*FIELDS, OLDER_REASONS)]


def _second_question(host: Host, kept: Mapping[str, Any], ask: query.Ask) -> dict[str, Any]:
    """Return what is kept, with one of two further answers renewed: rows of memory, and processes on the GPUs."""
    if kept["turn"] % 2 == 0:
        rows = query.rows(ask, "remapped-rows", ("gpu_uuid", *REMAPPED.values()))
        remapped = {row["gpu_uuid"]: _remapped(row) for row in rows if row["gpu_uuid"]}
        return {**kept, "turn": 1, "remapped": remapped}
    rows = query.rows(ask, "compute-apps", ("gpu_uuid", "pid"))[:_MOST_PROCESSES]
    strangers = [row["gpu_uuid"] for row in rows if row["gpu_uuid"] and _is_foreign(host, row["pid"])]
    return {**kept, "turn": 0, "foreign": {uuid: strangers.count(uuid) for uuid in strangers}}


def _remapped(row: Mapping[str, Any]) -> dict[str, bool]:
    return {name: _is_yes(row[field]) for name, field in REMAPPED.items() if row[field] is not None}


def _is_yes(text: str) -> bool:
    """Return whether a flag is set; some drivers print the number of pending rows instead."""
    return text.lower() == "yes" or bool(cells.number(text))


def _is_foreign(host: Host, pid: str | None) -> bool:
    """Return whether a process is none of an instance's unit; one that has ended meanwhile does not count."""
    groups = host.tree.text(f"proc/{whole(pid)}/cgroup") if whole(pid) else None
    return groups is not None and "/tfserving@" not in groups


def told(host: Host, answer: query.Answer, kept: Mapping[str, Any]) -> Samples:
    """Yield the samples of an answer; what a GPU does not tell is left out."""
    yield sample("gpus", sum(cells.LOST not in gpu["absent"].values() for gpu in answer.gpus))
    owners = [(each["name"], {str(name) for name in each["gpus"]}) for each in host.instances] if host.serves else []
    for gpu in answer.gpus:
        if gpu["index"] is None:
            continue
        yield from _figures(gpu)
        yield from _events(gpu)
        uuid, index = gpu["uuid"] or "", gpu["index"]
        yield from known(kept["remapped"].get(uuid, {}), gpu=index)
        if kept["foreign"] is not None and host.serves:
            yield sample("gpu_foreign_processes", kept["foreign"].get(uuid, 0), gpu=index)
        for name, wanted in owners:
            if {uuid, index} & {_parent(each) for each in wanted}:
                yield sample("gpu_instance_info", 1, gpu=index, serving_instance=name)


def _figures(gpu: Mapping[str, Any]) -> Samples:
    index = gpu["index"]
    info = {name: gpu.get(field) or "" for name, field in (("uuid", "uuid"), ("name", "name"), ("driver", DRIVER))}
    yield sample("gpu_info", 1, gpu=index, pci=gpu["pci_address"] or "", **info)
    for metric, (field, unit) in FIGURES.items():
        figure = cells.number(gpu.get(field))
        yield from known({metric: None if figure is None else round(figure * unit, 6)}, gpu=index)
    for kind, field in ECC.items():
        yield from known({"gpu_ecc_errors_total": cells.number(gpu.get(field))}, gpu=index, kind=kind)
    persistence = gpu.get(PERSISTENCE)
    yield from known({"gpu_persistence": None if persistence is None else persistence == "Enabled"}, gpu=index)


def _events(gpu: Mapping[str, Any]) -> Samples:
    text = gpu.get(REASONS) or gpu.get(OLDER_REASONS) or ""
    if _BITS.fullmatch(text):
        bits = int(text, 16)
        for bit, reason in CLOCK_EVENTS.items():
            yield sample("gpu_clock_event", bool(bits & bit), gpu=gpu["index"], reason=reason)
