# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Confines processes to CPUs by affinity, for hosts whose systemd cannot use cpusets.

Child processes inherit affinity, so once systemd's own is set, everything started later follows. Running threads are
moved here one by one, except for the servers, whose units set their own CPUs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from ..host.sysfs import Tree
from .names import SERVING_UNIT

# Maps the present CPUs of a thread to the wanted ones.
Wish = Callable[[set[int]], set[int]]


class Scheduler(Protocol):
    """The two kernel calls needed; ``os`` has them."""

    def sched_getaffinity(self, pid: int) -> set[int]:
        """Return the CPUs of a thread."""

    def sched_setaffinity(self, pid: int, mask: Collection[int]) -> None:
        """Set the CPUs of a thread."""


@dataclass
class Thread:
    """A thread on the wrong CPUs."""

    number: int
    process: int
    now: set[int]
    wanted: set[int]


def astray(tree: Tree, wish: Wish, scheduler: Scheduler = os) -> list[Thread]:
    """Return the threads outside serving whose CPUs differ from those that ``wish`` gives them."""
    found = []
    for process in _processes(tree):
        for number in tree.numbered(f"proc/{process}/task", ""):
            try:
                now = scheduler.sched_getaffinity(number)
            except ProcessLookupError:
                continue
            wanted = wish(now)
            if wanted != now:
                found.append(Thread(number, process, now, wanted))
    return found


def move(threads: Collection[Thread], scheduler: Scheduler = os) -> list[str]:
    """Set the wanted CPUs of each thread; return a sentence for each that the kernel refuses to move."""
    problems = []
    for thread in threads:
        try:
            scheduler.sched_setaffinity(thread.number, thread.wanted)
        except ProcessLookupError:
            continue
        except OSError as error:
            problems.append(f"process {thread.process}: cannot be moved ({error.strerror})")
    return problems


def confined(housekeeping: Collection[int], before: Collection[int] = ()) -> Wish:
    """Return the wish that nothing runs outside ``housekeeping``; threads already limited to part of it stay there.

    Threads that an earlier run confined to ``before`` get all of it.
    """
    kept, formerly = set(housekeeping), set(before)
    return lambda now: kept if now == formerly else now & kept or kept


def released(housekeeping: Collection[int], everything: Collection[int]) -> Wish:
    """Return the wish that threads confined to ``housekeeping`` may run anywhere again."""
    kept, free = set(housekeeping), set(everything)
    return lambda now: free if now == kept else now


def _processes(tree: Tree) -> Iterator[int]:
    """Yield all processes that systemd started, directly or not, except servers.

    That excludes the kernel's own threads, most of which are bound for good reasons, and processes put into a container
    from outside, such as the shells of docker exec.
    """
    parents = {number: _parent(tree, number) for number in tree.numbered("proc", "")}
    for number in parents:
        serves = f"/{SERVING_UNIT}/" in (tree.text(f"proc/{number}/cgroup") or "")
        if _root(number, parents) == 1 and not serves:
            yield number


def _parent(tree: Tree, number: int) -> int:
    # The name in parentheses may contain anything; the parent is the second field after it.
    fields = (tree.text(f"proc/{number}/stat") or "").rpartition(")")[2].split()
    return int(fields[1]) if fields else 0


def _root(number: int, parents: Mapping[int, int]) -> int:
    while parents.get(number, 0) > 0:
        number = parents[number]
    return number
