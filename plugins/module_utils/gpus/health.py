# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The health of a host's GPUs: findings with a status each, from readings of driver, GPUs and kernel log.

Statuses and the ladder of actions follow NVIDIA's own health checks (docs.nvidia.com/health-validation): a finding
states facts and recommends an action, nothing here acts on it. The functions are pure; `gpu_reading` reads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..nvidia import cells as nvidia_cells
from ..nvidia import devices as nvidia_devices
from ..nvidia import owned as driver_gpus
from ..nvidia import smi as nvidia_smi
from ..nvidia import state as gpu_state
from ..nvidia import xids
from ..visible_text import told
from . import memory_health as gpu_memory_health
from . import xid_findings
from .findings import CRITICAL, INFO, ORDER, PASS, UNKNOWN, WARNING, Finding

# The bits of clocks_event_reasons.active (nvml.h, nvmlClocksEventReasons), each with its meaning.
THROTTLE_REASONS: dict[int, tuple[str, str]] = {
    0x01: ("idle", PASS),
    0x02: ("clocks set by an application", INFO),
    # A normal state under full load: the power limit is meant to be reached.
    0x04: ("power limit", INFO),
    0x08: ("hardware slowdown (heat, power brake or excessive current)", CRITICAL),
    0x10: ("synchronised with other GPUs", INFO),
    0x20: ("software thermal slowdown", WARNING),
    0x40: ("hardware thermal slowdown", CRITICAL),
    0x80: ("power brake by the host", CRITICAL),
    0x100: ("display clocks", PASS),
}


# nvidia-smi's code for a missing power cable ("Return Value" in its manual).
_POWER_CABLES = 8


def examine(reading: Mapping[str, Any], expected: int | None) -> list[Finding]:
    """Return all findings.

    :param reading: the result of `gpu_reading.read`.
    :param expected: the expected number of GPUs; None for the number on the bus.
    """
    answer = reading["smi"]
    if not (expected or reading["gpus"] or answer["gpus"]) and _needs_no_driver(reading):
        return [_none(reading.get("left_out", ()))]
    left_out = {gpu["pci_address"] for gpu in reading.get("left_out", ())}
    findings = [_loaded(reading), _versions(reading)]
    if answer["error"]:
        findings.append(_refusal(answer))
    elif answer["gpus"] is None:
        findings.append(Finding("nvidia_smi", UNKNOWN, "nvidia-smi is not installed, so the GPUs could not be queried"))
    if answer["gpus"] is not None:
        findings += [*_remarks(answer), _count(reading, expected)]
        for gpu in (gpu for gpu in answer["gpus"] if gpu["pci_address"] not in left_out):
            findings += _gpu(gpu)
    return [*findings, *xid_findings.findings(reading["log"], left_out)]


def _needs_no_driver(reading: Mapping[str, Any]) -> bool:
    """Return whether a host without GPUs of ours never had any: with a driver, they may have fallen off the bus."""
    return bool(reading.get("left_out")) or not (reading["loaded"]["version"] or reading["library_version"])


def _none(left_out: Sequence[Mapping[str, Any]]) -> Finding:
    """Return the finding for a host without GPUs to check; a Jetson's GPU is not on the PCI bus."""
    if left_out:
        return Finding("count", INFO, f"all NVIDIA GPUs of this host are left out: {driver_gpus.listed(left_out)}")
    return Finding("count", INFO, "no NVIDIA GPU is on the PCI bus of this host")


def _refusal(answer: Mapping[str, Any]) -> Finding:
    if answer["code"] in nvidia_smi.UNASKED:
        return Finding("nvidia_smi", UNKNOWN, answer["error"])
    named = sorted(gpu_state.addresses_in(answer["error"]))
    action = xids.CHECK_MECHANICALS if answer["code"] == _POWER_CABLES else xids.RESTART_HOST
    return Finding("nvidia_smi", CRITICAL, answer["error"], named[0] if len(named) == 1 else "", action)


def _remarks(answer: Mapping[str, Any]) -> list[Finding]:
    """Return nvidia-smi's other output as findings, such as a damaged info ROM or a hint at persistence mode."""
    found = []
    for remark in answer["remarks"]:
        status = WARNING if "inforom" in remark.lower().replace(" ", "") else INFO
        # The message of a failed query already names the program.
        detail = remark if remark.startswith("nvidia-smi ") else f"nvidia-smi says: {remark}"
        found.append(Finding("nvidia_smi", status, detail))
    return found + [Finding("nvidia_smi", UNKNOWN, f"nvidia-smi cut a row short: {row}") for row in answer["cut_short"]]


