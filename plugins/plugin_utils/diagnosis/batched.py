# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""How an instance forms batches: the settings that its process was given, and what came of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from . import page
from .case import Case
from .derived import each_used
from .finding import Judged, Proof
from .instance import Instance
from .reading import at, listed, mapping, number, ratio, text
from .verdicts import percent, proof

# ``name: value`` and ``name { value: value }`` of the text format.
_FIELD = re.compile(r"\b([a-z_]{1,60})\s*(?::\s*|\{\s*value\s*:\s*)(-?[0-9]{1,18}|true|false)")
# What the server takes where a field is missing: batching/README.md and session_bundle_config.proto.
_SIZE, _TIMEOUT_US, _QUEUE = 1000.0, 0.0, 10.0
# With fewer busy threads than this a thread was free, and only then does the time-out count (batching/README.md).
_BUSY = 0.8


@dataclass(frozen=True)
class Batching:
    """The batching in force: rows of the largest batch and request, times in ms, batch threads, batches that wait."""

    size: float
    largest: float
    timeout_ms: float
    threads: float | None
    queue: float
    allowed: tuple[float, ...]
    splits: bool
    source: str


@dataclass(frozen=True)
class Batches:
    """What was measured: the wait of a request, rows and fill of a batch, rows of a request, busy batch threads."""

    queue_ms: float
    rows: float
    fill: float
    request_rows: float
    threads_used: float

    @property
    def requests(self) -> float:
        """Return how many requests shared a batch."""
        return self.rows / self.request_rows if self.request_rows else 0.0

    @property
    def busy(self) -> bool:
        """Tell whether batches waited for a thread."""
        return self.threads_used >= _BUSY


def each_batching(case: Case, judge: Callable[[Case, Instance, Batching], Judged | None]) -> list[Judged]:
    """Return what a rule says of each instance that answers requests and forms batches for them."""

    def judged(case: Case, instance: Instance) -> Judged | None:
        batching = in_force(instance)
        return None if batching is None else judge(case, instance, batching)

    return each_used(case, judged)


def in_force(instance: Instance) -> Batching | None:
    """Return the batching that its process was given, None where it forms no batches."""
    if not instance.forms_batches:
        return None
    name, content = _file(instance)
    fields = _read(content) if content else _planned(instance)
    sizes = fields.get("allowed_batch_sizes", ())
    largest, splits = _one(fields, "max_batch_size", _SIZE), bool(_one(fields, "enable_large_batch_splitting", 0.0))
    return Batching(
        size=_one(fields, "max_execution_batch_size" if splits else "max_batch_size", largest),
        largest=largest,
        timeout_ms=_one(fields, "batch_timeout_micros", _TIMEOUT_US) / 1e3,
        threads=_one(fields, "num_batch_threads", 0.0) or float(len(instance.cpus)) or None,
        queue=_one(fields, "max_enqueued_batches", _QUEUE),
        allowed=tuple(sizes),
        splits=splits,
        source=name if content else "the plan",
    )


def measured(instance: Instance, batching: Batching) -> Batches | None:
    """Return what came of the batching between the samples; None where the page does not tell."""
    rows, request_rows = rows_per_batch(instance), instance.rows_per_request
    queue, execution = instance.queue_ms, instance.execution_ms
    batches = instance.rate(ran(instance))
    if None in (rows, request_rows, queue, execution, batches) or not batching.threads:
        return None
    busy = (batches or 0.0) * (execution or 0.0) / 1e3 / batching.threads
    return Batches(queue or 0.0, rows or 0.0, (rows or 0.0) / batching.size, request_rows or 0.0, busy)


def fill_proof(case: Case, found: Batches) -> Proof:
    """Return how full batches were as evidence."""
    return proof("processed_batch_size, padding_size", f"batches {percent(found.fill)} full", "full", case.window_s)


def ran(instance: Instance) -> float | None:
    """Return the batches that ran: the server's own count since 2.11, before that those with a size."""
    counted = instance.page.grown(page.BATCHES)
    return instance.page.count(page.BATCH_ROWS) if counted is None else counted


def rows_per_batch(instance: Instance) -> float | None:
    """Return the rows of requests in a batch: those executed without their padding.

    The histogram of input rows would tell more than there are: it counts every input of a request anew.
    """
    executed, padding = (instance.page.grown(f"{name}_sum") for name in (page.BATCH_ROWS, page.PADDING))
    return None if executed is None else ratio(executed - (padding or 0.0), ran(instance))


def _file(instance: Instance) -> tuple[str, str]:
    """Return the name and the content of the file of parameters; the content is empty where it was not read."""
    path = instance.flags.get("batching_parameters_file") or "batching.config"
    return path, text(at(instance.evidence, "files", PurePosixPath(path).name))


def _read(content: str) -> dict[str, list[float]]:
    fields: dict[str, list[float]] = {}
    for name, value in _FIELD.findall(content):
        fields.setdefault(name, []).append(float(value == "true") if value.isalpha() else float(value))
    return fields


def _planned(instance: Instance) -> dict[str, list[float]]:
    return {name: _numbers(value) for name, value in mapping(instance.batching).items()}


def _numbers(value: Any) -> list[float]:
    values = listed(value) if isinstance(value, (list, tuple)) else [value]
    found = [float(each) if isinstance(each, bool) else number(each) for each in values]
    return [each for each in found if each is not None]


def _one(fields: Mapping[str, list[float]], name: str, default: float) -> float:
    return (fields.get(name) or [default])[-1]
