# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What happened on a host during a measurement, from its samples: events, and figures between two moments."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, TypedDict

from ..visible_text import told
from .gpus import HELD_BACK

Sample = Mapping[str, Any]
# Names of models come from the host; the texts are for a line of a page.
LONGEST_NAME = 60


class Event(TypedDict):
    """Something that happened: UNIX seconds, ``reload``, ``restart`` or ``throttled``, and a sentence's worth."""

    at: float
    kind: str
    text: str


class Figures(TypedDict):
    """What disturbed a server between two moments; None where the host does not tell.

    ``throttled_us`` is time in which a CPU quota stopped it, ``psi_cpu_some_us`` time in which a task of its slice (of
    the host, on cgroup v1) waited for a CPU. The shares are of the time of its CPUs: taken by the hypervisor, and used
    by others than its process.
    """

    throttled_us: int | None
    psi_cpu_some_us: int | None
    steal_share: float | None
    foreign_cpu_share: float | None


def events(samples: Sequence[Sample]) -> list[Event]:
    """Return the events that the samples show, in order."""
    found = [*_restarts(samples), *_reloads(samples), *_throttled(samples), *_held_back(samples)]
    return sorted(found, key=lambda event: event["at"])


def _restarts(samples: Sequence[Sample]) -> Iterator[Event]:
    for before, after in _pairs([sample for sample in samples if sample["pid"] is not None]):
        if (before["pid"], before["started"]) != (after["pid"], after["started"]):
            yield Event(at=after["at"], kind="restart", text=f"process {after['pid']} after {before['pid']}")


def _reloads(samples: Sequence[Sample]) -> Iterator[Event]:
    for before, after in _pairs([sample for sample in samples if sample["versions"] is not None]):
        for model in sorted({*before["versions"], *after["versions"]}):
            old, new = before["versions"].get(model, []), after["versions"].get(model, [])
            if old != new:
                text = f"{told(str(model), LONGEST_NAME)} serves {_listed(new)} after {_listed(old)}"
                yield Event(at=after["at"], kind="reload", text=text)


def _listed(versions: Iterable[int]) -> str:
    return ", ".join(map(str, versions)) or "nothing"


def _throttled(samples: Sequence[Sample]) -> Iterator[Event]:
    """Yield one event for each stretch of samples with throttling, at its begin."""
    steps = [
        (before["at"], after["at"], _grown(before, after, "cpu_throttled_us")) for before, after in _pairs(samples)
    ]
    for is_throttled, stretch in groupby(steps, key=lambda step: bool(step[2])):
        if is_throttled:
            rows = list(stretch)
            stopped_ms = sum(row[2] or 0 for row in rows) / 1000
            text = f"stopped by its CPU quota for {stopped_ms:.0f} ms within {rows[-1][1] - rows[0][0]:.0f} s"
            yield Event(at=rows[0][0], kind="throttled", text=text)


def _held_back(samples: Sequence[Sample]) -> Iterator[Event]:
    """Yield an event where a GPU begins to be held back for a reason."""
    known: dict[Any, int] = {}
    for sample in samples:
        for gpu in sample["gpu"] or ():
            reasons = gpu["reasons"] or 0
            for bit, name in HELD_BACK.items():
                if reasons & bit and not known.get(gpu["index"], 0) & bit:
                    yield Event(at=sample["at"], kind="throttled", text=f"GPU {gpu['index']}: {name}")
            known[gpu["index"]] = reasons


def figures(samples: Sequence[Sample], begin: float, end: float) -> Figures:
    """Return the figures between two moments in UNIX seconds, from the samples that enclose them as closely as any."""
    pairs = [(one, other) for one, other in _pairs(samples) if other["at"] > begin and one["at"] < end]
    kept = [pair for pair in pairs if pair[0]["pid"] is not None and _same_process(*pair)]
    waited = _sum(pairs, "psi_cpu_us")
    total = _sum(pairs, "total_us")
    busy, own, of_kept = _sum(kept, "busy_us"), _sum(kept, "own_us"), _sum(kept, "total_us")
    steal = _sum(pairs, "steal_us")
    return {
        "throttled_us": _sum(pairs, "cpu_throttled_us"),
        "psi_cpu_some_us": _sum(pairs, "host_psi_cpu_us") if waited is None else waited,
        "steal_share": _share(steal, total),
        "foreign_cpu_share": None if busy is None or own is None else _share(max(0, busy - own), of_kept),
    }


def _same_process(one: Sample, other: Sample) -> bool:
    return bool((one["pid"], one["started"]) == (other["pid"], other["started"]))


def _share(part: int | None, whole: int | None) -> float | None:
    return None if part is None or not whole else round(min(1.0, part / whole), 4)


def _sum(pairs: Iterable[tuple[Sample, Sample]], name: str) -> int | None:
    steps = [step for one, other in pairs if (step := _grown(one, other, name)) is not None]
    return sum(steps) if steps else None


def _grown(one: Sample, other: Sample, name: str) -> int | None:
    """Return by how much a counter has grown; a group that was made anew has begun at 0."""
    if one[name] is None or other[name] is None:
        return None
    return int(other[name] - one[name] if other[name] >= one[name] else other[name])


def _pairs(samples: Sequence[Sample]) -> Iterator[tuple[Sample, Sample]]:
    return zip(samples, samples[1:])
