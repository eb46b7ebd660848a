# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The state of one server process according to systemd, the journal and /proc. Nothing here changes anything."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ..visible_text import visible
from .run import Run

PROC = Path("/proc")
NOBODY = 65534  # by number: names inside a root are its own


LOG_LINES = 20
# A server that polls its config writes these lines every few seconds (server_core.cc); they bury the relevant one.
_POLLING = re.compile(r"Adding/updating models\.|\(Re-\)adding model: ")
_READ_LINES = 500

_PROPERTIES = (
    "LoadState,ActiveState,SubState,NRestarts,MainPID,InvocationID,Result,ExecMainStatus,ExecStart,RootDirectory"
)
_LISTEN = "0A"  # TCP_LISTEN in /proc/net/tcp (include/net/tcp_states.h)
_ALLOCATORS = re.compile(r"/lib(jemalloc|tcmalloc|mimalloc)[^/]*\.so")


@dataclass(frozen=True)
class Unit:
    """A unit as shown by ``systemctl show``; texts are systemd's own, ``pid`` is 0 without a main process."""

    name: str
    load: str
    active: str
    sub: str
    restarts: int
    pid: int
    invocation: str
    result: str
    exit_status: int
    binary: str
    root: str

    @property
    def dead(self) -> bool:
        """Return whether it has ended and systemd will not restart it by itself."""
        return self.active in ("failed", "inactive")

    @property
    def verdict(self) -> str:
        """Return why it does not run, as the end of a sentence."""
        if self.load == "not-found":
            return f"the unit {self.name} does not exist"
        if self.active == "failed":
            return f"the unit is failed, {self.end}"
        if self.sub == "auto-restart":
            return f"the unit is waiting to be restarted, {self.end}"
        return f"the unit is {self.active}"

    @property
    def end(self) -> str:
        """Return how its last process ended."""
        if self.result == "signal":
            return f"ended by signal {self.exit_status}"
        return f"exit status {self.exit_status}" if self.result == "exit-code" else f"result {self.result}"


def runner(module: Any) -> Run:
    """Return ``run`` for an AnsibleModule; a missing program ends with status 127, as in a shell."""

    def run(arguments: list[str]) -> tuple[int, str, str]:
        try:
            ended: tuple[int, str, str] = module.run_command(arguments, handle_exceptions=False)
        except OSError as error:
            return 127, "", str(error)
        return ended

    return run


def unit(run: Run, name: str) -> Unit:
    """Return the state of the unit ``name``. Raises RuntimeError with one sentence if systemd does not answer."""
    status, out, err = run(["systemctl", "show", name, f"--property={_PROPERTIES}"])
    if status != 0:
        words = " ".join((err or out).split())
        raise RuntimeError(f"systemd does not report the state of {name} ({words})")
    shown = dict(line.split("=", 1) for line in out.splitlines() if "=" in line)
    binary = re.search(r"path=(\S+)", shown.get("ExecStart", ""))
    return Unit(
        name=name,
        load=shown.get("LoadState", ""),
        active=shown.get("ActiveState", ""),
        sub=shown.get("SubState", ""),
        restarts=_number(shown.get("NRestarts")),
        pid=_number(shown.get("MainPID")),
        invocation=shown.get("InvocationID", ""),
        result=shown.get("Result", ""),
        exit_status=_number(shown.get("ExecMainStatus")),
        binary=binary.group(1) if binary else "",
        root=shown.get("RootDirectory", ""),
    )


def _number(text: str | None) -> int:
    return int(text) if text and text.isdigit() else 0


def journal(run: Run, entry: Unit, of_all_starts: bool = False) -> list[str]:
    """Return the last lines that this start of the unit wrote; those of all starts if asked, or if it wrote none.

    Lines about polling are left out. No journal means no lines: a missing log must never hide the fault that it would
    have explained.
    """
    selections = [["-u", entry.name]]
    if entry.invocation and not of_all_starts:
        selections.insert(0, [f"_SYSTEMD_INVOCATION_ID={entry.invocation}"])
    for selection in selections:
        status, out, _err = run(
            ["journalctl", *selection, "-n", str(_READ_LINES), "-o", "cat", "--no-pager", "--quiet"]
        )
        found = [line for line in out.splitlines() if line.strip() and not _POLLING.search(line)]
        if status == 0 and found:
            return found[-LOG_LINES:]
    return []


def server_version(run: Run, entry: Unit) -> str:
    """Return the version that the unit's binary reports, or an empty text.

    A binary inside a root is run there, as nobody, and with all the unit's bind mounts if the unit runs: a GPU build
    may not start without the host's driver libraries.
    """
    if not entry.binary:
        return ""
    inside = []
    if entry.root.strip("/"):
        inside = ["chroot", f"--userspec={NOBODY}:{NOBODY}", f"/proc/{entry.pid}/root" if entry.pid else entry.root]
    status, out, err = run([*inside, entry.binary, "--version"])
    found = re.search(r"TensorFlow ModelServer:\s*(\S+)", out + err)
    return found.group(1) if status == 0 and found else ""


