# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A serving lab host as an image, which boots in six seconds instead of the half minute that site.yml takes.

Made by an ordinary run of site.yml (inventory: lab/serving). Scenarios that use it test what a change does to a serving
host; the others start from a fresh one.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fleet_lab import environment, hosts
from fleet_lab.build import hashing
from fleet_lab.build.image import current_tag
from fleet_lab.build.server_source import content_key
from fleet_lab.config import LABEL, Lab
from fleet_lab.shell import answer, quietly

IMAGE_NAME = "tfserving-lab-serving"
HOST = "lab-serving"
# Each boot makes an identity of its own, and the journal of the old one is of no use to it. The mark is for lab-init.
FORGET = ": > /etc/machine-id; rm -rf /var/log/journal; touch /var/lib/lab-snapshot"
# What site.yml makes of a host depends on the collection, on its Ansible, and on the wishes.
SOURCES = ("roles", "plugins", "playbooks", "templates", "site.yml", "requirements/dev.txt", "lab/serving")


def snapshot(lab: Lab) -> str:
    """Make the snapshot unless it exists; the first stage that needs it makes it, and the others wait."""
    tag = snapshot_tag(lab, current_tag(lab), content_key(lab))
    with _alone(lab.state / "snapshot.lock"):
        if answer(["docker", "image", "inspect", "--format", "{{.Id}}", tag]):
            return f"reused {tag}"
        _make(lab, tag)
    _forget_others(lab, tag)
    return f"built {tag}"


def snapshot_tag(lab: Lab, image: str, content: str) -> str:
    """Return the snapshot's tag, which also depends on this machine's CPUs and memory, since the host's plan does."""
    machine = [f"{os.cpu_count()} CPUs", _memory(Path("/proc/meminfo"))]
    key = hashing.key_of_files([lab.root / name for name in SOURCES], image, content, *machine)
    return f"{IMAGE_NAME}:{lab.suite}-{key}"


def _memory(file: Path) -> str:
    return next(line for line in file.read_text().splitlines() if line.startswith("MemTotal:"))


@contextmanager
def _alone(file: Path) -> Iterator[None]:
    with file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _make(lab: Lab, tag: str) -> None:
    log = lab.logs / "snapshot.log"
    answer(["docker", "rm", "--force", "--volumes", HOST])  # left over from a run that was cut off
    options = [f"--name={HOST}", f"--hostname={HOST}", f"--label={LABEL}=snapshot"]
    arguments = hosts.host_arguments(lab, hosts.cgroup_version())
    try:
        quietly(["docker", "run", "--detach", *options, *arguments, current_tag(lab)], log)
        hosts.wait_for_boot(HOST)
        play: list[str | Path] = [lab.venv / "bin" / "ansible-playbook", "--inventory", "lab/serving", "site.yml"]
        quietly(play, log, environment.ansible(lab), lab.root)
        quietly(["docker", "exec", HOST, "sh", "-c", FORGET], log)
        quietly(["docker", "stop", HOST], log)
        quietly(["docker", "commit", HOST, tag], log)
    finally:
        answer(["docker", "rm", "--force", "--volumes", HOST])


def _forget_others(lab: Lab, wanted: str) -> None:
    """Remove this release's older snapshots; one that a container still uses stays."""
    names = answer(["docker", "image", "ls", "--format", "{{.Repository}}:{{.Tag}}", IMAGE_NAME]) or ""
    for name in names.split():
        if name.startswith(f"{IMAGE_NAME}:{lab.suite}-") and name != wanted:
            answer(["docker", "image", "rm", name])
