# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Choice between KVM and emulation for the VM.

An accessible /dev/kvm proves little: on some machines that are virtual themselves, the guest hangs in its first second.
So the kernel is booted once, with a time limit, and the answer is kept while machine and image stay the same.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import threading
from collections.abc import Iterable
from pathlib import Path

from fleet_lab.build import hashing
from fleet_lab.config import Lab
from fleet_lab.errors import Stop
from fleet_lab.vm.config import Files, Image, Shape
from fleet_lab.vm.qemu import KVM, TCG, probe_command

DEVICE = Path("/dev/kvm")
# Said by the kernel when all CPUs are up and the RAM disk is unpacked.
MARKER = b"Run /init as init process"
LIMIT_S = 20.0  # two to three seconds where it works


def acceleration(lab: Lab, image: Image, shape: Shape) -> tuple[str, str]:
    """Return "kvm" or "tcg", and why. LAB_VM_ACCELERATION decides if it is set."""
    forced = os.environ.get("LAB_VM_ACCELERATION", "")
    if forced:
        if forced not in (KVM, TCG):
            raise Stop(f"LAB_VM_ACCELERATION={forced} is not known; use {KVM} or {TCG}")
        return forced, "by LAB_VM_ACCELERATION"
    if not os.access(DEVICE, os.R_OK | os.W_OK):
        return TCG, f"{DEVICE} cannot be opened"
    file, key = Files.of(lab).acceleration, _key(image)
    known = _read(file)
    if known.get("key") != key:
        works = boots(probe_command(KVM, shape, image))
        known = {"key": key, "accelerator": KVM if works else TCG}
        file.write_text(json.dumps(known) + "\n")
    return known["accelerator"], "tried" if known["accelerator"] == KVM else f"under {KVM} the kernel does not boot"


def boots(command: list[str], limit: float = LIMIT_S) -> bool:
    """Return whether a machine's console shows the last message of the kernel's start in time; end the machine."""
    try:
        machine = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    except OSError:
        return False
    alarm = threading.Timer(limit, machine.kill)
    alarm.start()
    try:
        return shows_marker(machine.stdout or ())
    finally:
        alarm.cancel()
        machine.kill()
        machine.communicate()


def shows_marker(lines: Iterable[bytes]) -> bool:
    return any(MARKER in line for line in lines)


def _key(image: Image) -> str:
    """Return a key of what the answer depends on: the machine (and its own kernel) and the guest's kernel."""
    processor = next((line for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "")
    return hashing.key_of(platform.release(), platform.node(), processor, image.folder.name)


def _lines(path: str) -> list[str]:
    return Path(path).read_text(errors="replace").splitlines()


def _read(file: Path) -> dict[str, str]:
    try:
        record: dict[str, str] = json.loads(file.read_text())
    except (OSError, ValueError):
        return {}
    return record
