# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A figure that a part of the collector found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from .metrics import METRICS


class Sample(NamedTuple):
    """The value of a metric (see ``metrics``), with its labels in the metric's order."""

    name: str
    value: float
    labels: tuple[str, ...] = ()


# What a part yields until it is done, or raises.
Samples = Iterator[Sample]


def sample(name: str, value: float, /, **labels: str) -> Sample:
    """Return a sample of a metric without its prefix. Raises KeyError for a name or a label that is not agreed."""
    name = f"tfserving_{name}"
    wanted = METRICS[name].labels
    if set(labels) != set(wanted):
        raise KeyError(f"{name} has the labels {', '.join(wanted)}")
    return Sample(name, value, tuple(labels[label] for label in wanted))


def known(values: Mapping[str, float | None], /, **labels: str) -> Samples:
    """Yield a sample for each value that is known."""
    for name, value in values.items():
        if value is not None:
            yield sample(name, value, **labels)
