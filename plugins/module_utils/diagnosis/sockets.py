# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Who listens where, how full the queues of new connections are, and what callers have sent that nobody has read."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

from ..host.sysfs import Tree
from ..visible_text import told

LOOPBACK = 127
LISTEN, ESTABLISHED = "0A", "01"  # include/net/tcp_states.h
MOST_LISTENERS = 200
# A table of a busy gateway has some ten thousand lines.
MOST_LINES = 100_000
_SS = re.compile(r"LISTEN\s+(\d+)\s+(\d+)\s+(\S+):(\d+)\s")


class Row(NamedTuple):
    """A socket as the kernel lists it, its addresses in its own notation."""

    port: int
    peer: str
    state: str
    queue: int
    inode: str
    address: str


def rows(tree: Tree, network: str = "proc/net") -> Iterator[Row]:
    """Yield the TCP sockets of a network: that of a process is `proc/PID/net`."""
    for table in ("tcp", "tcp6"):
        for line in tree.lines(f"{network}/{table}")[1:MOST_LINES]:
            fields = line.split()
            if len(fields) > 9 and ":" in fields[1] and ":" in fields[4]:
                # Of a socket that listens the queue holds connections, of others bytes.
                received = int(fields[4].partition(":")[2], 16)
                address, _colon, port = fields[1].rpartition(":")
                yield Row(int(port, 16), fields[2].partition(":")[0], fields[3], received, fields[9], address)


def of_ports(tree: Tree, ports: Collection[int]) -> dict[str, int]:
    """Return what callers on some ports wait for: connections, bytes that nobody has read, connections to be taken."""
    found = [row for row in rows(tree) if row.port in ports]
    open_ones = [row for row in found if row.state == ESTABLISHED]
    return {
        "established": len(open_ones),
        "unread_bytes": sum(row.queue for row in open_ones),
        "queued": sum(row.queue for row in found if row.state == LISTEN),
    }


def callers(tree: Tree, ports: Collection[int], most: int) -> set[int]:
    """Return the addresses of IPv4 that some of the callers on ports have, none of this host's own."""
    found: set[int] = set()
    for row in rows(tree):
        # A socket of IPv6 shows a caller of IPv4 as ::ffff:A.B.C.D.
        is_v4 = len(row.peer) == 8 or row.peer.startswith("0000000000000000FFFF0000")
        if row.state == ESTABLISHED and row.port in ports and is_v4 and len(found) < most:
            found.add(socket.ntohl(int(row.peer[-8:], 16)))
    return {address for address in found if address >> 24 != LOOPBACK}


def listeners(tree: Tree, ss: str | None, pids: Collection[int], ports: Collection[int]) -> list[dict[str, Any]]:
    """Return the listeners on ``ports`` or of ``pids``; ``ss`` is the answer of ss -ltnH, which knows the backlogs."""
    told_by_ss = {int(port): (address, int(queue), int(most)) for queue, most, address, port in _SS.findall(ss or "")}
    owners = {inode: pid for pid in pids for inode in inodes(tree, pid)}
    found: list[dict[str, Any]] = []
    for row in rows(tree):
        pid = owners.get(row.inode)
        if row.state == LISTEN and (pid or row.port in ports) and len(found) < MOST_LISTENERS:
            address, queue, most = told_by_ss.get(row.port, (None, row.queue, None))
            shown = told(address, 60) if address else None
            found.append({"port": row.port, "address": shown, "pid": pid, "queue": queue, "backlog": most})
    return found


def inodes(tree: Tree, pid: int) -> Iterator[str]:
    """Yield the inodes of the sockets that a process has open."""
    for name in tree.names(f"proc/{pid}/fd"):
        try:
            link = os.readlink(tree.path(f"proc/{pid}/fd/{name}"))
        except OSError:
            continue
        if link.startswith("socket:["):
            yield link[8:-1]
