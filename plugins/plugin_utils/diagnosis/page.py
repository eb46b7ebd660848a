# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Two scrapes of the server's metrics page: what was counted between them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .reading import growth, listed, mapping, number, ratio, text, total

Labels = frozenset[tuple[str, str]]

REQUESTS = ":tensorflow:serving:request_count"
LATENCY = ":tensorflow:serving:request_latency"
RUNTIME = ":tensorflow:serving:runtime_latency"
QUEUEING = ":tensorflow:serving:batching_session:queuing_latency"
BATCHES = ":tensorflow:serving:batching_session:wrapped_run_count"
INPUT_ROWS = ":tensorflow:serving:batching_session:input_batch_size"
BATCH_ROWS = ":tensorflow:serving:batching_session:processed_batch_size"
PADDING = ":tensorflow:serving:batching_session:padding_size"
LOADS = ":tensorflow:cc:saved_model:load_attempt_count"


class Page:
    """The growth of the server's metrics between two samples; None where a page could not be read."""

    def __init__(self, first: Any, last: Any) -> None:
        # Without a first page nothing says when the counts of the last one arose.
        self.known = isinstance(first, Mapping) and isinstance(last, Mapping)
        self._first, self._last = mapping(first), mapping(last)

    def grown(self, name: str, **labels: str) -> float | None:
        """Return the growth of the series with these labels; None where the last page has none."""
        return total(self.growths(name, **labels).values()) if self.known else None

    def growths(self, name: str, **labels: str) -> dict[Labels, float]:
        """Return the growth of each series with these labels. One that is new has grown from 0."""
        if not self.known:
            return {}
        before = _series(self._first, name)
        after = _series(self._last, name)
        return {at: growth(before.get(at, 0.0), each) or 0.0 for at, each in after.items() if _fits(at, labels)}

    def count(self, histogram: str, **labels: str) -> float | None:
        """Return how many observations a histogram got."""
        return self.grown(histogram + "_count", **labels)

    def mean(self, histogram: str, **labels: str) -> float | None:
        """Return the mean of the observations between the samples, or None without any."""
        return ratio(self.grown(histogram + "_sum", **labels), self.count(histogram, **labels))

    def buckets(self, histogram: str, **labels: str) -> list[tuple[float, float]]:
        """Return the upper edges of a histogram with the observations up to each, ascending."""
        found: dict[float, float] = {}
        for at, each in self.growths(histogram + "_bucket", **labels).items():
            edge = _edge(dict(at).get("le", ""))
            if edge is not None:
                found[edge] = found.get(edge, 0.0) + each
        return sorted(found.items())

    def bracket(self, histogram: str, quantile: float, least: float = 0.0, **labels: str) -> tuple[float, float] | None:
        """Return the edges of the bucket in which a quantile lies, or None without observations.

        :param least: how many of the smallest observations to leave out.
        """
        edges = [(edge, up_to - least) for edge, up_to in self.buckets(histogram, **labels)]
        if not edges or edges[-1][1] <= 0:
            return None
        lower = 0.0
        for edge, up_to in edges:
            if up_to >= quantile * edges[-1][1]:
                return lower, edge
            lower = edge
        return None


def _series(page: Mapping[str, Any], name: str) -> dict[Labels, float]:
    """Return the series of a name by their labels."""
    found = {}
    for row in listed(page.get(name)):
        if isinstance(row, (list, tuple)) and len(row) == 2 and (value := number(row[1])) is not None:
            found[frozenset((key, text(each)) for key, each in mapping(row[0]).items())] = value
    return found


def _fits(labels: Labels, wanted: Mapping[str, str]) -> bool:
    """Tell whether a series has all the wanted labels."""
    return set(wanted.items()) <= labels


def _edge(told: str) -> float | None:
    """Return the upper edge of a bucket, infinite for the last."""
    try:
        return float(told)
    except ValueError:
        return None