def stranger_on_port(port: int, entry: Unit, proc: Path = PROC) -> str:
    """Return who listens on ``port`` if it is not the unit, such as ``process 7 (haproxy)``; else an empty text.

    Needed because a server whose REST port is taken only logs that and continues without REST: answers then come from
    another process. Nobody listening, or no permission to look, counts as no stranger.
    """
    inodes = _listening(port, proc)
    if not inodes or _holds(entry.pid, inodes, proc):
        return ""
    owners = [pid for pid in _pids(proc) if _holds(pid, inodes, proc)]
    if not owners or any(_belongs(pid, entry.name, proc) for pid in owners):
        return ""
    return f"process {owners[0]} ({visible(_read(proc / str(owners[0]) / 'comm').strip())})"


def _listening(port: int, proc: Path) -> set[str]:
    inodes = set()
    for table in ("tcp", "tcp6"):
        for line in _read(proc / "net" / table).splitlines()[1:]:
            fields = line.split()
            if fields[3] == _LISTEN and int(fields[1].rsplit(":", 1)[1], 16) == port:
                inodes.add(f"socket:[{fields[9]}]")
    return inodes


def _holds(pid: int, inodes: set[str], proc: Path) -> bool:
    try:
        descriptors = list(os.scandir(proc / str(pid) / "fd"))
    except OSError:
        return False
    return any(_link(entry.path) in inodes for entry in descriptors)


def _belongs(pid: int, unit_name: str, proc: Path) -> bool:
    # A child of the main process belongs to the unit's control group too.
    return any(line.rstrip().endswith("/" + unit_name) for line in _read(proc / str(pid) / "cgroup").splitlines())


def _pids(proc: Path) -> Iterator[int]:
    return (int(entry.name) for entry in sorted(proc.iterdir()) if entry.name.isdigit())


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


@dataclass(frozen=True)
class Process:
    """A running process; lists are in the kernel's notation, memory is in MiB, the start in UTC (ISO 8601)."""

    cpus: str
    cpus_of_threads: tuple[str, ...]
    nodes: str
    rss_mb: int
    threads: int
    allocator: str
    malloc_conf: str
    started_at: str
    replaced: bool


def process(pid: int, proc: Path = PROC) -> Process | None:
    """Return the facts of ``pid``, or None if it is gone.

    ``cpus_of_threads`` holds the distinct CPU lists of its threads, ``replaced`` tells that its binary was exchanged
    since it started.
    """
    home = proc / str(pid)
    status = _status(home)
    if not status:
        return None
    lists = {_status(thread).get("Cpus_allowed_list", "") for thread in _threads(home)}
    return Process(
        cpus=status.get("Cpus_allowed_list", ""),
        cpus_of_threads=tuple(sorted(lists - {""})),
        nodes=status.get("Mems_allowed_list", ""),
        rss_mb=int(status.get("VmRSS", "0 kB").split()[0]) // 1024,
        threads=int(status.get("Threads", "0")),
        allocator=_allocator(home),
        malloc_conf=_variable(home, "MALLOC_CONF"),
        started_at=_started(home, proc),
        replaced=_link(str(home / "exe")).endswith(" (deleted)"),
    )


def age_s(pid: int, proc: Path = PROC) -> float | None:
    """Return the age of the process in seconds, or None if it is gone."""
    fields = _read(proc / str(pid) / "stat").rpartition(")")[2].split()
    uptime = _read(proc / "uptime").split()
    if len(fields) < 20 or not uptime:
        return None
    return float(uptime[0]) - int(fields[19]) / os.sysconf("SC_CLK_TCK")


def allocator_problems(instance: Mapping[str, Any], found: Process) -> list[str]:
    """Return a sentence if the planned allocator is not mapped: the loader goes on without what it cannot load."""
    preload = (instance.get("environment") or {}).get("LD_PRELOAD", "")
    # LD_PRELOAD separates its libraries by blanks or colons.
    names = [os.path.basename(path) for path in preload.replace(":", " ").split()]
    wanted = [known for known in ("jemalloc", "tcmalloc", "mimalloc") if any(known in name for name in names)]
    if not wanted or found.allocator in ("unknown", *wanted):
        return []
    return [f"its allocator is {found.allocator} although {preload} is to be preloaded"]


def _threads(home: Path) -> list[Path]:
    try:
        return list((home / "task").iterdir())
    except OSError:
        return []


def _status(home: Path) -> dict[str, str]:
    pairs = (line.partition(":") for line in _read(home / "status").splitlines())
    return {key: value.strip() for key, _colon, value in pairs}


def _allocator(home: Path) -> str:
    """Return the allocator that is actually mapped: a failed preload leaves the variable but not the library."""
    maps = _read(home / "maps")
    preloaded = _ALLOCATORS.search(maps)
    if preloaded:
        return preloaded.group(1)
    return "glibc" if re.search(r"/libc[.-][^/]*so", maps) else "unknown"


def _variable(home: Path, name: str) -> str:
    """Return one variable of the process. The others may hold secrets and are never returned."""
    pairs = (entry.partition("=") for entry in _read(home / "environ").split("\0"))
    return next((value for key, _equals, value in pairs if key == name), "")


def _started(home: Path, proc: Path) -> str:
    # Skips the name in parentheses, which may itself contain blanks: starttime is the 22nd of all fields.
    fields = _read(home / "stat").rpartition(")")[2].split()
    booted = re.search(r"^btime (\d+)$", _read(proc / "stat"), re.MULTILINE)
    if len(fields) < 20 or not booted:
        return ""
    seconds = int(booted.group(1)) + int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return datetime.fromtimestamp(seconds, tz=timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
