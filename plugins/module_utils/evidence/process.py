# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The server's process as a few files tell it, cheap enough for once a second."""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from ..host.sysfs import Tree
from .cpus import tick_us


class Process(NamedTuple):
    """A running process: its start since boot in ticks, its CPU time in microseconds, its memory in MiB."""

    pid: int
    started: int
    cpu_us: int
    rss_mb: float


def read(tree: Tree, pid: int) -> Process | None:
    """Return the process, or None if it is gone."""
    # Behind the name in parentheses, which may hold blanks: field 3 comes first (proc(5)).
    fields = (tree.text(f"proc/{pid}/stat") or "").rpartition(")")[2].split()
    pages = (tree.text(f"proc/{pid}/statm") or "").split()
    if len(fields) < 20 or len(pages) < 2:
        return None
    cpu_us = (int(fields[11]) + int(fields[12])) * tick_us()
    return Process(pid, int(fields[19]), cpu_us, round(int(pages[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20), 1))


def successor(tree: Tree, group: str | None) -> int | None:
    """Return the first process of a unit's group: that of a server which systemd has started again."""
    pids = [int(line) for line in tree.lines(f"{group}/cgroup.procs") if re.fullmatch("[1-9][0-9]{0,9}", line)]
    return min(pids, default=None) if group else None
