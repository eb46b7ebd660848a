# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Who listens on the gateway's ports.

HAProxy shares its ports (SO_REUSEPORT), as TensorFlow Serving's gRPC does. A second process on one of them is no error
for anybody: half of the connections go to it, and whatever an old configuration says is done to them.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from ..visible_text import told

PROC = Path("/proc")
_LISTEN = "0A"  # TCP_LISTEN in /proc/net/tcp (include/net/tcp_states.h)
_LONGEST_NAME = 64
_MOST_PORTS = 1000


def problems(ports: Iterable[int], master: int, proc: Path = PROC) -> list[str]:
    """Return a sentence for each port on which not HAProxy alone listens: its ``master``, or workers of that one."""
    wanted = sorted(set(ports))
    owners = listeners(wanted, proc)
    return [sentence for port in wanted for sentence in _of_port(port, owners[port], master, proc)]


def others(master: int, proc: Path = PROC) -> dict[int, str]:
    """Return in words who listens on each port of the host, but for HAProxy: its ``master``, or workers of that one.

    A ``master`` of 0 is one that does not run.
    """
    found: dict[int, str] = {}
    for port, owners in listeners(None, proc).items():
        for pid in sorted(owners):
            if len(found) < _MOST_PORTS and not (master and master in (pid, _parent(pid, proc))):
                found.setdefault(port, _who(pid, proc))
    return found


def _who(pid: int, proc: Path) -> str:
    return f"process {pid} ({told(_text(proc / str(pid) / 'comm').strip(), _LONGEST_NAME)})"


def _of_port(port: int, owners: set[int], master: int, proc: Path) -> Iterator[str]:
    ours = {pid for pid in owners if master in (pid, _parent(pid, proc))}
    for pid in sorted(owners - ours):
        who = _who(pid, proc)
        yield (
            f"port {port}: {who} listens there as well and takes a share of the connections; stop it"
            if ours
            else (f"port {port}: {who} listens there instead of HAProxy; stop it, or give the gateway another port")
        )
    if not owners:
        yield f"port {port}: HAProxy does not listen there; see journalctl -u haproxy"


def listeners(ports: Iterable[int] | None, proc: Path = PROC) -> dict[int, set[int]]:
    """Return the processes that listen on each of these ports, or on each port that anybody listens on."""
    sockets = _sockets(None if ports is None else set(ports), proc)
    found: dict[int, set[int]] = {port: set() for port in (sockets.values() if ports is None else ports)}
    for pid in _pids(proc) if sockets else ():
        for name in _descriptors(pid, proc):
            if name in sockets:
                found[sockets[name]].add(pid)
    return found


def _sockets(ports: Collection[int] | None, proc: Path) -> dict[str, int]:
    """Return the port of each listening socket, by what /proc/PID/fd calls it."""
    found = {}
    for table in ("tcp", "tcp6"):
        for line in _text(proc / "net" / table).splitlines()[1:]:
            fields = line.split()
            port = int(fields[1].rpartition(":")[2], 16)
            if fields[3] == _LISTEN and (ports is None or port in ports):
                found[f"socket:[{fields[9]}]"] = port
    return found


def _pids(proc: Path) -> list[int]:
    return sorted(int(name) for name in os.listdir(proc) if name.isdigit())


def _descriptors(pid: int, proc: Path) -> Iterator[str]:
    folder = proc / str(pid) / "fd"
    with suppress(OSError):
        for name in os.listdir(folder):
            with suppress(OSError):
                yield os.readlink(folder / name)


def _parent(pid: int, proc: Path) -> int:
    # After the name in parentheses, which may itself hold blanks: the state, then the parent.
    fields = _text(proc / str(pid) / "stat").rpartition(")")[2].split()
    return int(fields[1]) if len(fields) > 1 else 0


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
