# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Requests to this machine's own package manager."""

from __future__ import annotations

import functools
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from fleet_lab.errors import Stop
from fleet_lab.shell import answer, quietly

ENVIRONMENT = {"DEBIAN_FRONTEND": "noninteractive"}
# A machine that has just booted is often held by its own daily apt run: wait for it, do not fail.
INSTALL = ["apt-get", "install", "-y", "-q", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=120"]

# Settings of this machine's apt without which its archive cannot be read (a proxy, a frozen snapshot).
CARRIED_SETTINGS = re.compile(r"Acquire::(https?::Proxy|Check-Valid-Until|Check-Date|Retries)\b")
DEFAULT_ARCHIVE = "http://deb.debian.org/debian"
DEFAULT_SECURITY = "http://deb.debian.org/debian-security"


def may_install() -> bool:
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def need_commands(commands: Mapping[str, str], purpose: str, log: Path) -> list[str]:
    """Make commands available, and return the installed packages; `commands` maps each to its Debian package.

    Raise Stop with the exact command to run if this user or system cannot install packages.
    """
    missing = sorted({package for command, package in commands.items() if shutil.which(command) is None})
    if missing:
        install(missing, purpose, log)
    return missing


def install(packages: list[str], purpose: str, log: Path) -> None:
    """Install packages, refreshing the package lists only if needed."""
    if not may_install():
        raise Stop(
            f"{purpose} needs {', '.join(packages)}; as root on Debian 12 run: apt-get install {' '.join(packages)}"
        )
    try:
        quietly([*INSTALL, *packages], log, ENVIRONMENT)
    except Stop:
        quietly(["apt-get", "update", "-q"], log, ENVIRONMENT)
        quietly([*INSTALL, *packages], log, ENVIRONMENT)


def architecture() -> str:
    """Return Debian's name for this machine's architecture, such as amd64."""
    name = answer(["dpkg", "--print-architecture"])
    if name is None:
        raise Stop("dpkg cannot name this machine's architecture; the lab is built on Debian 12")
    return name


def archive_lines(suite: str, uris: str) -> list[str]:
    """Return apt lines for a release of Debian, from the archive that this machine itself uses.

    uris: the output of `apt-get update --print-uris`, which needs no package lists. Debian's archives are recognised by
    the ends of their addresses, even on mirrors and caching proxies; the first one is used. A machine without any
    (Ubuntu) gets Debian's own address.
    """
    found: dict[str, str] = {}
    for address, name in re.findall(r"^'(\S+/(debian|debian-security))/dists/", uris, re.MULTILINE):
        found.setdefault(name, address)
    archive = found.get("debian", DEFAULT_ARCHIVE)
    security = found.get("debian-security", DEFAULT_SECURITY)
    return [
        f"deb {archive} {suite} main",
        f"deb {archive} {suite}-updates main",
        f"deb {security} {suite}-security main",
    ]


def carried_settings(apt_config: str) -> list[str]:
    """Return the lines of `apt-config dump` that the lab's hosts need too; they cannot use a proxy on loopback."""
    lines = [line.strip() for line in apt_config.splitlines() if CARRIED_SETTINGS.match(line.strip())]
    return [line for line in lines if not re.search(r"//(localhost|127\.|\[::1\])", line)]


@functools.cache
def machine_archive(suite: str) -> tuple[list[str], list[str]]:
    """Return (apt lines, apt settings) for the lab's hosts, read from this machine."""
    uris = answer(["apt-get", "update", "--print-uris"]) or ""
    return archive_lines(suite, uris), carried_settings(answer(["apt-config", "dump"]) or "")
