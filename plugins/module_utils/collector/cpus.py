# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The CPUs of each instance against its plan, and how long its threads ran and waited on them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from .. import cpu_list
from ..disk import plain_files
from .host import Host, Mark
from .sample import Samples, known

# The unit's TasksMax=.
MOST_THREADS = 8192
_ONLINE = "sys/devices/system/cpu/online"


def _is_pair(value: Any) -> bool:
    return plain_files.fits(value, [int]) and len(value) == 2


_KEPT = {str: {"pid": int, "ticks": int, "seen": _is_pair, "total": _is_pair}}


def read(host: Host) -> Samples:
    """Yield the samples."""
    before = host.state.section("cpus", _KEPT)
    kept: dict[str, Any] = {}
    for instance in host.instances:
        name = instance["name"]
        process = host.process(name)
        if process is None:
            continue
        threads = _threads(host, process.pid)
        kept[name] = _times(host, process, threads, before.get(name, {}))
        run, wait = (time / 1e9 for time in kept[name]["total"])
        values = {"instance_run_seconds_total": run, "instance_wait_seconds_total": wait}
        yield from known({**values, **_cpus(host, instance, process.pid, threads)}, serving_instance=name)
    host.state.keep("cpus", kept)


def _threads(host: Host, pid: int) -> list[int]:
    return host.tree.numbered(f"proc/{pid}/task", "")[:MOST_THREADS]


def _cpus(host: Host, instance: Mapping[str, Any], pid: int, threads: list[int]) -> dict[str, float | None]:
    allowed = set(_allowed(host, pid, [pid]))
    online = host.tree.numbers(_ONLINE)
    planned = frozenset(cpu_list.parse(instance["cpus"])).intersection(online or ())
    count = len(next(iter(allowed))) if allowed else None
    matches = all(each == planned for each in _allowed(host, pid, threads)) if planned and allowed else None
    return {"instance_cpus": count, "instance_cpus_match_plan": matches}


def _allowed(host: Host, pid: int, threads: list[int]) -> Iterator[frozenset[int]]:
    """Yield the CPUs that the kernel lets each thread use, cpuset and affinity together; ended ones are left out."""
    for thread in threads:
        if host.tree.live:
            try:
                # A call in place of a file: a server has thousands of threads.
                yield frozenset(os.sched_getaffinity(thread))
            except OSError:
                continue
        else:
            yield from _recorded(host, f"proc/{pid}/task/{thread}/status")


def _recorded(host: Host, path: str) -> Iterator[frozenset[int]]:
    # As kernel.cpusets.granted does, which would bring four modules more into each run.
    for line in host.tree.lines(path):
        if line.startswith("Cpus_allowed_list:"):
            yield frozenset(cpu_list.parse(line.split()[1]))


def _times(host: Host, process: Mark, threads: list[int], before: Mapping[str, Any]) -> dict[str, Any]:
    """Return the times on and for a CPU in nanoseconds.

    A thread that ends takes its times with it. So the sum over the threads is kept (``seen``), and only what it grew by
    is added to the counters.
    """
    seen = _sums(host, process.pid, threads)
    total = seen
    if (before.get("pid"), before.get("ticks")) == process:
        total = [old + max(0, now - then) for old, now, then in zip(before["total"], seen, before["seen"])]
    return {"pid": process.pid, "ticks": process.ticks, "seen": seen, "total": total}


def _sums(host: Host, pid: int, threads: list[int]) -> list[int]:
    run = wait = 0
    for thread in threads:
        # "ON_CPU WAITED SLICES", the first two in nanoseconds (Documentation/scheduler/sched-stats).
        words = _short(host.tree.path(f"proc/{pid}/task/{thread}/schedstat")).split()
        if len(words) > 1:
            run, wait = run + int(words[0]), wait + int(words[1])
    return [run, wait]


def _short(path: str) -> bytes:
    """Return a short file without what open() adds, which takes as long as all the rest here."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(handle, 200)
    except OSError:
        return b""
    finally:
        os.close(handle)
