# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The VM's hardware and the paths of its files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fleet_lab.config import Lab

HOST = "vm"  # its name for ssh and in the inventory
USERS = ("root", "user")

# The smallest disk that has room for the system and for what a playbook installs; a sparse file, so it costs nothing.
DISK_MB = 4096

# What the kernel is started with, beside its root. Nothing here is about speed on a real CPU. An emulated one saves a
# sixth of its boot: every character on the serial console is a trap, and defences against speculation cost instructions
# without a purpose where nothing speculates.
KERNEL_ARGUMENTS = "console=ttyS0 rw panic=-1 quiet systemd.show_status=yes mitigations=off nokaslr"


@dataclass(frozen=True)
class Shape:
    """A server with NUMA: `nodes` sockets, each with `cores` cores of `threads` threads and `memory_mb` of its own.

    Every node has one display device, a stand-in for a GPU; disk and network card belong to no node in particular.
    ``disks`` are further ones, raw and never written to; ``ports`` pairs a port of this machine's loopback address with
    the one of the guest that it leads to.
    """

    nodes: int = 2
    cores: int = 3
    threads: int = 2
    memory_mb: int = 1024
    disks: tuple[Path, ...] = ()
    ports: tuple[tuple[int, int], ...] = ()

    @property
    def cpus(self) -> int:
        return self.nodes * self.cpus_per_node

    @property
    def cpus_per_node(self) -> int:
        return self.cores * self.threads

    def node_cpus(self, node: int) -> str:
        """Return the CPUs of a node in QEMU's format."""
        first = node * self.cpus_per_node
        return f"{first}-{first + self.cpus_per_node - 1}"


@dataclass(frozen=True)
class Files:
    """The VM's files: `folder` is shared by all VMs of a cache, `run` holds the one machine that may run."""

    folder: Path

    @classmethod
    def of(cls, lab: Lab) -> Files:
        return cls(lab.state / "vm")

    @property
    def key(self) -> Path:
        return self.folder / "key"

    @property
    def public_key(self) -> Path:
        return self.folder / "key.pub"

    @property
    def acceleration(self) -> Path:
        return self.folder / "acceleration.json"

    @property
    def run(self) -> Path:
        return self.folder / "run"

    @property
    def disk(self) -> Path:
        """The writes of this machine; the image below them never changes."""
        return self.run / "disk.qcow2"

    @property
    def machine(self) -> Path:
        """The data to start it again: port and image."""
        return self.run / "machine.json"

    @property
    def console(self) -> Path:
        return self.run / "console.log"

    @property
    def pid(self) -> Path:
        return self.run / "qemu.pid"

    @property
    def monitor(self) -> Path:
        return self.run / "monitor.sock"

    @property
    def ssh_config(self) -> Path:
        """The configuration of ssh, not in `run`, since inventories name it before there is a machine."""
        return self.folder / "ssh_config"


@dataclass(frozen=True)
class Image:
    """A built image: one folder, either complete or absent."""

    folder: Path

    @property
    def disk(self) -> Path:
        return self.folder / "disk.img"

    @property
    def kernel(self) -> Path:
        return self.folder / "vmlinuz"

    @property
    def ramdisk(self) -> Path:
        return self.folder / "initrd"

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"

    def __bool__(self) -> bool:
        return self.folder.is_dir()
