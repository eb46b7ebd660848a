# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A sample a second of what a host and one of its servers do, while somebody measures the server.

Only files are read in step with the seconds. Counters are as the kernel has them, so that any two samples tell what
happened between. What the host does not tell is None, never an error.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .. import cpu_list
from ..host.sysfs import Tree
from ..kernel.cpusets import granted
from ..serving.client import AVAILABLE, version_states
from . import cpus as cpu_facts
from . import groups
from . import process as process_facts
from .poll import Poll

PERIOD_S = 1.0
# An hour of seconds; a longer run keeps every second, fourth, eighth ... of them.
MOST_SAMPLES = 3600
# The kernel may interrupt a CPU to read its clock.
CLOCKS_PERIOD_S = 5.0
# What not every sample holds.
ANSWERS = ("mhz", "versions", "gpu")


class Sampler:
    """Takes samples of one instance, an entry of the plan, whose process is ``pid`` (0 without one)."""

    def __init__(
        self, tree: Tree, instance: Mapping[str, Any], pid: int, polls: Mapping[str, Poll],
        wall: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        self.tree = tree
        self.pid = pid
        self.wall = wall
        self.groups = groups.of_process(tree, pid)
        self.cpus = cpus_of(tree, instance, pid)
        self.polls = polls
        self._clocks_read: float | None = None

    def take(self, now: float) -> dict[str, Any]:
        """Return the sample of this moment; ``now`` is a clock that only counts on."""
        process = self._process()
        count, time_us = groups.throttled(self.tree, self.groups.cpu)
        waits = groups.pressures(self.tree, groups.slice_of(self.groups.unified))
        host_waits = groups.host_pressures(self.tree)
        times = cpu_facts.times(self.tree, self.cpus)
        return {
            "at": round(self.wall(), 3),
            "cpu_throttled": count,
            "cpu_throttled_us": time_us,
            **{f"psi_{name}_us": value for name, value in waits.items()},
            **{f"host_psi_{name}_us": value for name, value in host_waits.items()},
            "busy_us": times.busy if times else None,
            "steal_us": times.steal if times else None,
            "total_us": times.total if times else None,
            "own_us": process.cpu_us if process else None,
            "mhz": self._clocks(now),
            "rss_mb": process.rss_mb if process else None,
            "pid": process.pid if process else None,
            "started": process.started if process else None,
            **{name: poll.taken(now) for name, poll in self.polls.items()},
        }

    def _process(self) -> process_facts.Process | None:
        found = process_facts.read(self.tree, self.pid)
        if found is None:
            successor = process_facts.successor(self.tree, self.groups.processes)
            self.pid = successor or self.pid
            found = process_facts.read(self.tree, self.pid) if successor else None
        return found

    def _clocks(self, now: float) -> list[int] | None:
        if self._clocks_read is not None and now - self._clocks_read < CLOCKS_PERIOD_S:
            return None
        self._clocks_read = now
        return cpu_facts.mhz(self.tree, self.cpus)


def once(tree: Tree, instance: Mapping[str, Any], pid: int) -> dict[str, Any]:
    """Return one sample, with the versions; without clocks and GPUs, which tell nothing of a server without load."""
    return {**Sampler(tree, instance, pid, polls={}).take(0.0), "mhz": None, "versions": versions(instance)}


def cpus_of(tree: Tree, instance: Mapping[str, Any], pid: int) -> list[int]:
    """Return the CPUs that the process may use, or those of the plan where none runs."""
    allowed = granted(tree, f"proc/{pid}") if pid else None
    return allowed or cpu_list.parse(instance.get("cpus") or "")


def versions(instance: Mapping[str, Any]) -> dict[str, list[int]] | None:
    """Return the versions that each model serves, by the server's own word; None if it does not answer."""
    port = instance.get("ports", {}).get("rest")
    states = {model: version_states(port, model) for model in instance.get("models", [])}
    if any(each is None for each in states.values()):
        return None
    return {
        model: sorted(version for version, state in (found or {}).items() if state == AVAILABLE)
        for model, found in states.items()
    }


class Series:
    """Samples in bounded memory: when there are too many, every second one goes, and from then on as well."""

    def __init__(self, most: int = MOST_SAMPLES) -> None:
        self.most = most
        self.step = 1
        self.samples: list[dict[str, Any]] = []
        self._seen = 0
        self._left: dict[str, Any] = {}

    def add(self, sample: Mapping[str, Any]) -> None:
        """Add the next sample."""
        self._left = _with_answers(sample, self._left)
        if self._seen % self.step == 0:
            self.samples.append(self._left)
            self._left = {}
        self._seen += 1
        if len(self.samples) > self.most:
            self.samples = [
                _with_answers(kept, dropped) for kept, dropped in zip(self.samples[::2], [{}, *self.samples[1::2]])
            ]
            self.step *= 2


def _with_answers(sample: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    """Return a sample with the answers of one before it that is not kept, where it has none of its own."""
    kept = {name: before[name] for name in ANSWERS if sample.get(name) is None and before.get(name) is not None}
    return {**sample, **kept}


def record(
    take: Callable[[float], Mapping[str, Any]], seconds: int, stopped: Callable[[], bool],
    now: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep,
) -> Sequence[dict[str, Any]]:  # fmt: skip
    """Return samples from now on for at most ``seconds``, or until ``stopped``: one at the begin, one at the end."""
    series, begun, ticks = Series(), now(), 0
    series.add(take(begun))
    while ticks < seconds and not stopped():
        # A host that slept has missed some.
        ticks = max(ticks, int(now() - begun)) + 1
        sleep(max(0.0, begun + ticks * PERIOD_S - now()))
        series.add(take(now()))
    return series.samples
