# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The running VM: up, down, and the accidents that may happen to a server in between."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from fleet_lab.config import Lab
from fleet_lab.errors import Stop
from fleet_lab.shell import quietly, tail
from fleet_lab.vm.acceleration import acceleration
from fleet_lab.vm.config import HOST, Files, Image, Shape
from fleet_lab.vm.qemu import command, monitor

# Emulated, a boot takes 45 s of two free cores; a machine that also does other things gets far more than that.
BOOT_LIMIT_S = 600.0
CONSOLE_LINES = 40
END_LIMIT_S = 10.0
BOOTED = ("running", "degraded")  # degraded: a unit failed, which is for tests to notice

SSH_CONFIG = """\
Host {host}
  HostName 127.0.0.1
  Port {port}
  User root
  IdentityFile {key}
  IdentitiesOnly yes
  UserKnownHostsFile {known_hosts}
  HostKeyAlias {host}
  StrictHostKeyChecking yes
  # The default of newer clients is a hundred times more work, seconds of it on an emulated CPU.
  KexAlgorithms curve25519-sha256
  ConnectTimeout 20
  ServerAliveInterval 5
  ServerAliveCountMax 4
  LogLevel ERROR
"""


class Machine:
    """The one VM of a lab. Its disk lasts from `up` to `down`, over resets, reboots and power cuts."""

    def __init__(self, lab: Lab, shape: Shape = Shape()) -> None:  # noqa: B008 - frozen
        self.lab = lab
        self.shape = shape
        self.files = Files.of(lab)

    def up(self, image: Image) -> str:
        """Boot a fresh machine on `image`, or leave a running one alone."""
        if self.running():
            return "is running already"
        self._forget_disk()
        self.files.run.mkdir(parents=True, exist_ok=True)
        base = ["-b", str(image.disk), "-F", "raw"]
        quietly(["qemu-img", "create", "-q", "-f", "qcow2", *base, self.files.disk], self.log)
        accelerator, reason = acceleration(self.lab, image, self.shape)
        port = free_port()
        record = {"image": str(image.folder), "accelerator": accelerator, "port": port}
        self.files.machine.write_text(json.dumps(record) + "\n")
        self._write_ssh_config(image, port)
        return f"{self.power_on()} with {accelerator} ({reason})"

    def power_on(self) -> str:
        """Boot the machine from its disk and wait until it is up."""
        record = self._record()
        self.files.console.unlink(missing_ok=True)
        image = Image(Path(record["image"]))
        words = command(self.shape, record["accelerator"], image, self.files, record["port"])
        quietly(words, self.log, cwd=self.files.run)
        return self.wait_for_boot()

    def down(self) -> str:
        """End the machine and remove its disk."""
        was = "ended" if self.running() else "was not running"
        self._kill()
        self._forget_disk()
        return was

    def reset(self) -> str:
        """Press the reset button: memory is lost, disk and QEMU stay."""
        self._need_running()
        before = self.boot_id()
        monitor(self.files.monitor, "system_reset")
        return self.wait_for_boot(other_than=before)

    def cut(self) -> None:
        """Pull the plug; anything not yet on disk is lost."""
        self._need_running()
        self._kill()

    def wait_for_boot(self, other_than: str = "") -> str:
        """Wait until systemd has finished a boot other than `other_than`; raise Stop with the console's last lines."""
        start = time.monotonic()
        self._await(self._ssh_answers, start, "ssh does not answer")
        self._await(lambda: self.boot_id() not in ("", other_than), start, "nobody can log in")
        self._await(lambda: self.state() in BOOTED, start, "systemd does not finish")
        return f"booted in {time.monotonic() - start:.0f} s"

    def boot_id(self) -> str:
        return self.ask("cat /proc/sys/kernel/random/boot_id")

    def state(self) -> str:
        return self.ask("systemctl is-system-running --wait || true")

    def ask(self, words: str, limit: float = 60) -> str:
        """Return the output of a shell command on the machine; empty if it does not answer."""
        try:
            result = subprocess.run(
                self.ssh(words), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=limit, check=False
            )
        except subprocess.TimeoutExpired:
            return ""
        return result.stdout.strip()

    def ssh(self, *words: str) -> list[str]:
        return ["ssh", "-F", str(self.files.ssh_config), HOST, *words]

    def running(self) -> bool:
        return self._pid() is not None

    def status(self) -> str:
        """Return the machine's status as a line for people."""
        if not self.running():
            return "off; its disk is there, `cut` left it" if self.files.disk.exists() else "not there"
        record = self._record()
        state = self.state() if self._ssh_answers() else "not reachable"
        return f"{state} (pid {self._pid()}, {record['accelerator']}, ssh -F {self.files.ssh_config} {HOST})"

    @property
    def accelerator(self) -> str:
        """What it was started with, "kvm" or "tcg"."""
        return str(self._record()["accelerator"])

    @property
    def log(self) -> Path:
        return self.lab.logs / "vm.log"

    def _ssh_answers(self) -> bool:
        """Return whether ssh answers, by its port alone: a login that comes too early would slow the boot too much."""
        with suppress(OSError), socket.create_connection(("127.0.0.1", self._record()["port"]), 5) as connection:
            return connection.recv(4) == b"SSH-"
        return False

    def _await(self, condition: Callable[[], bool], start: float, complaint: str) -> None:
        while not condition():
            if not self.running():
                raise Stop(f"QEMU has ended while {complaint}; see {self.log}", self._console())
            if time.monotonic() - start > BOOT_LIMIT_S:
                told = f"after {BOOT_LIMIT_S:.0f} s {complaint}; the console is in {self.files.console}"
                raise Stop(told, self._console())
            time.sleep(0.5)

    def _console(self) -> str:
        return tail(self.files.console, CONSOLE_LINES) if self.files.console.exists() else ""

    def _record(self) -> dict[str, Any]:
        try:
            record: dict[str, Any] = json.loads(self.files.machine.read_text())
        except FileNotFoundError:
            raise Stop("there is no VM; start one with: python3 lab/vm/vm.py up") from None
        return record

    def _need_running(self) -> None:
        if not self.running():
            raise Stop("the VM is not running; start it with: python3 lab/vm/vm.py up")

    def _pid(self) -> int | None:
        """Return the machine's process id, if that is still its process and not another with the same number."""
        try:
            pid = int(self.files.pid.read_text())
            words = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (OSError, ValueError):
            return None
        return pid if b"tfserving-lab-vm" in words else None

    def _kill(self) -> None:
        pid = self._pid()
        if pid is None:
            return
        os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + END_LIMIT_S
        while not ended(pid):
            if time.monotonic() > deadline:
                raise Stop(f"QEMU (pid {pid}) does not end; look at it with: ps {pid}")
            time.sleep(0.05)

    def _forget_disk(self) -> None:
        shutil.rmtree(self.files.run, ignore_errors=True)

    def _write_ssh_config(self, image: Image, port: int) -> None:
        self.files.ssh_config.write_text(
            SSH_CONFIG.format(host=HOST, port=port, key=self.files.key, known_hosts=image.known_hosts)
        )


def ended(pid: int) -> bool:
    """Return whether a process has released its files and ports; unless reaped, it stays in the table without them.

    Its first thread may be a zombie while others are still ending, and only the last one closes the files.
    """
    process = Path(f"/proc/{pid}")
    try:
        state = (process / "stat").read_text().rpartition(") ")[2].split()[0]
        return state in "ZX" and len(list((process / "task").iterdir())) == 1
    except OSError:
        return True


def free_port() -> int:
    """Return a TCP port on the loopback address that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
