# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Keeps processes to CPUs by their affinity, for hosts whose systemd cannot use cpusets.

A process hands its affinity on to all that it starts, so with systemd's own everything started later follows. What runs
already is moved here, thread by thread, except for the servers, whose units say where they belong.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from ..host.sysfs import Tree
from .names import SERVING_UNIT

# What the CPUs of a thread should be, given what they are.
Wish = Callable[[set[int]], set[int]]


class Scheduler(Protocol):
    """The two calls of the kernel that are needed; ``os`` has them."""

    def sched_getaffinity(self, pid: int) -> set[int]:
        """Return the CPUs of a thread."""

    def sched_setaffinity(self, pid: int, mask: Collection[int]) -> None:
        """Set the CPUs of a thread."""


@dataclass
class Thread:
    """A thread that is not where it should be."""

    number: int
    process: int
    now: set[int]
    wanted: set[int]


def astray(tree: Tree, wish: Wish, scheduler: Scheduler = os) -> list[Thread]:
    """Return the threads outside serving whose CPUs differ from what ``wish`` makes of them."""
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
    """Give each thread the CPUs that it should have; return a sentence for each that the kernel does not let go."""
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
    """Return the wish that nothing runs outside ``housekeeping``; what keeps to some of these CPUs stays there.

    What was held to ``before`` by an earlier run gets all of them.
    """
    kept, formerly = set(housekeeping), set(before)
    return lambda now: kept if now == formerly else now & kept or kept


def released(housekeeping: Collection[int], everything: Collection[int]) -> Wish:
    """Return the wish that what was confined to ``housekeeping`` may run anywhere again."""
    kept, free = set(housekeeping), set(everything)
    return lambda now: free if now == kept else now


def _processes(tree: Tree) -> Iterator[int]:
    """Yield all that systemd started, directly or not, save servers.

    That leaves out the kernel's own threads, most of which are bound for good reasons, and what is put into a container
    from outside, such as the shells of docker exec.
    """
    parents = {number: _parent(tree, number) for number in tree.numbered("proc", "")}
    for number in parents:
        serves = f"/{SERVING_UNIT}/" in (tree.text(f"proc/{number}/cgroup") or "")
        if _root(number, parents) == 1 and not serves:
            yield number


def _parent(tree: Tree, number: int) -> int:
    # The name in parentheses may hold anything; the parent is the second field after it.
    fields = (tree.text(f"proc/{number}/stat") or "").rpartition(")")[2].split()
    return int(fields[1]) if fields else 0


def _root(number: int, parents: Mapping[int, int]) -> int:
    while parents.get(number, 0) > 0:
        number = parents[number]
    return number
