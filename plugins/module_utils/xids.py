# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Xid errors: the lines of the kernel log that carry them, and what NVIDIA recommends to do about each.

The table follows NVIDIA's catalogue for Ampere and newer GPUs, column "Immediate Action", and its texts on older ones:
https://docs.nvidia.com/deploy/xid-errors/analyzing-xid-catalog.html (read 2026-11). Codes that it calls unused are left
out. It lies in code, since it is read on the hosts, of which no YAML parser is asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

# What to do, from nothing to the screwdriver. The words are those of the catalogue's resolution buckets, in lower case,
# and of NVML's recovery actions where the catalogue has none.
IGNORE = "ignore"
RESTART_APP = "restart_app"
DRAIN_P2P = "drain_p2p"
RECOVER_IMEX = "recover_imex"
RESET_GPU = "reset_gpu"
RESTART_HOST = "restart_host"
CHECK_MECHANICALS = "check_mechanicals"
UPDATE_SOFTWARE = "update_software"
CONTACT_SUPPORT = "contact_support"

# In these words the actions are told to people.
ADVICE = {
    IGNORE: "nothing to be done",
    RESTART_APP: "restart the server that met it; a bug of the application, unless it returns",
    DRAIN_P2P: "end the jobs that span several GPUs, then look at the GPU's recovery action again",
    RECOVER_IMEX: "restart nvidia-imex on every host of the IMEX domain",
    RESET_GPU: "take the host out of rotation and reset the GPU (nvidia-smi --gpu-reset), or boot the host",
    RESTART_HOST: "take the host out of rotation and boot it; call the vendor when it returns",
    CHECK_MECHANICALS: "check the card's power cables and its seat",
    UPDATE_SOFTWARE: "update driver, firmware and hypervisor to versions that fit together",
    CONTACT_SUPPORT: "take the host out of rotation and call the vendor",
}


class Meaning(NamedTuple):
    """What an Xid says, and what to do at once."""

    text: str
    action: str


_ENGINE = "an engine for video or images failed"
_COPY = "a copy engine failed"
_NVLINK = "NVLink failed: this GPU, the one at the other end, or the link"

XIDS: dict[int, Meaning] = {
    8: Meaning("the GPU stopped processing", RESTART_APP),
    11: Meaning("invalid or corrupted commands", RESTART_APP),
    13: Meaning("an exception in the graphics engine, mostly an access out of bounds", RESTART_APP),
    25: Meaning("invalid or illegal commands", RESTART_APP),
    31: Meaning("a page fault in GPU memory, mostly an illegal address of the application", RESTART_APP),
    32: Meaning("commands were corrupted on their way over PCIe", RESTART_APP),
    37: Meaning("an error of the driver's firmware", IGNORE),
    38: Meaning("an error of the driver's firmware", IGNORE),
    **dict.fromkeys((39, 40, 41, 70, 71, 72, 75, 76, 77, 85, *range(126, 136)), Meaning(_COPY, RESTART_APP)),
    43: Meaning("a program hit an error of its own and was stopped; the GPU is well", IGNORE),
    44: Meaning("a fault while switching between programs", IGNORE),
    # Control-C and SIGKILL cause it as well; where it follows another Xid, that one counts.
    45: Meaning("a program was removed from the GPU", IGNORE),
    46: Meaning("the GPU stopped processing and did not come back", RESET_GPU),
    48: Meaning("memory bits that ECC could not correct", RESET_GPU),
    54: Meaning("the card's auxiliary power is not connected", CHECK_MECHANICALS),
    60: Meaning(_ENGINE, RESTART_APP),
    62: Meaning("the GPU's power controller stopped", RESET_GPU),
    63: Meaning("a bad memory row or page was set aside, at the next reset", IGNORE),
    64: Meaning("a bad memory row or page could not be set aside", RESET_GPU),
    66: Meaning("an illegal access by the driver", IGNORE),
    67: Meaning("an illegal access by the driver", IGNORE),
    **dict.fromkeys((68, *range(82, 85), 86, 88, 89, *range(96, 106), 139), Meaning(_ENGINE, RESTART_APP)),
    69: Meaning("an error of the graphics engine's class", RESTART_APP),
    # The catalogue sends Xid 74 through a work flow whose first step, as the error's own text says, is a reset.
    74: Meaning(_NVLINK, RESET_GPU),
    78: Meaning("a virtual GPU could not start", UPDATE_SOFTWARE),
    79: Meaning("the GPU has fallen off the bus", RESTART_HOST),
    80: Meaning("data was corrupted on its way to the GPU", RESTART_APP),
    92: Meaning("many memory errors that ECC corrected", IGNORE),
    93: Meaning("the info ROM's limit of writes is reached", IGNORE),
    94: Meaning("a memory error that stayed within one program", RESTART_APP),
    95: Meaning("a memory error that spread beyond one program", RESET_GPU),
    109: Meaning("switching between programs took too long", RESET_GPU),
    110: Meaning("a fault of the security engine", RESET_GPU),
    119: Meaning("the GPU's system processor did not answer", RESET_GPU),
    120: Meaning("an error of the GPU's system processor", RESET_GPU),
    121: Meaning("corrected errors on the link to the Grace CPU", IGNORE),
    136: Meaning("an NVLink could not be trained", RESET_GPU),
    137: Meaning("an illegal access over NVLink, mostly of the application", IGNORE),
    140: Meaning("memory errors that ECC could not correct, met before the page was set aside", RESET_GPU),
    141: Meaning("an error in CUDA's fast path", IGNORE),
    142: Meaning(_ENGINE, CONTACT_SUPPORT),
    143: Meaning("the GPU could not be initialised", RESET_GPU),
    **dict.fromkeys((*range(144, 151), 155), Meaning(_NVLINK, RESET_GPU)),
    151: Meaning("the rotation of a key failed", RESTART_HOST),
    156: Meaning("a part of the GPU was set aside, at the next reset", RESET_GPU),
    157: Meaning("a bad part of the GPU could not be set aside", IGNORE),
    158: Meaning("a fatal time-out of the GPU", RESET_GPU),
    160: Meaning("a memory channel was set aside", IGNORE),
    161: Meaning("a bad memory channel could not be set aside", IGNORE),
    171: Meaning("details of memory bits in DRAM that ECC could not correct", RESET_GPU),
    172: Meaning("details of memory bits in SRAM that ECC could not correct", RESET_GPU),
}

