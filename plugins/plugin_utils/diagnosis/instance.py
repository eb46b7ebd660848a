# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""One instance of a host: its evidence, and the figures that follow from its two samples."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils import cpu_list

from . import page
from .reading import at, growth, listed, mapping, number, ratio, text
from .server_time import ServerTime, server_times

Tree = Mapping[str, Any]
# At this many requests a second an instance counts as one that is used: figures of fewer are no figures.
USED_RPS = 1.0


class Instance:
    """The evidence of one instance. Each figure is of the time between the samples, and None where it is not known."""

    def __init__(self, name: str, plan: Tree, evidence: Tree, samples: tuple[Tree, Tree], window_s: float | None):
        self.name = name
        self.plan = plan
        self.evidence = evidence
        self.first, self.last = samples
        self.window_s = window_s

    # What is set.

    @cached_property
    def cpus(self) -> frozenset[int]:
        """Return the CPUs that the plan gives it."""
        return cpus_of(self.plan.get("cpus"))

    @cached_property
    def cpus_allowed(self) -> frozenset[int]:
        """Return the CPUs that its process may use by itself and by its cgroup."""
        own = cpus_of(self.evidence.get("cpus_allowed"))
        effective = cpus_of(self.evidence.get("effective_cpus"))
        return own & effective if effective and own else own or effective

    @property
    def objective_ms(self) -> float | None:
        """Return its objective for the 99th percentile."""
        return number(self.plan.get("objective_p99_ms"))

    @property
    def batching(self) -> Tree | None:
        """Return its batching by the plan, None where it has none."""
        found = self.plan.get("batching")
        return found if isinstance(found, Mapping) else None

    @property
    def forms_batches(self) -> bool:
        """Tell whether its server forms batches: by its command line, or by the plan where that is unknown."""
        if self.flags:
            return self.flags.get("enable_batching", "false").lower() in ("true", "1")
        return self.batching is not None

    @cached_property
    def flags(self) -> dict[str, str]:
        """Return the flags that its process was started with; one without a value counts as true."""
        words = (text(word).lstrip("-").partition("=") for word in listed(self.evidence.get("cmdline"))[1:])
        return {name: value if found else "true" for name, found, value in words}

    # What its process did.

    def process(self, name: str) -> float | None:
        """Return what its process shows in the last sample."""
        return number(at(self.last, "process", name))

    @property
    def running(self) -> bool | None:
        """Tell whether its process runs; None where that could not be read."""
        if "process" not in self.last:
            return None
        return self.last["process"] is not None

    def spent(self, name: str) -> float | None:
        """Return the growth of a counter of its process, None where it is another process than before."""
        before, after = mapping(self.first.get("process")), mapping(self.last.get("process"))
        if (before.get("pid"), before.get("started")) != (after.get("pid"), after.get("started")):
            return None
        return growth(before.get(name), after.get(name))

    def rate(self, value: float | None) -> float | None:
        """Return a growth as one for each second."""
        return ratio(value, self.window_s)

    @property
    def cores_used(self) -> float | None:
        """Return how many CPUs its threads kept busy."""
        used = self.rate(self.spent("cpu_us"))
        return None if used is None else used / 1e6

    @property
    def wait_ratio(self) -> float | None:
        """Return the part of the time in which its threads wanted a CPU and had none."""
        run, wait = self.spent("run_us"), self.spent("wait_us")
        return None if run is None or wait is None else ratio(wait, run + wait)

    @property
    def tasks(self) -> list[tuple[Tree, Tree]]:
        """Return the threads that are in both samples."""
        before = {task.get("tid"): task for task in map(mapping, listed(self.first.get("tasks")))}
        after = map(mapping, listed(self.last.get("tasks")))
        return [(before[task.get("tid")], task) for task in after if task.get("tid") in before]

    # What its cgroup did.

    def cgroup(self, *path: str) -> float | None:
        """Return the growth of a counter of its cgroup."""
        return growth(at(self.first, "cgroup", *path), at(self.last, "cgroup", *path))

    @property
    def throttled_ratio(self) -> float | None:
        """Return the part of the periods in which a CPU quota stopped it; 0 where it has no quota."""
        periods, throttled = self.cgroup("cpu_stat", "nr_periods"), self.cgroup("cpu_stat", "nr_throttled")
        if periods is None or throttled is None:
            return None
        return throttled / periods if periods else 0.0

    def pressure(self, resource: str) -> float | None:
        """Return the part of the time in which a task of its cgroup waited for a resource."""
        waited = self.rate(self.cgroup("pressure", resource, "some_us"))
        return None if waited is None else min(waited / 1e6, 1.0)

    # What its page of metrics says.

    @cached_property
    def page(self) -> page.Page:
        """Return its metrics, None of them known where the page could not be read."""
        return page.Page(self.first.get("metrics"), self.last.get("metrics"))

    @property
    def requests_per_s(self) -> float | None:
        """Return the requests that ended a second, failed ones included."""
        if not self.page.known:
            return None
        return self.rate(self.page.grown(page.REQUESTS) or 0.0)

    @property
    def used(self) -> bool | None:
        """Tell whether it answers requests; None where its page could not be read."""
        rate = self.requests_per_s
        return None if rate is None else rate >= USED_RPS

    def failed_ratio(self, *statuses: str) -> float | None:
        """Return the part of the requests that ended in one of these, or in any but OK."""
        counts = self.page.growths(page.REQUESTS)
        failed = sum(each for at_, each in counts.items() if _failed(dict(at_).get("status", ""), statuses))
        return ratio(failed, sum(counts.values()))

    @cached_property
    def times(self) -> dict[str, ServerTime]:
        """Return the mean times of calls in the server by entrypoint, without questions for the status of a model."""
        if not self.page.known:
            return {}
        return server_times(mapping(self.first.get("metrics")), mapping(self.last.get("metrics")), self.forms_batches)

    def request_ms(self, entrypoint: str | None = None) -> float | None:
        """Return the mean time of successful requests in the server, of REST or GRPC or both."""
        wanted = [each for name, each in self.times.items() if entrypoint in (None, name)]
        return ratio(sum(each.requests * each.request for each in wanted), sum(each.requests for each in wanted))

    @property
    def runtime_ms(self) -> float | None:
        """Return the mean time of a run, the wait in the batch queue included."""
        return _ms(self.page.mean(page.RUNTIME))

    @property
    def queue_ms(self) -> float | None:
        """Return the mean time of a request in the batch queue; 0 without batching."""
        if not self.forms_batches and self.page.known:
            return 0.0
        return _ms(self.page.mean(page.QUEUEING))

    @property
    def execution_ms(self) -> float | None:
        """Return the mean time of a run without the wait in the batch queue."""
        runtime, queue = self.runtime_ms, self.queue_ms
        return None if runtime is None or queue is None else max(runtime - queue, 0.0)

    def overhead_ms(self, entrypoint: str) -> float | None:
        """Return what a request costs around its run: decoding, encoding, waiting for a thread of the server's."""
        return self.times[entrypoint].overhead if entrypoint in self.times else None

    @property
    def in_flight(self) -> float | None:
        """Return the requests in the server at a time (Little's law)."""
        spent = self.rate(self.page.grown(page.LATENCY + "_sum"))
        return None if spent is None else spent / 1e6

    @property
    def queue_length(self) -> float | None:
        """Return the requests in the batch queue at a time (Little's law)."""
        spent = self.rate(self.page.grown(page.QUEUEING + "_sum"))
        return None if spent is None else spent / 1e6

    @property
    def rows_per_request(self) -> float | None:
        """Return the rows of a request to the batcher."""
        return self.page.mean(page.INPUT_ROWS)

    @property
    def padding_ratio(self) -> float | None:
        """Return the part of the rows that were computed for nothing."""
        padding = self.page.grown(page.PADDING + "_sum")
        return ratio(padding, self.page.grown(page.BATCH_ROWS + "_sum"))

    def loads(self, status: str | None = None) -> float | None:
        """Return the attempts to load a version between the samples, or those with a status."""
        if not self.page.known:
            return None
        return self.page.grown(page.LOADS, **({"status": status} if status else {})) or 0.0

    # What it said.

    def log(self, *patterns: str) -> list[str]:
        """Return the lines of its log that a pattern is found in."""
        return matching(listed(self.evidence.get("log")), patterns)


def cpus_of(value: Any) -> frozenset[int]:
    """Return the CPUs of a kernel list, none where it is missing or wrong."""
    try:
        return frozenset(cpu_list.parse(text(value)))
    except ValueError:
        return frozenset()


def matching(lines: Iterable[Any], patterns: tuple[str, ...]) -> list[str]:
    """Return the lines that one of the patterns is found in, whatever their case."""
    wanted = [re.compile(pattern, re.IGNORECASE) for pattern in patterns]
    return [line for line in map(text, lines) if any(each.search(line) for each in wanted)]


def _failed(status: str, statuses: tuple[str, ...]) -> bool:
    """Tell whether a status is one of those asked for, or a failure where none is."""
    return status in statuses if statuses else status != "OK"


def _ms(microseconds: float | None) -> float | None:
    """Return microseconds as milliseconds."""
    return None if microseconds is None else microseconds / 1e3
