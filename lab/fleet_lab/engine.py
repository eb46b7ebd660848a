# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A working container engine: found, installed or started."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

from fleet_lab.build import debian
from fleet_lab.config import Lab
from fleet_lab.errors import Stop
from fleet_lab.shell import answer, quietly, tail

START_TIMEOUT_S = 60  # dockerd takes 1 to 3 s; the rest is for a first start on a slow disk
DAEMON_LOG = Path("/var/log/dockerd.log")  # not in the cache: the daemon outlives `clean-lab`


def engine(lab: Lab) -> str:
    """Make `docker` usable; raise Stop if this user cannot do that."""
    version = server_version()
    if version:
        return f"running, {version}"
    _refuse_what_cannot_be_mended()
    log = lab.logs / "engine.log"
    # iptables is only recommended by docker.io, but without it containers have no network.
    installed = debian.need_commands(
        {"docker": "docker.io", "dockerd": "docker.io", "iptables": "iptables"}, "the lab", log
    )
    started = not server_version()
    if started:
        _start(log)
    return f"{'installed, ' if installed else ''}{'started' if started else 'running'}, {server_version()}"


def server_version() -> str | None:
    return answer(["docker", "version", "--format", "{{.Server.Version}}"])


def _refuse_what_cannot_be_mended() -> None:
    if os.environ.get("DOCKER_HOST"):
        raise Stop(
            f"no container engine answers at DOCKER_HOST={os.environ['DOCKER_HOST']}; start it, or unset the variable"
        )
    if os.geteuid() == 0:
        return
    if shutil.which("docker") is None:
        raise Stop("the lab needs the Docker engine; as root run: apt-get install docker.io iptables")
    raise Stop(
        "the Docker engine does not answer this user; start it (systemctl start docker), or join the group docker"
    )


def _start(log: Path) -> None:
    if Path("/run/systemd/system").is_dir():
        quietly(["systemctl", "start", "docker"], log)
        if not server_version():
            raise Stop("docker.service was started but does not answer; see: journalctl -u docker")
        return
    # No systemd here (a container or a bare CI machine): the daemon gets a session of its own, so that it outlives us.
    with DAEMON_LOG.open("ab") as output:
        daemon = subprocess.Popen(
            ["dockerd"], stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
    deadline = time.monotonic() + START_TIMEOUT_S
    while not server_version():
        if daemon.poll() is not None:
            raise Stop(
                f"dockerd ended with exit code {daemon.returncode}; its whole output is in {DAEMON_LOG}",
                tail(DAEMON_LOG),
            )
        if time.monotonic() > deadline:
            raise Stop(f"dockerd does not answer after {START_TIMEOUT_S} s; see {DAEMON_LOG}", tail(DAEMON_LOG))
        time.sleep(0.2)
