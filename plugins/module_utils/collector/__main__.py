# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Write what this host tells Prometheus into a file that node exporter reads, once.

A part that fails is a sample with the value 0 and one line in the journal; what it found before, and all other parts,
are told all the same.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

from ..host.sysfs import Tree
from ..visible_text import told
from . import (
    allocator,
    answer_cache,
    apt_keys,
    certificates,
    cgroup,
    cpus,
    exposition,
    gate,
    gpus,
    instances,
    memory,
    models,
    plan,
    programs,
    rollout,
    written,
    xids,
)
from .host import Host, Run
from .sample import Sample, Samples, sample
from .state import State

FILE = "var/lib/prometheus/node-exporter/tfserving.prom"
STATE = "var/lib/tfserving-collector"
_BOOT = "proc/sys/kernel/random/boot_id"


class Part(NamedTuple):
    """A part by its name: whether a host has what it is about, and what it reads."""

    name: str
    applies: Callable[[Host], bool]
    read: Callable[[Host], Samples]


def _serves(host: Host) -> bool:
    return host.serves


def _has_gates(host: Host) -> bool:
    return host.serves and bool(host.plan.get("gate"))


PARTS = (
    Part("plan", _serves, plan.read),
    Part("instances", _serves, instances.read),
    Part("memory", _serves, memory.read),
    Part("allocator", _serves, allocator.read),
    Part("cpus", _serves, cpus.read),
    Part("cgroup", _serves, cgroup.read),
    Part("models", _serves, models.read),
    Part("gate", _has_gates, gate.read),
    Part("rollout", rollout.applies, rollout.read),
    Part("certificates", certificates.applies, certificates.read),
    Part("apt_keys", apt_keys.applies, apt_keys.read),
    Part("gpus", gpus.applies, gpus.read),
    Part("xids", xids.applies, xids.read),
    Part("cache", answer_cache.applies, answer_cache.read),
)
# Of one part: half of what the whole file may have.
MOST_OF_A_PART = exposition.MOST_SERIES // 2


class TooManyError(RuntimeError):
    """A part that found more than a monitoring host should have to keep."""


def collected(host: Host, parts: tuple[Part, ...] = PARTS) -> list[Sample]:
    """Return the samples of all parts, and of each whether it succeeded."""
    found: list[Sample] = []
    for part in parts:
        problem = _of(part, host, found)
        if problem is None:
            continue
        found.append(sample("collector_success", not problem, part=part.name))
        if problem:
            print(f"tfserving-collector: {part.name}: {problem}", file=sys.stderr)
    return found


def _of(part: Part, host: Host, found: list[Sample]) -> str | None:
    """Add the samples of a part; return its problem, empty if it has none, or None if it does not apply here."""
    try:
        if not part.applies(host):
            return None
        for number, each in enumerate(part.read(host)):
            if number >= MOST_OF_A_PART or len(found) >= exposition.MOST_SERIES:
                raise TooManyError("it has more series than a host should have; the rest is left out")
            found.append(each)
    except Exception as error:  # whatever it is, it must not hide the others
        named = str(error) if isinstance(error, (RuntimeError, ValueError)) else f"{type(error).__name__}: {error}"
        return told(named or type(error).__name__, 300)
    return ""


def main(root: str = "/", run: Run = programs.run, clock: Callable[[], float] = time.time) -> int:
    """Collect and write once; return the exit status."""
    begun = time.monotonic()
    tree = Tree(root)
    folder = os.environ.get("STATE_DIRECTORY") or tree.path(STATE)
    state = State(os.path.join(folder, "state.json"), tree.text(_BOOT) or "")
    found = collected(Host(tree, state, clock(), run))
    found.append(sample("collector_duration_seconds", round(time.monotonic() - begun, 4)))
    try:
        written.replace(tree.path(FILE), exposition.text(found).encode(), 0o644)
        state.save()
    except OSError as error:
        print(f"tfserving-collector: {tree.path(FILE)}: cannot be written ({error.strerror})", file=sys.stderr)
        return 1
    return 0
