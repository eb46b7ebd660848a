# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""One stage second by second."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.load.histogram import Histogram


@dataclass
class Second:
    """One second of a stage: the requests whose intended moment lies in it.

    ``t`` counts from the first request, warm-up included; ``open`` is the number of requests in flight at its end.
    """

    t: float
    offered: int
    ok: int
    open: int = 0
    histogram: Histogram = field(default_factory=Histogram)

    @property
    def missing(self) -> int:
        """The requests without a good answer."""
        return max(self.offered - self.ok, 0)


def seconds(result: Mapping[str, Any], *, warmup: bool = False) -> list[Second]:
    """Return the whole seconds of a stage's result, without its warm-up unless that is asked for.

    Raise ValueError if one of them is not what the load generator writes.
    """
    begin = 0 if warmup else result["warmup_s"]
    end = result["warmup_s"] + result["duration_s"]
    return [_second(each) for each in result["seconds"] if begin <= each["t"] and each["t"] + 1 <= end]


def _second(value: Mapping[str, Any]) -> Second:
    offered, ok, open_ = (value[key] for key in ("offered", "ok", "open"))
    if not all(isinstance(each, int) and each >= 0 for each in (offered, ok, open_)):
        raise ValueError("offered, ok and open of a second are whole numbers that are not negative")
    # A document leaves the histograms of failed stages out.
    histogram = value.get("histogram")
    return Second(value["t"], offered, ok, open_, Histogram.from_json(histogram) if histogram else Histogram())


def whole(stretch: Sequence[Second]) -> Histogram:
    """Return the histogram of several seconds."""
    sum_ = Histogram()
    for each in stretch:
        sum_.add(each.histogram)
    return sum_
