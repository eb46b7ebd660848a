# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The programs of monitoring on a host: whether they run with the wanted command, and what the host has for them."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..disk.space import free_bytes
from ..gateway import owners
from ..host import process
from ..host.run import Run
from ..visible_text import told

# Where a monitoring host remembers the serving hosts, and what of each.
FLEET_RECORD = "/var/lib/tfserving-fleet/monitoring/fleet.json"
SERVING_HOST = {"address": str, "cpus": int, "gpus": int, "instances": [dict]}
# What the role's own files say of themselves at places that people may use as well.
OWN = b"# Of tfserving.fleet: "
MIB = 1 << 20
MOST_CONFIG_BYTES = 4 << 20
_LONGEST = 4096
_CONFFILE = re.compile(r"^ (/\S{1,300}) ([0-9a-f]{32})", re.MULTILINE)
# More blocks than ten years have.
_MOST_FILES = 1_000_000


def unit(run: Run, name: str, command: Sequence[str], proc: Path = process.PROC) -> dict[str, Any]:
    """Return how a unit stands: whether it ``runs``, and whether its process is not the wanted one (``stale``)."""
    pid = process.unit(run, name).pid
    if not pid:
        return {"runs": False, "stale": False}
    return {"runs": True, "stale": _arguments(pid, proc) != [*command] or _replaced(pid, proc)}


def _arguments(pid: int, proc: Path) -> list[str]:
    try:
        with open(proc / str(pid) / "cmdline", "rb") as file:
            return file.read(_LONGEST * 16).decode("utf-8", "replace").rstrip("\0").split("\0")
    except OSError:
        return []


def _replaced(pid: int, proc: Path) -> bool:
    """Return whether a package has replaced the program since the process started."""
    try:
        return os.readlink(proc / str(pid) / "exe").endswith(" (deleted)")
    except OSError:
        return False


def strangers(run: Run, units: Sequence[str], ports: Sequence[int], proc: Path = owners.PROC) -> dict[int, str]:
    """Return who else listens on our ports, in words, by port."""
    ours = {process.unit(run, name).pid for name in units}
    found: dict[int, str] = {}
    for port, pids in owners.listeners(ports, proc).items():
        for pid in sorted(pids - ours):
            try:
                comm = (proc / str(pid) / "comm").read_text(encoding="utf-8", errors="replace").strip()
            except OSError:
                comm = "?"
            found.setdefault(port, f"process {pid} ({told(comm, 64)})")
    return found


def edited(run: Run, package: str) -> list[str]:
    """Return the configuration files of a package that somebody has changed: then somebody else runs it."""
    status, out, _err = run(["dpkg-query", "--show", "--showformat", "${Conffiles}\n", package])
    found = _CONFFILE.findall(out) if status == 0 else []
    return sorted(path for path, digest in found if _is_configuration(path) and _differs(path, digest))


def _is_configuration(path: str) -> bool:
    return path.startswith("/etc/default/") or path.endswith((".yml", ".yaml"))


def _differs(path: str, digest: str) -> bool:
    try:
        with open(path, "rb") as file:
            content = file.read(MOST_CONFIG_BYTES)
    except OSError:
        return False
    # dpkg keeps no other digest of them.
    return hashlib.md5(content, usedforsecurity=False).hexdigest() != digest


def foreign(paths: Sequence[str]) -> list[str]:
    """Return the files of these that are there and not the role's own, which say so in their first lines."""
    return [path for path in paths if os.path.lexists(path) and not _is_own(path)]


def _is_own(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return OWN in file.read(_LONGEST)
    except OSError:
        return False


def memory_mb(proc: Path = process.PROC) -> int:
    """Return the memory of the host, 0 if that is unknown."""
    try:
        found = re.search(r"^MemTotal: +([0-9]+) kB", (proc / "meminfo").read_text(), re.MULTILINE)
    except OSError:
        return 0
    return int(found[1]) >> 10 if found else 0


def disk_mb(folder: str) -> int:
    """Return what the file system of a folder has free and what is in the folder already, 0 if unknown."""
    there = Path(folder)
    while not there.exists():
        there = there.parent
    try:
        return (free_bytes(str(there)) + _used(folder)) // MIB
    except OSError:
        return 0


def _used(folder: str) -> int:
    used = count = 0
    for home, _folders, names in os.walk(folder):
        for name in names:
            count += 1
            if count > _MOST_FILES:
                return used
            try:
                used += os.lstat(os.path.join(home, name)).st_blocks * 512
            except OSError:
                continue
    return used


def read(run: Run, units: Mapping[str, Sequence[str]], ports: Sequence[int], data: str) -> dict[str, Any]:
    """Return the units by name, who else has their ports, and what the host has for data."""
    return {
        "units": {name: unit(run, name, command) for name, command in units.items()},
        "others": {str(port): who for port, who in strangers(run, [*units], ports).items()} if ports else {},
        "disk_mb": disk_mb(data) if data else 0,
        "memory_mb": memory_mb(),
    }
