# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Errors of NVIDIA's driver in a kernel log: Xids, SXids of NVSwitches, and errors without a code.

The formats are those of open-gpu-kernel-modules: kernel_rc.c (Xids), common_nvswitch.h (SXids), osapi.c and osinit.c. A
line may contain text of a program's choosing, such as its name, so nothing is read from places where that can stand.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ..visible_text import told
from . import kernel_log, pci_address, xids

# The kernel's own lines have at most 1 KiB.
MOST_OF_A_LINE = 2048

_ADDRESS = (
    r"(?:PCI:)?(?:(?P<domain>[0-9a-fA-F]{1,8}):)?(?P<slot>[0-9a-fA-F]{2}:[0-9a-fA-F]{2})(?:\.(?P<function>[0-7]))?\b"
)
# "NVRM: Xid (PCI:0000:3b:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus.", and of a MIG instance
# "NVRM: Xid (PCI:0000:4b:00 GPU-I:03 GPU-CI:00): 31, ...".
_XID = re.compile(
    rf"NVRM: Xid \({_ADDRESS}(?P<instance>\s[^()]{{0,80}})?\):\s*(?P<code>[0-9]{{1,10}})(?![0-9])(?P<text>.*)"
)
_SOME_XID = "NVRM: Xid ("
# "nvidia-nvswitch0: SXid (PCI:0000:c1:00.0): 24007, Fatal, Link 05 ..."
_SXID = re.compile(rf"SXid \({_ADDRESS}\):\s*(?P<code>[0-9]{{1,10}}),\s*(?P<severity>Fatal|Non-fatal),\s*(?P<text>.*)")
_RECOVERY = re.compile(r"changed from 0x[0-9a-fA-F]+ \([^()]*\) to 0x[0-9a-fA-F]+ \((?P<words>[^()]*)\)")
_SEVERITY = re.compile(r"\b(?P<non>non[- ]?)?fatal\b", re.IGNORECASE)
# "NVRM: GPU 0000:06:00.0: GPU has fallen off the bus."
_LOST = re.compile(rf"NVRM: GPU (?:at )?{_ADDRESS}:? (?:GPU )?has fallen off the bus")
# On one line or on three: "NVRM: The NVIDIA GPU 0000:b3:00.0", "NVRM: (PCI ID: 10de:26b5) installed in this system
# has", "NVRM: fallen off the bus and is not responding to commands."
_NAMED = re.compile(rf"NVRM: The NVIDIA GPU {_ADDRESS}")
_LOST_TOO = "fallen off the bus and is not responding"
_NO_START = re.compile(rf"NVRM: (?:GPU {_ADDRESS}: |\S+ )?RmInitAdapter failed")
# nv_gpu_ops.c: from then on unified memory, and with it CUDA, refuses all work, while nvidia-smi reports nothing.
_UVM = "uvm encountered global fatal error"
# nvstatuscodes.h's text for answers of a GPU marked for a reset: before branch 570 the only sign of it, while its
# readings all look well (scitix/sichek#51).
_WAITS = "[NV_ERR_RESET_REQUIRED]"
_MISMATCH = "NVRM: API mismatch: the client"
_LOADING = "NVRM: loading NVIDIA UNIX"

_NVLINK_5 = range(144, 151)
# NVIDIA's Fabric Manager guide, "Always Fatal NVSwitch SXid Errors": restart the host. For other fatal ones it resets
# all GPUs and switches involved.
_FATAL_TO_HOST = {12020, 22003, 22011, *range(23001, 23018)}
# A reloaded driver has no programs left, has reloaded each GPU's firmware and has retired bad pages. What remains after
# that is stored in the GPU and read there: the mark that it needs a reset (open-gpu-kernel-modules, kern_gpu_gp100.c:
# _GPU_RESET_REQUIRED), rows that wait for one, counters. A reload does not cure a lost GPU, cables, and what NVIDIA
# leaves to a boot or to the vendor.
ENDED_BY_RELOAD = {xids.RESTART_APP, xids.DRAIN_P2P, xids.RECOVER_IMEX, xids.RESET_GPU, xids.UPDATE_SOFTWARE}


class Event(NamedTuple):
    """An error, with the number of its occurrences in the log."""

    code: int
    """0 for an error without one."""
    kind: str
    """``xid``, ``sxid``, or ``unread`` for an Xid in an unknown format."""
    address: str
    """PCI address as sysfs writes it, function 0 where the log omits it; empty if no single GPU is concerned."""
    text: str
    action: str
    count: int = 1  # type: ignore[assignment]  # hides tuple.count, which nobody calls on an event
    instance: str = ""
    """The MIG instance in the log's words, ``GPU-I:03 GPU-CI:00``."""
    ended: str = ""
    """What has ended it since, as text, such as ``before the GPU's recovery``."""


class _Mark(NamedTuple):
    """A line after which the driver starts over: a boot of the host, or a reload of the module."""

    boot: bool


