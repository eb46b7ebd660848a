# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Objectives as series: rules join with these, so that one expression serves all instances.

They are constants of the plans, recorded with the labels of the instance that they belong to.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from .. import buckets
from ..model import Objective, Signal


class Constant(NamedTuple):
    """A recorded figure and the labels that it gets."""

    record: str
    value: float
    labels: dict[str, str]


SIGNALS = (
    Signal(
        "tfserving:objective:p99_seconds",
        "Objective",
        "s",
        "instance",
        "",
        "The objective for the 99th percentile, from the plans.",
        ("serving_instance",),
    ),
    Signal(
        "tfserving:objective:availability",
        "Promised availability",
        "percentunit",
        "instance",
        "",
        "The share of calls that an instance has promised not to fail.",
        ("serving_instance",),
    ),
    Signal(
        "tfserving:objective:edge",
        "Limits around the objective",
        "short",
        "instance",
        "",
        "1 for the limit of the histogram below the objective and the one above it; the same where it is a limit.",
        ("serving_instance", "side", "le"),
    ),
    Signal(
        "tfserving:objective:model",
        "Models of an instance",
        "short",
        "instance",
        "",
        "1 for a model of an instance, from the plans.",
        ("serving_instance", "model_name"),
    ),
    Signal(
        "tfserving:objective:max_batch_size",
        "Largest batch",
        "short",
        "instance",
        "",
        "The rows that a batch may have, from the plans; missing without batching, as the two below.",
        ("serving_instance",),
    ),
    Signal(
        "tfserving:objective:batch_timeout_seconds",
        "Longest wait for a batch",
        "s",
        "instance",
        "",
        "How long a batch waits for more rows, from the plans.",
        ("serving_instance",),
    ),
    Signal(
        "tfserving:objective:batch_threads",
        "Batch threads",
        "short",
        "instance",
        "",
        "The threads that execute batches, from the plans.",
        ("serving_instance",),
    ),
)


def constants(objectives: Sequence[Objective]) -> Iterator[Constant]:
    """Yield what to record for the objectives of a fleet, in their order."""
    for each in objectives:
        yield from _of(each)


def _of(objective: Objective) -> Iterator[Constant]:
    here = {"serving_instance": objective.serving_instance}
    yield Constant("tfserving:objective:p99_seconds", objective.p99_ms / 1000, here)
    yield Constant("tfserving:objective:availability", objective.availability, here)
    edges = buckets.around(objective.p99_ms)
    for side, limit in (("below", edges.below), ("above", edges.above)):
        yield Constant("tfserving:objective:edge", 1, {**here, "side": side, "le": limit})
    for model in objective.models:
        yield Constant("tfserving:objective:model", 1, {**here, "model_name": model})
    yield from _of_batches(objective, here)


def _of_batches(objective: Objective, here: dict[str, str]) -> Iterator[Constant]:
    timeout = objective.batch_timeout_us
    for name, value in (
        ("max_batch_size", objective.max_batch_size),
        ("batch_timeout_seconds", None if timeout is None else timeout / 1e6),
        ("batch_threads", objective.batch_threads),
    ):
        if value is not None:
            yield Constant(f"tfserving:objective:{name}", value, here)
