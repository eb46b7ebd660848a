# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What the cgroups of the instances tell: quotas, limits of memory, and the pressure on the serving slice."""

from __future__ import annotations

from ..evidence import groups
from .host import Host, whole
from .sample import Samples, known

EVENTS = ("low", "high", "max", "oom", "oom_kill")


def read(host: Host) -> Samples:
    """Yield the samples."""
    slices = {}
    for instance in host.instances:
        name = instance["name"]
        process = host.process(name)
        if process:
            group = groups.of_process(host.tree, process.pid)
            slices[groups.slice_of(group.unified)] = True
            yield from known(_quotas(host, group), serving_instance=name)
            yield from _memory(host, name, group)
    for above in filter(None, slices):
        yield from _pressure(host, above)


def _quotas(host: Host, group: groups.Groups) -> dict[str, float | None]:
    found = groups.quotas(host.tree, group.cpu)
    seconds = None if found.throttled_us is None else found.throttled_us / 1e6
    return {
        "instance_periods_total": found.periods,
        "instance_throttled_periods_total": found.throttled,
        "instance_throttled_seconds_total": seconds,
    }


def _memory(host: Host, name: str, group: groups.Groups) -> Samples:
    """Yield limit and events of a v2 group; v1 counts no events by kind."""
    limit = whole(host.tree.text(f"{group.unified}/memory.max")) if group.unified else None
    yield from known({"instance_memory_limit_bytes": limit}, serving_instance=name)
    lines = host.tree.lines(f"{group.unified}/memory.events") if group.unified else []
    counts = dict(line.split(" ", 1) for line in lines if " " in line)
    for event in EVENTS:
        yield from known({"instance_memory_events_total": whole(counts.get(event))}, serving_instance=name, event=event)


def _pressure(host: Host, group: str) -> Samples:
    for resource, waited_us in groups.pressures(host.tree, group).items():
        seconds = None if waited_us is None else waited_us / 1e6
        yield from known({"slice_pressure_seconds_total": seconds}, resource=resource)
