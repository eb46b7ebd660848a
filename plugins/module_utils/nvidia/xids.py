# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Xid errors: the meaning of each code, and NVIDIA's recommended action.

The table follows NVIDIA's catalogue for Ampere and newer GPUs, column "Immediate Action", and its texts on older ones:
https://docs.nvidia.com/deploy/xid-errors/analyzing-xid-catalog.html (read 2026-11). Codes that it calls unused are left
out. It is Python rather than YAML because hosts read it, and need no YAML parser.
"""

from __future__ import annotations

import re
from typing import NamedTuple

# The actions, from nothing to the screwdriver. The words are those of the catalogue's resolution buckets, in lower
# case, and of NVML's recovery actions where the catalogue has none.
IGNORE = "ignore"
RESTART_APP = "restart_app"
DRAIN_P2P = "drain_p2p"
RECOVER_IMEX = "recover_imex"
RESET_GPU = "reset_gpu"
RESTART_HOST = "restart_host"
CHECK_MECHANICALS = "check_mechanicals"
UPDATE_SOFTWARE = "update_software"
CONTACT_SUPPORT = "contact_support"

# The actions as advice for people.
ADVICE = {
    IGNORE: "nothing to be done",
    RESTART_APP: "restart the server that met it; a bug of the application, unless it returns",
    # "Terminate all GPU processes that conduct peer-to-peer traffic"; after that the driver names one of the other
    # actions.
    DRAIN_P2P: "end the jobs that span several GPUs, then ask again (nvidia-smi --query-gpu=gpu_recovery_action)",
    RECOVER_IMEX: "restart nvidia-imex on every host of the IMEX domain",
    # A reset is refused ("In use by another client") while any program has the GPU open, such as the persistence daemon
    # (NVIDIA/NVSentinel#1692), and destroys MIG instances (NVIDIA's MIG guide, "persistence").
    RESET_GPU: "take the host out of rotation, stop the servers of that GPU and all else that holds it"
    " (nvidia-persistenced, DCGM, exporters), reset it (nvidia-smi --gpu-reset --id=ADDRESS), create its MIG"
    " instances again and start all of them; or reboot the host",
    RESTART_HOST: "take the host out of rotation and reboot it; call the vendor when it returns",
    CHECK_MECHANICALS: "check the card's power cables and its seat",
    UPDATE_SOFTWARE: "update driver, firmware and hypervisor to versions that fit together",
    CONTACT_SUPPORT: "take the host out of rotation and call the vendor",
}


class Meaning(NamedTuple):
    """The meaning of an Xid, and the immediate action."""

    text: str
    action: str


_ENGINE = "an engine for video or images failed"
_COPY = "a copy engine failed"
_NVLINK = "NVLink failed: this GPU, the one at the other end, or the link"

XIDS: dict[int, Meaning] = {
    8: Meaning("the GPU stopped processing", RESTART_APP),
    11: Meaning("invalid or corrupted commands", RESTART_APP),
    13: Meaning("an exception in the graphics engine, mostly an access out of bounds", RESTART_APP),
    14: Meaning("a test error of the driver", IGNORE),
    25: Meaning("invalid or illegal commands", RESTART_APP),
    31: Meaning("a page fault in GPU memory, mostly an illegal address of the application", RESTART_APP),
    32: Meaning("commands were corrupted on their way over PCIe", RESTART_APP),
    37: Meaning("an error of the driver's firmware", IGNORE),
    38: Meaning("an error of the driver's firmware", IGNORE),
    **dict.fromkeys((39, 40, 41, 70, 71, 72, 75, 76, 77, 85, *range(126, 136)), Meaning(_COPY, RESTART_APP)),
    43: Meaning("a program hit an error of its own and was stopped; the GPU is well", IGNORE),
    44: Meaning("a fault while switching between programs", IGNORE),
    # Control-C and SIGKILL also cause it; if it follows another Xid, that one counts.
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
    # The catalogue refers Xid 74 to a workflow whose first step, as the error's own text says, is a reset.
    74: Meaning(_NVLINK, RESET_GPU),
    78: Meaning("a virtual GPU could not start", UPDATE_SOFTWARE),
    79: Meaning("the GPU has fallen off the bus", RESTART_HOST),
    80: Meaning("data was corrupted on its way to the GPU", RESTART_APP),
    92: Meaning("many memory errors that ECC corrected", IGNORE),
    93: Meaning("the info ROM's limit of writes is reached", IGNORE),
    94: Meaning("a memory error that stayed within one program", RESTART_APP),
    95: Meaning("a memory error that spread beyond one program", RESET_GPU),
    **dict.fromkeys((106, 107), Meaning("a test message of the board's management", IGNORE)),
    108: Meaning("an address that could not be translated at the other end of an NVLink", IGNORE),
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
    # NVLink 5: "workflows" by the line's text, which xid_lines reads.
    **dict.fromkeys((*range(144, 151), 155), Meaning(_NVLINK, RESET_GPU)),
    # The catalogue says RESTART_VM: for the machine that has the GPU, a boot.
    151: Meaning("the rotation of a key failed", RESTART_HOST),
    **dict.fromkeys((152, 153), Meaning("an error of the engine for deep learning (DLA)", IGNORE)),
    156: Meaning("a part of the GPU was set aside, at the next reset", RESET_GPU),
    157: Meaning("a bad part of the GPU could not be set aside", IGNORE),
    158: Meaning("a fatal time-out of the GPU", RESET_GPU),
    # The catalogue says CHECK_UVM: a reset where unified memory is used, which CUDA always does.
    159: Meaning("an error of the link to the CPU that unified memory met", RESET_GPU),
    160: Meaning("a memory channel was set aside", IGNORE),
    161: Meaning("a bad memory channel could not be set aside", IGNORE),
    # The catalogue has no actions for these yet, only texts.
    162: Meaning("the smoothing of power works again", IGNORE),
    163: Meaning("the smoothing of power is off", IGNORE),
    164: Meaning("the circuit that smoothes power will soon be worn out", IGNORE),
    165: Meaning("the circuit that smoothes power is worn out, and power swings", IGNORE),
    167: Meaning("PCIe timed out for good", CONTACT_SUPPORT),
    168: Meaning("errors in protected memory, while ECC is off", CONTACT_SUPPORT),
    169: Meaning("a micro-controller of the GPU stopped", CONTACT_SUPPORT),
    171: Meaning("details of memory bits in DRAM that ECC could not correct", RESET_GPU),
    172: Meaning("details of memory bits in SRAM that ECC could not correct", RESET_GPU),
    # C2C_FATAL_LINK_FAILURE of the driver's nverror.h.
    173: Meaning("the link to the CPU failed", CONTACT_SUPPORT),
}

# Xid 154 itself states the driver's recommendation: "GPU recovery action changed from 0x0 (None) to 0x2 (Node Reboot
# Required)".
RECOVERY_CHANGED = 154
# Words of Xid 154 (open-gpu-kernel-modules, gpu.c: _gpuRecoveryActionName), of nvidia-smi's gpu_recovery_action and of
# NVML's nvmlDeviceGpuRecoveryAction_t, without case, punctuation and the word "required". What each asks for is in
# NVIDIA's "GPU Memory Error Management", "Error Recovery and Response Flags". A reset of the bus (nvidia-smi -r bus) is
# not possible on every platform, says nvidia-smi's manual; a boot always is.
RECOVERY = {
    "none": IGNORE,
    "drain p2p": DRAIN_P2P,
    "recover imex domain": RECOVER_IMEX,
    **dict.fromkeys(("reset", "gpu reset", "drain and reset", "drain p2p and reset"), RESET_GPU),
    **dict.fromkeys(
        ("reboot", "node reboot", "system reboot", "os reboot", "bus reset", "gpu reset bus"), RESTART_HOST
    ),
}


def meaning(code: int) -> Meaning:
    """Return the meaning of an Xid. Codes that the catalogue calls unused or lacks are for the vendor, as it says."""
    return XIDS.get(code, Meaning("an error that this collection's table does not have", CONTACT_SUPPORT))


def recovery(words: str) -> str:
    """Return the action for a recovery action in NVIDIA's words: ``None``, ``Drain and Reset``, ``NODE_REBOOT``.

    Branches have their own words (610 says ``OS Reboot``), so a future one is classified by the reboot or the reset in
    it. Any other is for the vendor: the driver wants something done about the GPU. Callers handle a GPU without such an
    answer (``[N/A]``) themselves.
    """
    plain = " ".join(re.findall("[a-z0-9]+", words[:100].lower()))
    known = RECOVERY.get(re.sub("^(nvml )?gpu recovery action | required$", "", plain))
    return known or (RESTART_HOST if "reboot" in plain else RESET_GPU if "reset" in plain else CONTACT_SUPPORT)
