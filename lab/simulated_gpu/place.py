#!/usr/bin/env python3
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Make the host that it runs on look like a machine with GPUs: place.py VARIANT. For a lab host, as root.

It does so again when the host boots. With --bus-only there are GPUs on the bus, and kernel, modules and programs stay
the real ones.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import machine
import packages

PROGRAMS = {
    "/usr/local/bin/nvidia-smi": "nvidia_smi.py",
    "/usr/local/sbin/modprobe": "kernel_tools.py modprobe",
    "/usr/local/sbin/modinfo": "kernel_tools.py modinfo",
    "/usr/local/bin/dmesg": "kernel_tools.py dmesg",
    "/usr/sbin/dkms": "kernel_tools.py dkms",
    "/usr/local/sbin/update-initramfs": "kernel_tools.py update-initramfs",
    "/usr/local/bin/nvidia-mig-parted": "kernel_tools.py nvidia-mig-parted",
}
REPOSITORY = Path("/opt/simulated-gpu-packages")
# Brought by a package while a test runs, and called by others' scripts, for which apt sets a path of its own.
DIVERTED = ("/usr/sbin/dkms",)
# Before anything looks at the hardware.
BOOT = Path("/etc/systemd/system/simulated-gpu.service")
BOOT_UNIT = f"""\
[Unit]
Description=Simulated GPUs
DefaultDependencies=no
Before=sysinit.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=python3 {machine.HERE}/place.py --booted

[Install]
WantedBy=sysinit.target
"""
# The real daemon wants a real device.
PERSISTENCED = Path("/etc/systemd/system/nvidia-persistenced.service.d/99-simulated.conf")


def programs() -> None:
    """Put the stand-ins before the real programs in the path, or in their places."""
    for path in DIVERTED:
        divert = ["dpkg-divert", "--local", "--rename", "--divert", f"{path}.real", "--add", path]
        subprocess.run(divert, check=True, stdout=subprocess.DEVNULL)
    for path, script in PROGRAMS.items():
        file = Path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f'#!/bin/sh\nexec python3 {machine.HERE}/{script} "$@"\n', encoding="utf-8")
        file.chmod(0o755)


def mounts(host: dict, bus_only: bool) -> None:
    """Lay the simulated files over the kernel's. Done anew, a mount would lie on the one before."""
    release = machine.HOME / "osrelease"
    release.write_text(f"{host['kernel']}\n", encoding="utf-8")
    mounted = Path("/proc/self/mountinfo").read_text(encoding="utf-8")
    bus = {machine.HOME / "sys/bus/pci/devices": "/sys/bus/pci/devices"}
    pairs = {
        **bus,
        machine.HOME / "sys/module": "/sys/module",
        machine.HOME / "proc/driver": "/proc/driver",
        release: "/proc/sys/kernel/osrelease",
    }
    for source, target in (bus if bus_only else pairs).items():
        if source != release:
            source.mkdir(parents=True, exist_ok=True)
        if f" {target} " not in mounted:
            subprocess.run(["mount", "--bind", source, target], check=True)


def headers(kernel: str) -> None:
    """Offer packages of headers for the kernel, in a repository of the host's own."""
    flavour = kernel.rsplit("-", 1)[1]
    makefile = {f"usr/src/linux-headers-{kernel}/Makefile": "# simulated\n"}
    packages.repository(
        REPOSITORY,
        [
            packages.Package(f"linux-headers-{kernel}", "1", files=makefile),
            packages.Package(f"linux-headers-{flavour}", "1", depends=f"linux-headers-{kernel}"),
        ],
    )
    source = Path("/etc/apt/sources.list.d/simulated-gpu.sources")
    source.write_text(f"Types: deb\nURIs: file:{REPOSITORY}\nSuites: ./\nTrusted: yes\n", encoding="utf-8")
    build = Path(f"/lib/modules/{kernel}/build")
    build.parent.mkdir(parents=True, exist_ok=True)
    if not build.is_symlink():
        build.symlink_to(f"/usr/src/linux-headers-{kernel}")
    Path(f"/boot/initrd.img-{kernel}").write_text("simulated\n", encoding="utf-8")


def booted() -> None:
    """Bring back what a boot has taken: the mounts, and the modules that a kernel would have loaded."""
    host = machine.boot(machine.read())
    machine.write(host)
    mounts(host, bus_only=False)


def main(variant: str, *options: str) -> None:
    """Place a variant."""
    host = machine.build(variant)
    machine.write(host)
    mounts(host, "--bus-only" in options)
    if "--bus-only" in options:
        return
    programs()
    headers(host["kernel"])
    BOOT.write_text(BOOT_UNIT, encoding="utf-8")
    subprocess.run(["systemctl", "enable", "--quiet", BOOT.name], check=True)
    PERSISTENCED.parent.mkdir(parents=True, exist_ok=True)
    PERSISTENCED.write_text("[Service]\nType=simple\nExecStart=\nExecStart=/bin/sleep infinity\n", encoding="utf-8")


if __name__ == "__main__":
    booted() if sys.argv[1:] == ["--booted"] else main(*sys.argv[1:])
