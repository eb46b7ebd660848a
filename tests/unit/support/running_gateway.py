# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""HAProxy of Debian 12, run in master-worker mode as its unit does."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import haproxies
from ansible_collections.tfserving.fleet.plugins.module_utils.gateway import runtime


def program() -> str:
    """Return the path of HAProxy; skips the test where it cannot be had."""
    return haproxies.program(haproxies.BOOKWORM)


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
