#!/usr/bin/env python3
# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Makes the host that it runs on look like a machine with GPUs: place.py VARIANT. For a lab host, as root."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

import machine

PROGRAMS = {
    "/usr/local/bin/nvidia-smi": "nvidia_smi.py",
    "/usr/local/sbin/modprobe": "kernel_tools.py modprobe",
    "/usr/local/sbin/modinfo": "kernel_tools.py modinfo",
    "/usr/sbin/dkms": "kernel_tools.py dkms",
    "/usr/local/sbin/update-initramfs": "kernel_tools.py update-initramfs",
}
REPOSITORY = Path("/opt/simulated-gpu-packages")
# Brought by a package while a test runs, and called by others' scripts, for which apt sets a path of its own.
DIVERTED = ("/usr/sbin/dkms",)
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


def mounts(host: dict) -> None:
    """Lay the simulated files over the kernel's. Done anew, a mount would lie on the one before."""
    release = machine.HOME / "osrelease"
    release.write_text(f"{host['kernel']}\n", encoding="utf-8")
    mounted = Path("/proc/self/mountinfo").read_text(encoding="utf-8")
    pairs = {
        machine.HOME / "sys/bus/pci/devices": "/sys/bus/pci/devices",
        machine.HOME / "sys/module": "/sys/module",
        machine.HOME / "proc/driver": "/proc/driver",
        release: "/proc/sys/kernel/osrelease",
    }
    for source, target in pairs.items():
        if source != release:
            source.mkdir(parents=True, exist_ok=True)
        if f" {target} " not in mounted:
            subprocess.run(["mount", "--bind", source, target], check=True)


def headers(kernel: str) -> None:
    """Offer packages of headers for the kernel, in a repository of the host's own."""
    REPOSITORY.mkdir(parents=True, exist_ok=True)
    flavour = kernel.rsplit("-", 1)[1]
    index = [
        _package(f"linux-headers-{kernel}", "", {f"usr/src/linux-headers-{kernel}/Makefile": "# simulated\n"}),
        _package(f"linux-headers-{flavour}", f"linux-headers-{kernel}", {}),
    ]
    (REPOSITORY / "Packages").write_text("\n".join(index), encoding="utf-8")
    source = Path("/etc/apt/sources.list.d/simulated-gpu.sources")
    source.write_text(f"Types: deb\nURIs: file:{REPOSITORY}\nSuites: ./\nTrusted: yes\n", encoding="utf-8")
    build = Path(f"/lib/modules/{kernel}/build")
    build.parent.mkdir(parents=True, exist_ok=True)
    if not build.is_symlink():
        build.symlink_to(f"/usr/src/linux-headers-{kernel}")
    Path(f"/boot/initrd.img-{kernel}").write_text("simulated\n", encoding="utf-8")


def _package(name: str, depends: str, files: dict[str, str]) -> str:
    """Build a package and return its paragraph of the index."""
    control = f"Package: {name}\nVersion: 1\nArchitecture: all\nMaintainer: lab <lab@example.org>\n"
    control += f"Depends: {depends}\n" if depends else ""
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        root.chmod(0o755)
        for path, text in files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text, encoding="utf-8")
        (root / "DEBIAN").mkdir()
        (root / "DEBIAN/control").write_text(f"{control}Description: simulated headers\n", encoding="utf-8")
        deb = REPOSITORY / f"{name}_1_all.deb"
        subprocess.run(["dpkg-deb", "--root-owner-group", "--build", root, deb], check=True, stdout=subprocess.DEVNULL)
    digest = hashlib.sha256(deb.read_bytes()).hexdigest()
    return f"{control}Filename: ./{deb.name}\nSize: {deb.stat().st_size}\nSHA256: {digest}\nDescription: simulated headers\n"


def main(variant: str) -> None:
    """Place a variant."""
    host = machine.build(variant)
    machine.write(host)
    programs()
    mounts(host)
    headers(host["kernel"])
    PERSISTENCED.parent.mkdir(parents=True, exist_ok=True)
    PERSISTENCED.write_text("[Service]\nType=simple\nExecStart=\nExecStart=/bin/sleep infinity\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