def events(lines: Iterable[str]) -> list[Event]:
    """Return the errors in a kernel log by first occurrence: each kind once per device, with its count.

    The lines are judged from last to first, because later events end earlier errors.
    """
    found: dict[Event, Event] = {}
    booted = loaded = False
    recovered: set[str] = set()
    for item in reversed(list(_read(lines))):
        if isinstance(item, _Mark):
            booted, loaded = booted or item.boot, loaded or not item.boot
            continue
        event = item._replace(ended=_ended(item, booted, loaded, recovered))
        if event.code == xids.RECOVERY_CHANGED and event.action == xids.IGNORE:
            recovered.add(event.address)
        key = event._replace(text="", count=0)
        later = found.pop(key, None)
        found[key] = event._replace(count=event.count + (later.count if later else 0))
    return [event._replace(count=max(event.count, 1)) for event in reversed(list(found.values()))]


def _ended(event: Event, booted: bool, loaded: bool, recovered: set[str]) -> str:
    if booted:
        return "before the last boot"
    if event.kind == "xid" and event.address in recovered:
        return "before the GPU's recovery"
    if event.kind == "xid" and not event.address and event.action == xids.RESET_GPU and recovered:
        return "before a GPU's recovery"
    if event.kind == "xid" and loaded and event.action in ENDED_BY_RELOAD:
        return "before the driver was loaded again"
    return ""


def _read(lines: Iterable[str]) -> Iterator[Event | _Mark]:
    named = ""
    for line in (line[:MOST_OF_A_LINE] for line in lines):
        if "NVRM: " in line:
            name = _NAMED.search(line)
            named = _address(name) if name else named
            item = _of_driver(line, named)
        elif "SXid (" in line:
            item = _of_switch(line)
        else:
            item = _Mark(boot=True) if kernel_log.is_boot(line) else None
        if item:
            yield item


def _of_driver(line: str, named: str) -> Event | _Mark | None:
    """Parse a line of the driver. ``named`` is the GPU whose address this or an earlier line has given."""
    if _SOME_XID in line:
        return _of_xid(line)
    if _LOADING in line:
        return _Mark(boot=False)
    lost = _LOST.search(line)
    if lost or _LOST_TOO in line:
        # Mostly accompanies an Xid 79, with which it is counted as one.
        return Event(79, "xid", _address(lost) if lost else named, *xids.meaning(79), count=0)
    no_start = _NO_START.search(line)
    if no_start:
        # Newer drivers report this as Xid 143, GPU_INIT_ERROR.
        text = "the GPU could not be initialised (RmInitAdapter failed)"
        return Event(0, "xid", _address(no_start), text, xids.meaning(143).action)
    if _UVM in line:
        text = "unified memory failed for all GPUs until a reboot (UVM's global fatal error)"
        return Event(0, "xid", "", text, xids.RESTART_HOST)
    if _WAITS in line:
        return Event(0, "xid", "", "a GPU waits for a reset (NV_ERR_RESET_REQUIRED)", xids.RESET_GPU)
    if _MISMATCH in line:
        text = "a program has libraries of another version than the loaded driver (API mismatch)"
        return Event(0, "xid", "", text, xids.UPDATE_SOFTWARE)
    return None


def _of_xid(line: str) -> Event:
    match = _XID.search(line)
    if not match:
        text = f"an Xid in a form that is not known: {told(line[line.index(_SOME_XID) :], 120)}"
        return Event(0, "unread", "", text, "")
    code, text = int(match["code"]), match["text"]
    instance = told(" ".join((match["instance"] or "").split()), 40)
    return Event(code, "xid", _address(match), *_meaning(code, text), instance=instance)


def _meaning(code: int, text: str) -> xids.Meaning:
    """Return the meaning of an Xid, from its code and for some codes from its text."""
    if code == xids.RECOVERY_CHANGED:
        recovery = _RECOVERY.search(text)
        words = recovery["words"] if recovery else "not told"
        return xids.Meaning(f"recommended recovery: {told(words, 60)}", xids.recovery(words))
    severities = [not severity["non"] for severity in _SEVERITY.finditer(text)] if code in _NVLINK_5 else []
    if severities and not any(severities):
        # NVIDIA's table of these ("XID 144-150 Decode", 94 rules) asks for a reset for none that is not fatal.
        return xids.Meaning("an error of NVLink that is not fatal", xids.IGNORE)
    return xids.meaning(code)


def _of_switch(line: str) -> Event | None:
    match = _SXID.search(line)
    if not match:
        return None
    code, said = int(match["code"]), told(match["text"], 200)
    if match["severity"] != "Fatal":
        return Event(code, "sxid", _address(match), f"non-fatal error of an NVSwitch: {said}", xids.IGNORE)
    if code in _FATAL_TO_HOST:
        return Event(code, "sxid", _address(match), f"fatal error of an NVSwitch: {said}", xids.RESTART_HOST)
    text = f"fatal error of an NVSwitch, with which all GPUs are to be reset: {said}"
    return Event(code, "sxid", _address(match), text, xids.RESET_GPU)


def _address(match: re.Match[str]) -> str:
    if not match["slot"]:
        return ""
    return pci_address.normal(match["domain"], f"{match['slot']}.{match['function'] or '0'}")
