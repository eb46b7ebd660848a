# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Whether a host's GPUs are fit to serve: findings with a status each, from what was read of driver, GPUs and log.

Statuses and the ladder of actions follow NVIDIA's own health checks (docs.nvidia.com/health-validation): a finding says
what is the case and recommends, nobody acts on it here. The functions are pure; `gpu_reading` reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils import xid_findings, xids
from ansible_collections.tfserving.fleet.plugins.module_utils.gpu_findings import (
    CRITICAL,
    INFO,
    ORDER,
    PASS,
    UNKNOWN,
    WARNING,
    Finding,
)
from ansible_collections.tfserving.fleet.plugins.module_utils.nvidia_query import number

# clocks_event_reasons.active is a set of bits (nvml.h, nvmlClocksEventReasons); a reason is here with what it means.
THROTTLE_REASONS: dict[int, tuple[str, str]] = {
    0x01: ("idle", PASS),
    0x02: ("clocks set by an application", INFO),
    # An ordinary state under full load: the power limit is there to be reached.
    0x04: ("power limit", INFO),
    0x08: ("hardware slowdown (heat, power brake or a drawn current too high)", CRITICAL),
    0x10: ("synchronised with other GPUs", INFO),
    0x20: ("software thermal slowdown", WARNING),
    0x40: ("hardware thermal slowdown", CRITICAL),
    0x80: ("power brake by the host", CRITICAL),
    0x100: ("display clocks", PASS),
}


def examine(reading: Mapping[str, Any], expected: int | None) -> list[Finding]:
    """Return all findings.

    :param reading: what `gpu_reading.read` returns.
    :param expected: how many GPUs there should be; None for as many as are on the bus.
    """
    answer = reading["smi"]
    findings = [_loaded(reading), _versions(reading)]
    if answer["error"]:
        findings.append(Finding("nvidia_smi", CRITICAL, answer["error"], action=xids.RESTART_HOST))
    elif answer["gpus"] is None:
        findings.append(Finding("nvidia_smi", UNKNOWN, "nvidia-smi is not installed, so the GPUs could not be asked"))
    else:
        findings.append(_count(reading, expected))
        left_out = {gpu["pci_address"] for gpu in reading.get("left_out", ())}
        for gpu in (gpu for gpu in answer["gpus"] if gpu["pci_address"] not in left_out):
            findings += [*_memory(gpu), _throttle(gpu)]
    return [*findings, *xid_findings.findings(reading["log"])]


def _loaded(reading: Mapping[str, Any]) -> Finding:
    loaded = reading["loaded"]
    if loaded["nouveau"]:
        return Finding("modules", CRITICAL, "nouveau holds the GPUs", action=xids.RESTART_HOST)
    if loaded["version"] is None:
        return Finding("modules", CRITICAL, "the module nvidia is not loaded", action=xids.RESTART_HOST)
    if "nvidia_uvm" not in loaded["modules"]:
        return Finding("modules", WARNING, "the module nvidia_uvm is not loaded, which CUDA needs")
    return Finding("modules", PASS, f"driver {loaded['version']} is loaded")


def _versions(reading: Mapping[str, Any]) -> Finding:
    kernel, library = reading["loaded"]["version"], reading["library_version"]
    if not kernel or not library:
        return Finding("versions", UNKNOWN, "there are no two versions to compare")
    if kernel != library:
        detail = f"the kernel runs driver {kernel}, and the libraries are {library}"
        return Finding("versions", CRITICAL, detail, action=xids.RESTART_HOST)
    return Finding("versions", PASS, f"kernel and libraries are both {kernel}")


def _count(reading: Mapping[str, Any], expected: int | None) -> Finding:
    left_out = {gpu["pci_address"] for gpu in reading.get("left_out", ())}
    known = {gpu["pci_address"] for gpu in reading["smi"]["gpus"]} - left_out
    on_bus = [gpu["pci_address"] for gpu in reading["gpus"] if gpu["pci_address"] not in left_out]
    lost = [address for address in on_bus if address not in known]
    wanted = len(on_bus) if expected is None else expected
    if lost:
        detail = f"the driver does not drive {', '.join(lost)}"
        return Finding("count", CRITICAL, detail, gpu=lost[0], action=xids.RESTART_HOST)
    if len(known) != wanted:
        detail = f"the driver knows {len(known)} GPUs, and {wanted} are expected"
        return Finding("count", CRITICAL, detail, action=xids.RESTART_HOST)
    return Finding("count", PASS, f"{wanted} GPUs, as expected")


def _memory(gpu: Mapping[str, Any]) -> list[Finding]:
    """Return the findings on memory: errors since the driver was loaded, and rows or pages that were set aside."""
    address = gpu["pci_address"]
    findings = []
    if gpu["ecc_mode"] is not None and gpu["ecc_mode"] != gpu["ecc_pending"]:
        detail = f"ECC is {str(gpu['ecc_mode']).lower()} and will be {str(gpu['ecc_pending']).lower()} after a reset"
        findings.append(Finding("ecc_mode", WARNING, detail, address, xids.RESET_GPU))
    uncorrected = number(gpu["uncorrected"])
    if uncorrected:
        detail = f"{uncorrected:.0f} memory errors that ECC could not correct since the driver was loaded"
        findings.append(Finding("ecc", CRITICAL, detail, address, xids.RESET_GPU))
    elif number(gpu["corrected"]):
        findings.append(Finding("ecc", INFO, f"{number(gpu['corrected']):.0f} memory errors, all corrected", address))
    else:
        findings.append(Finding("ecc", PASS, "no memory errors" if uncorrected == 0 else "no ECC to ask", address))
    return [*findings, *_set_aside(gpu)]


def _set_aside(gpu: Mapping[str, Any]) -> list[Finding]:
    address = gpu["pci_address"]
    if gpu["remap_failure"] in ("Yes", "1"):
        detail = "a bad memory row could not be set aside"
        return [Finding("retired_memory", CRITICAL, detail, address, xids.CONTACT_SUPPORT)]
    if gpu["remap_pending"] in ("Yes", "1") or gpu["pages_pending"] == "Yes":
        return [
            Finding("retired_memory", WARNING, "bad memory is set aside at the next reset", address, xids.RESET_GPU)
        ]
    parts = ("rows_uncorrectable", "rows_correctable", "pages_double", "pages_single")
    count = sum(number(gpu[part]) or 0 for part in parts)
    if count:
        return [Finding("retired_memory", INFO, f"{count:.0f} bad rows or pages of memory are set aside", address)]
    return [Finding("retired_memory", PASS, "no memory is set aside", address)]


def _throttle(gpu: Mapping[str, Any]) -> Finding:
    address = gpu["pci_address"]
    try:
        bits = int(str(gpu["throttle"]), 16)
    except ValueError:
        return Finding("throttle", UNKNOWN, "the driver does not tell why clocks are as they are", address)
    active = [reason for bit, reason in THROTTLE_REASONS.items() if bits & bit]
    worst = max((status for _words, status in active), key=ORDER.index, default=PASS)
    told = [words for words, status in active if status != PASS]
    if not told:
        return Finding("throttle", PASS, "clocks are not held back", address)
    action = xids.CHECK_MECHANICALS if worst == CRITICAL else ""
    return Finding("throttle", worst, f"clocks are held back: {', '.join(told)}", address, action)