def _gpu(gpu: Mapping[str, Any]) -> list[Finding]:
    """Return the findings on one GPU. If it cannot be used, its other answers count only if they are bad."""
    checks = [*gpu_memory_health.findings(gpu), _throttle(gpu)]
    trouble = gpu_state.trouble(gpu, "recovery")
    address = gpu["pci_address"]
    if trouble:
        detail = f"{gpu_state.called(gpu)} {trouble.why}"
        bad = [check for check in checks if check.status in (WARNING, CRITICAL)]
        return [Finding("state", CRITICAL, detail, address or "", trouble.action), *bad]
    if address is None:
        return [Finding("state", UNKNOWN, f"{gpu_state.called(gpu)} does not report its PCI address")]
    return [_state(gpu), *checks]


def _state(gpu: Mapping[str, Any]) -> Finding:
    address, words = gpu["pci_address"], gpu["recovery"]
    if untold := gpu_state.untold(gpu, "mig"):
        return Finding("state", UNKNOWN, f"{gpu_state.called(gpu)} {untold}", address)
    if gpu["absent"].get("recovery") in nvidia_cells.UNTOLD:
        return Finding("state", UNKNOWN, "whether it needs a recovery could not be queried", address)
    action = xids.recovery(words) if words else xids.IGNORE
    if action == xids.IGNORE:
        return Finding("state", PASS, "the driver asks for no recovery", address)
    detail = f"the driver asks for a recovery ({told(words, 40)})"
    return Finding("state", xid_findings.SEVERITY_OF_ACTION[action], detail, address, action)


def _loaded(reading: Mapping[str, Any]) -> Finding:
    loaded = reading["loaded"]
    if nvidia_devices.nouveau_holds(reading):
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
    ours = [gpu["pci_address"] for gpu in reading["smi"]["gpus"] if gpu["pci_address"] not in left_out]
    on_bus = [gpu["pci_address"] for gpu in reading["gpus"] if gpu["pci_address"] not in left_out]
    lost = [address for address in on_bus if address not in ours]
    wanted = len(on_bus) if expected is None else expected
    # A GPU without an address is assumed to be one of the lost ones.
    if len(lost) > ours.count(None):
        detail = f"the driver does not drive {', '.join(lost)}"
        return Finding("count", CRITICAL, detail, gpu=lost[0], action=xids.RESTART_HOST)
    if not wanted and expected is None:
        return Finding("count", CRITICAL, "a driver is there, and no GPU is on the PCI bus", action=xids.RESTART_HOST)
    if len(ours) != wanted:
        return _miscounted(len(ours), wanted, reading.get("left_out", ()))
    return Finding("count", PASS, f"{_counted(wanted)}, as expected")


def _counted(number: int) -> str:
    return f"{number} GPU{'' if number == 1 else 's'}"


def _miscounted(known: int, wanted: int, left_out: Sequence[Mapping[str, Any]]) -> Finding:
    detail = f"the driver knows {_counted(known)}, and {wanted} {'is' if wanted == 1 else 'are'} expected"
    held = [gpu for gpu in left_out if gpu.get("held")]
    # No reboot restores a GPU that is bound elsewhere.
    if known < wanted <= known + len(held):
        return Finding("count", CRITICAL, f"{detail}; left out: {driver_gpus.listed(held)}")
    return Finding("count", CRITICAL, detail, action=xids.RESTART_HOST)


def _throttle(gpu: Mapping[str, Any]) -> Finding:
    address = gpu["pci_address"]
    if gpu["absent"].get("throttle") in (nvidia_cells.LACKING, nvidia_cells.NOT_ASKED):
        return Finding("throttle", INFO, "the driver reports no reasons for its clocks", address)
    try:
        bits = int(str(gpu["throttle"]), 16)
        bits.to_bytes(8, "little")  # NVML has 64 bits
    except (ValueError, OverflowError):
        return Finding("throttle", UNKNOWN, "the driver does not report why clocks are as they are", address)
    active = [reason for bit, reason in THROTTLE_REASONS.items() if bits & bit]
    if unknown := bits & ~sum(THROTTLE_REASONS):
        active.append((f"a reason newer than this collection ({unknown:#x})", INFO))
    worst = max((status for _words, status in active), key=ORDER.index, default=PASS)
    words = [each for each, status in active if status != PASS]
    if not words:
        return Finding("throttle", PASS, "clocks are not throttled", address)
    action = xids.CHECK_MECHANICALS if worst == CRITICAL else ""
    return Finding("throttle", worst, f"clocks are throttled: {', '.join(words)}", address, action)
