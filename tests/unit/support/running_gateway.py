# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The HAProxy of this machine's distribution, unpacked beside it and run in master-worker mode as its unit does."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from functools import cache
from pathlib import Path

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.gateway import runtime
from repository import REPOSITORY

CACHE = REPOSITORY / ".cache" / "haproxy"
# With what it links to and a machine without it lacks.
PACKAGES = ("haproxy", "liblua5.3-0", "libopentracing-c-wrapper0", "libopentracing1")


@cache
def program() -> str:
    """Return the path of HAProxy, fetched once; skips the test where the distribution's package cannot be had."""
    found = CACHE / "haproxy"
    if not found.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as folder:
            _fetch(Path(folder))
    said = subprocess.run([str(found), "-v"], capture_output=True, text=True, check=False)
    if said.returncode:
        pytest.skip(f"the distribution's HAProxy does not run here ({said.stderr.strip()})")
    return str(found)


def _fetch(folder: Path) -> None:
    """Unpack the packages for good, and leave a program that finds their libraries."""
    if not shutil.which("apt-get"):
        pytest.skip("there is no apt-get on this machine to fetch HAProxy with")
    download = ["apt-get", "download", *PACKAGES]
    done = subprocess.run(download, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        # A machine that was never asked has no index of packages.
        subprocess.run(["apt-get", "update"], capture_output=True, check=False)
        done = subprocess.run(download, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"apt-get cannot fetch HAProxy ({done.stderr.strip()})")
    for package in folder.glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", str(package), str(folder / "root")], check=True)
    shutil.copytree(folder / "root", CACHE / "root", dirs_exist_ok=True)
    libraries = ":".join(sorted({str(path.parent) for path in (CACHE / "root").rglob("*.so.*")}))
    script = CACHE / f".haproxy.{os.getpid()}"
    script.write_text(f'#!/bin/sh\nLD_LIBRARY_PATH={libraries} exec {CACHE}/root/usr/sbin/haproxy "$@"\n')
    script.chmod(0o755)
    script.rename(CACHE / "haproxy")


class Gateway:
    """HAProxy as its unit runs it, in a folder of its own; ``systemctl`` and ``journalctl`` know of it."""

    def __init__(self, folder: Path, config: str) -> None:
        self.folder = folder
        self.config = folder / "haproxy.cfg"
        self.socket = str(folder / "admin.sock")
        self.master_socket = str(folder / "master.sock")
        self.log = folder / "log"
        self.write(config)
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [program(), "-Ws", "-f", str(self.config), "-S", f"unix@{self.master_socket}"],
                stdout=log,
                stderr=log,
                env={key: value for key, value in os.environ.items() if key != "NOTIFY_SOCKET"},
            )
        self.awaited()

    def write(self, config: str) -> None:
        """Replace the configuration; {folder} and {socket} are places of this gateway."""
        self.config.write_text(config.replace("{folder}", str(self.folder)).replace("{socket}", self.socket))

    def awaited(self) -> None:
        """Wait until the worker and the master answer: a master that is not ready yet misses signals."""
        for _turn in range(3000):
            try:
                runtime.ask(self.socket, "show info")
                if runtime.processes(runtime.ask(self.master_socket, "show proc"))["workers"]:
                    return
            except runtime.SocketError:
                assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.02)
        raise AssertionError(self.log.read_text())

    def reload(self) -> None:
        """Reload as the unit does."""
        self.process.send_signal(signal.SIGUSR2)

    def run(self, arguments: list[str]) -> tuple[int, str, str]:
        """Answer as systemctl and journalctl would."""
        if arguments[0] == "systemctl":
            pid = self.process.pid if self.process.poll() is None else 0
            return 0, f"LoadState=loaded\nActiveState={'active' if pid else 'failed'}\nMainPID={pid}\n", ""
        if arguments[0] == "journalctl":
            return 0, self.log.read_text(), ""
        return 127, "", "no such program"

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait()
