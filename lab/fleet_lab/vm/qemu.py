# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""QEMU's command line for a server with NUMA nodes, and its monitor."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fleet_lab.vm.config import KERNEL_ARGUMENTS, Files, Image, Shape

SSH_PORT = 22
PROGRAM = "qemu-system-x86_64"
KVM, TCG = "kvm", "tcg"

ACCELERATION = {
    KVM: ["-accel", "kvm", "-cpu", "host"],
    # "max" borrows the vendor of the machine it runs on, and with AMD's the guest sees no threads in a core.
    TCG: ["-accel", "tcg,thread=multi", "-cpu", "max,vendor=GenuineIntel"],
}

# As firmware tells it: a neighbour's memory is about twice as far away.
FAR = 21
FIRST_BUS = 64  # PCI buses of the nodes, 32 apart and above those of the board itself
BUSES_APART = 32


def command(shape: Shape, accelerator: str, image: Image, files: Files, port: int) -> list[str]:
    """Return the command that starts the machine in the background, in `files.run`, with ssh at 127.0.0.1:`port`."""
    return [
        PROGRAM,
        *("-name", "tfserving-lab-vm"),
        # No disk controllers and no management bus: the kernel would look for what is on them.
        *("-machine", "q35,sata=off,smbus=off"),
        *ACCELERATION[accelerator],
        *("-nodefaults", "-display", "none"),
        *_nodes(shape),
        *_displays(shape),
        # Write-back with honoured flushes: what the guest has not flushed is lost in a power cut, the rest is not.
        *("-drive", f"if=none,id=root,format=qcow2,cache=writeback,discard=unmap,file={files.disk.name}"),
        *("-device", "virtio-blk-pci,drive=root,bus=pcie.0"),
        *_disks(shape),
        *("-netdev", f"user,id=net,{_forwarded(((port, SSH_PORT), *shape.ports))}"),
        *("-device", "virtio-net-pci,netdev=net,bus=pcie.0,romfile="),
        *("-device", "virtio-rng-pci,bus=pcie.0"),
        *("-kernel", str(image.kernel), "-initrd", str(image.ramdisk), "-append", f"root=/dev/vda {KERNEL_ARGUMENTS}"),
        *("-chardev", f"file,id=console,path={files.console.name},append=on", "-serial", "chardev:console"),
        # Names without folders: the path of a UNIX socket may have 107 characters, that of a cache may have more.
        *("-qmp", f"unix:{files.monitor.name},server=on,wait=off"),
        *("-pidfile", files.pid.name, "-daemonize"),
    ]


def probe_command(accelerator: str, shape: Shape, image: Image) -> list[str]:
    """Return the command that boots the same kernel and CPUs without a disk, with its messages on standard output."""
    smp = f"{shape.cpus},sockets={shape.nodes},cores={shape.cores},threads={shape.threads}"
    return [
        PROGRAM,
        *("-machine", "q35", *ACCELERATION[accelerator], "-smp", smp, "-m", "512"),
        *("-nodefaults", "-display", "none", "-no-reboot", "-serial", "stdio"),
        *("-kernel", str(image.kernel), "-initrd", str(image.ramdisk), "-append", "console=ttyS0 panic=-1"),
    ]


def _nodes(shape: Shape) -> list[str]:
    words = [
        *("-smp", f"{shape.cpus},sockets={shape.nodes},cores={shape.cores},threads={shape.threads}"),
        *("-m", str(shape.nodes * shape.memory_mb)),
    ]
    for node in range(shape.nodes):
        words += ["-object", f"memory-backend-ram,id=memory{node},size={shape.memory_mb}M"]
        words += ["-numa", f"node,nodeid={node},cpus={shape.node_cpus(node)},memdev=memory{node}"]
    for node in range(shape.nodes):
        for other in range(node):
            words += ["-numa", f"dist,src={other},dst={node},val={FAR}"]
    return words


def _displays(shape: Shape) -> list[str]:
    """Return the options for a PCI bus on every node, with a display device behind a port of its own."""
    words = []
    for node in range(shape.nodes):
        bus = FIRST_BUS + BUSES_APART * node
        words += ["-device", f"pxb-pcie,id=bus{node},bus_nr={bus},bus=pcie.0,numa_node={node}"]
        words += ["-device", f"pcie-root-port,id=port{node},bus=bus{node},chassis={node + 1}"]
        words += ["-device", f"bochs-display,bus=port{node}"]
    return words


def _disks(shape: Shape) -> list[str]:
    """Return the options for the further disks, which the guest sees behind its own in this order."""
    words = []
    for number, disk in enumerate(shape.disks):
        words += ["-drive", f"if=none,id=disk{number},format=raw,readonly=on,file={disk}"]
        words += ["-device", f"virtio-blk-pci,drive=disk{number},bus=pcie.0"]
    return words


def _forwarded(ports: Iterable[tuple[int, int]]) -> str:
    return ",".join(f"hostfwd=tcp:127.0.0.1:{outside}-:{inside}" for outside, inside in ports)


def cpu_threads(path: Path) -> list[int]:
    """Return the thread ids of the running machine's CPUs, in their order; raise OSError if it does not listen."""
    cpus = monitor(path, "query-cpus-fast")
    return [int(cpu["thread-id"]) for cpu in sorted(cpus, key=lambda cpu: int(cpu["cpu-index"]))]


def monitor(path: Path, order: str) -> Any:
    """Give the running machine an order such as `system_reset` and return its answer; OSError if it does not listen."""
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(10)
            connection.connect(f"/proc/self/fd/{folder}/{path.name}")
            with connection.makefile("rw", encoding="utf-8") as stream:
                stream.readline()  # the greeting
                for name in ("qmp_capabilities", order):
                    stream.write(json.dumps({"execute": name}) + "\n")
                    stream.flush()
                    answer = _answer(stream)
                return answer
    finally:
        os.close(folder)


def _answer(lines: Iterable[str]) -> Any:
    """Return what an order gave. Events, such as of a reset, may come in between."""
    for line in lines:
        said = json.loads(line)
        if "return" in said:
            return said["return"]
        if "error" in said:
            raise OSError(f"QEMU refuses an order: {said['error'].get('desc')}")
    raise OSError("QEMU has ended without an answer")