# Xid 154 says itself what the driver recommends:
# "GPU recovery action changed from 0x0 (None) to 0x2 (Node Reboot Required)".
RECOVERY_CHANGED = 154
# Words of Xid 154 (open-gpu-kernel-modules, gpu.c: _gpuRecoveryActionName), of nvidia-smi's gpu_recovery_action and of
# NVML's nvmlDeviceGpuRecoveryAction_t, without case, marks and the word "required". What each asks for is in NVIDIA's
# "GPU Memory Error Management", "Error Recovery and Response Flags".
RECOVERY = {
    "none": IGNORE,
    "drain p2p": DRAIN_P2P,
    "recover imex domain": RECOVER_IMEX,
    **dict.fromkeys(("reset", "gpu reset", "drain and reset", "drain p2p and reset"), RESET_GPU),
    **dict.fromkeys(("reboot", "node reboot", "system reboot", "bus reset", "gpu reset bus"), RESTART_HOST),
}

# "NVRM: Xid (PCI:0000:3b:00): 79, pid='<unknown>', name=<unknown>, GPU has fallen off the bus."
_XID = re.compile(r"NVRM: Xid \((?:PCI:)?(?P<address>[0-9a-fA-F:.]+)\): (?P<code>\d+)(?:, (?P<text>.*))?")
# "nvidia-nvswitch0: SXid (PCI:0000:c1:00.0): 24007, Fatal, Link 05 ..."
_SXID = re.compile(
    r"SXid \((?:PCI:)?(?P<address>[0-9a-fA-F:.]+)\): (?P<code>\d+), (?P<severity>Fatal|Non-fatal), (?P<text>.*)"
)
_RECOVERY = re.compile(r"to 0x[0-9a-fA-F]+ \((?P<words>[^)]+)\)")


class Event(NamedTuple):
    """An Xid, or an SXid of an NVSwitch, as often as the log has it."""

    code: int
    kind: str
    """``xid`` or ``sxid``."""
    address: str
    """PCI address as sysfs writes it; function 0 where the log leaves it out."""
    text: str
    action: str
    count: int


def recovery(words: str) -> str:
    """Return the action for a recovery action in NVIDIA's words: ``None``, ``Drain and Reset``, ``NODE_REBOOT``.

    One that nobody knows here is for the vendor: the driver wants something done about the GPU. That a GPU has no such
    answer (``[N/A]``) is not for this function.
    """
    plain = " ".join(re.findall("[a-z0-9]+", words[:100].lower()))
    return RECOVERY.get(re.sub("^(nvml )?gpu recovery action | required$", "", plain), CONTACT_SUPPORT)


def events(lines: Iterable[str]) -> list[Event]:
    """Return the errors in a kernel log by their first lines, each code of a device once, with its number."""
    found: dict[tuple[str, str, int, str], list] = {}
    for line in lines:
        event = _event(line)
        if event:
            key = (event.kind, event.address, event.code, event.action)
            found.setdefault(key, [event, 0])[1] += 1
    return [event._replace(count=count) for event, count in found.values()]


def _event(line: str) -> Event | None:
    switch = _SXID.search(line)
    if switch:
        fatal = switch["severity"] == "Fatal"
        text = f"{switch['severity'].lower()} error of an NVSwitch: {switch['text']}"
        return Event(int(switch["code"]), "sxid", _address(switch), text, RESET_GPU if fatal else IGNORE, 1)
    match = _XID.search(line)
    if not match:
        return None
    code = int(match["code"])
    if code == RECOVERY_CHANGED:
        words = _RECOVERY.search(match["text"] or "")
        said = words["words"] if words else ""
        return Event(code, "xid", _address(match), f"recommended recovery: {said}", recovery(said), 1)
    meaning = XIDS.get(code, Meaning("an error that this collection's table does not have", CONTACT_SUPPORT))
    return Event(code, "xid", _address(match), meaning.text, meaning.action, 1)


def _address(match: re.Match) -> str:
    address = match["address"].lower()
    domain, _colon, rest = address.partition(":")
    return f"{int(domain, 16):04x}:{rest}" + ("" if "." in rest else ".0")
