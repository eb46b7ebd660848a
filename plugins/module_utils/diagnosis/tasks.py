# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The process of a server and all its threads.

The kernel counts waiting and switching for each thread alone, so those figures of a process are sums over its threads
(proc(5); Documentation/scheduler/sched-stats).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ..evidence.cpus import tick_us
from ..host.sysfs import Tree
from ..visible_text import told

# A server has some hundred threads; four small files of each are read.
MOST_TASKS = 2000
# Positions behind the name in parentheses, from field 3 of proc(5) on.
_STATE, _MAJFLT, _USER, _SYSTEM, _THREADS, _STARTED = 0, 9, 11, 12, 17, 19


class Running(NamedTuple):
    """A process at one moment, and its threads."""

    process: dict[str, Any]
    tasks: list[dict[str, Any]]
    left_out: int


def read(tree: Tree, pid: int, most: int = MOST_TASKS) -> Running | None:
    """Return a process with its threads; None if it is gone."""
    fields = _fields(tree, f"proc/{pid}/stat")
    status = status_of(tree, f"proc/{pid}")
    if len(fields) <= _STARTED or not status:
        return None
    numbers = tree.numbered(f"proc/{pid}/task", "")
    found = [task for number in numbers[:most] if (task := _task(tree, pid, number))]
    process = {
        "pid": pid,
        "started": int(fields[_STARTED]),
        "age_s": _age_s(tree, int(fields[_STARTED])),
        "cpu_us": (int(fields[_USER]) + int(fields[_SYSTEM])) * tick_us(),
        **{name: _total(found, name) for name in ("run_us", "wait_us", "slices", "voluntary", "nonvoluntary")},
        "threads": int(fields[_THREADS]),
        "majflt": int(fields[_MAJFLT]),
        "rss_mb": _mb(status.get("VmRSS")),
        "swap_mb": _mb(status.get("VmSwap")),
        "read_bytes": _read_bytes(tree, pid),
        "fds": len(tree.names(f"proc/{pid}/fd")) or None,
    }
    kept = ("tid", "name", "state", "cpu_us", "wait_us", "wchan")
    return Running(process, [{name: task[name] for name in kept} for task in found], len(numbers) - len(found))


def _task(tree: Tree, pid: int, number: int) -> dict[str, Any] | None:
    folder = f"proc/{pid}/task/{number}"
    fields = _fields(tree, f"{folder}/stat")
    if len(fields) <= _SYSTEM:
        return None
    status = status_of(tree, folder)
    schedule = [int(word) for word in (tree.text(f"{folder}/schedstat") or "").split() if word.isdecimal()]
    run_us, wait_us, slices = (schedule[0] // 1000, schedule[1] // 1000, schedule[2]) if len(schedule) == 3 else _NONE
    wchan = tree.text(f"{folder}/wchan")
    return {
        "tid": number,
        "name": told(status.get("Name", ""), 40),
        "state": fields[_STATE][:1],
        "cpu_us": (int(fields[_USER]) + int(fields[_SYSTEM])) * tick_us() if run_us is None else run_us,
        "run_us": run_us,
        "wait_us": wait_us,
        "slices": slices,
        # The kernel shows a zero for a thread that runs, or to whom it does not want to tell.
        "wchan": "" if wchan == "0" else None if wchan is None else told(wchan, 60),
        "voluntary": _count(status.get("voluntary_ctxt_switches")),
        "nonvoluntary": _count(status.get("nonvoluntary_ctxt_switches")),
    }


_NONE = (None, None, None)


def _fields(tree: Tree, path: str) -> list[str]:
    """Return the fields behind the name, which may hold blanks and parentheses."""
    return (tree.text(path) or "").rpartition(")")[2].split()


def status_of(tree: Tree, folder: str) -> dict[str, str]:
    """Return the pairs of a ``status`` file."""
    pairs = (line.partition(":") for line in tree.lines(f"{folder}/status"))
    return {name: value.strip() for name, _colon, value in pairs}


def _total(found: list[dict[str, Any]], name: str) -> int | None:
    values = [task[name] for task in found if task[name] is not None]
    return sum(values) if values else None


def _age_s(tree: Tree, started: int) -> float | None:
    uptime = (tree.text("proc/uptime") or "").split()
    return round(float(uptime[0]) - started * tick_us() / 1e6, 2) if uptime else None


def _mb(text: str | None) -> float | None:
    words = (text or "").split()
    return round(int(words[0]) / 1024, 1) if words and words[0].isdecimal() else None


def _count(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() else None


def _read_bytes(tree: Tree, pid: int) -> int | None:
    lines = (line.partition(":") for line in tree.lines(f"proc/{pid}/io"))
    return next((_count(value.strip()) for name, _colon, value in lines if name == "read_bytes"), None)
