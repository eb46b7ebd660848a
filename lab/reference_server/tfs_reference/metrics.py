# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Counters and histograms with upstream's names, and the Prometheus page that shows them in upstream's format."""

from __future__ import annotations

import re
import threading
from bisect import bisect_right
from collections.abc import Iterable


class Metric:
    """A metric and its cells, one per tuple of label values."""

    kind = "counter"

    def __init__(self, registry: Registry, name: str, labels: tuple[str, ...] = ()) -> None:
        self.name = name
        self.labels = labels
        self._lock = threading.Lock()
        registry.add(self)

    def _braces(self, values: tuple[str, ...], extra: str = "") -> str:
        pairs = [f'{_label_name(name)}="{_escaped(value)}"' for name, value in zip(self.labels, values)]
        return "{" + ",".join([*pairs, extra] if extra else pairs) + "}"

    def lines(self) -> Iterable[str]:
        raise NotImplementedError


class Counter(Metric):
    """A counter of whole numbers."""

    def __init__(self, registry: Registry, name: str, labels: tuple[str, ...] = ()) -> None:
        super().__init__(registry, name, labels)
        # A metric without labels has its only cell from the start; others get a cell with their first value.
        self._cells: dict[tuple[str, ...], int] = {} if labels else {(): 0}

    def add(self, *values: str, by: int = 1) -> None:
        with self._lock:
            self._cells[values] = self._cells.get(values, 0) + by

    def first_value(self) -> int:
        """The cell whose labels sort first."""
        with self._lock:
            return self._cells[min(self._cells)] if self._cells else 0

    def lines(self) -> Iterable[str]:
        with self._lock:
            cells = sorted(self._cells.items())
        yield f"# TYPE {_metric_name(self.name)} {self.kind}"
        for values, count in cells:
            yield f"{_metric_name(self.name)}{self._braces(values)} {count}"


class TextGauge(Counter):
    """A gauge whose values are texts; the page has no place for them, so it never shows more than the type."""

    kind = "gauge"


class Histogram(Metric):
    """A histogram over exponential buckets: first, first * factor, ... (`limits` of them, then infinity)."""

    kind = "histogram"

    def __init__(
        self, registry: Registry, name: str, labels: tuple[str, ...], first: float, factor: float, limits: int
    ) -> None:
        super().__init__(registry, name, labels)
        self._limits = [first * factor**power for power in range(limits)]
        self._cells: dict[tuple[str, ...], tuple[list[int], list[float]]] = {}
        if not labels:
            self._cell(())

    def _cell(self, values: tuple[str, ...]) -> tuple[list[int], list[float]]:
        if values not in self._cells:
            self._cells[values] = ([0] * (len(self._limits) + 1), [0.0])
        return self._cells[values]

    def observe(self, value: float, *labels: str, times: int = 1) -> None:
        bucket = bisect_right(self._limits, value)
        with self._lock:
            counts, total = self._cell(labels)
            counts[bucket] += times
            total[0] += value * times

    def lines(self) -> Iterable[str]:
        with self._lock:
            cells = sorted((values, list(counts), total[0]) for values, (counts, total) in self._cells.items())
        name = _metric_name(self.name)
        yield f"# TYPE {name} histogram"
        for values, counts, total in cells:
            seen = 0
            for limit, count in zip([*map(_six_digits, self._limits), "+Inf"], counts):
                seen += count
                le = f'le="{limit}"'
                yield f"{name}_bucket{self._braces(values, le)} {seen}"
            yield f"{name}_sum{self._braces(values)} {_six_digits(total)}"
            yield f"{name}_count{self._braces(values)} {seen}"


class Registry:
    """All metrics of the process, shown in the order of their names."""

    def __init__(self) -> None:
        self._metrics: dict[str, Metric] = {}

    def add(self, metric: Metric) -> None:
        self._metrics[metric.name] = metric

    def first_value(self, name: str) -> int:
        """The value that a reload request is told of a metric: its first cell, 0 where there is no such counter."""
        metric = self._metrics.get(name)
        return metric.first_value() if isinstance(metric, Counter) else 0

    def page(self) -> str:
        return "\n".join(line for _, metric in sorted(self._metrics.items()) for line in metric.lines()) + "\n"


def _metric_name(name: str) -> str:
    name = re.sub(r"[^a-zA-Z0-9_]", ":", name)
    return f"_{name}" if name[:1].isdigit() else name


def _label_name(name: str) -> str:
    name = re.sub(r"[^a-zA-Z0-9]", "_", name)
    return f"_{name}" if name[:1].isdigit() else name


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')  # line breaks stay as they are, as upstream leaves them


def _six_digits(value: float) -> str:
    return f"{value:g}"


REGISTRY = Registry()

_SERVING = "/tensorflow/serving"
_LATENCY_BUCKETS = (10, 1.8, 33)  # microseconds
_ROW_BUCKETS = (1, 2, 14)


def _serving_histogram(name: str, labels: tuple[str, ...], buckets: tuple[float, float, int]) -> Histogram:
    return Histogram(REGISTRY, f"{_SERVING}/{name}", labels, *buckets)


REQUEST_COUNT = Counter(REGISTRY, f"{_SERVING}/request_count", ("model_name", "status"))
REQUEST_LATENCY = _serving_histogram("request_latency", ("model_name", "API", "entrypoint"), _LATENCY_BUCKETS)
RUNTIME_LATENCY = _serving_histogram("runtime_latency", ("model_name", "API", "runtime"), _LATENCY_BUCKETS)
EXAMPLE_COUNTS = _serving_histogram("request_example_counts", ("model",), (1, 2, 15))
EXAMPLE_COUNT_TOTAL = Counter(REGISTRY, f"{_SERVING}/request_example_count_total", ("model",))
REQUEST_LOG_COUNT = Counter(REGISTRY, f"{_SERVING}/request_log_count", ("model_name", "status_code"))
MLMD_MAP = TextGauge(REGISTRY, f"{_SERVING}/mlmd_map", ("model_name", "version"))
WARMUP_LATENCY = _serving_histogram("model_warmup_latency", ("model_path", "status"), _LATENCY_BUCKETS)
QUEUING_LATENCY = _serving_histogram("batching_session/queuing_latency", ("thread_pool_name",), (100, 1.2, 52))
WRAPPED_RUN_COUNT = Counter(REGISTRY, f"{_SERVING}/batching_session/wrapped_run_count")

LOAD_ATTEMPT_COUNT = Counter(REGISTRY, "/tensorflow/cc/saved_model/load_attempt_count", ("model_path", "status"))
LOAD_LATENCY = Counter(REGISTRY, "/tensorflow/cc/saved_model/load_latency", ("model_path",))
SESSION_RUNS = Counter(REGISTRY, "/tensorflow/core/direct_session_runs")
GRAPH_RUNS = Counter(REGISTRY, "/tensorflow/core/graph_runs")
GRAPH_BUILD_CALLS = Counter(REGISTRY, "/tensorflow/core/graph_build_calls")
GRAPH_BUILD_TIME = Counter(REGISTRY, "/tensorflow/core/graph_build_time_usecs")
GRAPH_RUN_TIME = Counter(REGISTRY, "/tensorflow/core/graph_run_time_usecs")
# The runtime's own buckets: powers of two from a millisecond on.
GRAPH_RUN_TIME_HISTOGRAM = Histogram(REGISTRY, "/tensorflow/core/graph_run_time_usecs_histogram", (), 1000, 2, 20)
GRAPH_RUN_INPUT_BYTES = Histogram(REGISTRY, "/tensorflow/core/graph_run_input_tensor_bytes", (), 1, 4, 14)
GRAPH_RUN_OUTPUT_BYTES = Histogram(REGISTRY, "/tensorflow/core/graph_run_output_tensor_bytes", (), 1, 4, 14)


def graph_built(micros: int) -> None:
    GRAPH_BUILD_CALLS.add()
    GRAPH_BUILD_TIME.add(by=micros)


def graph_run(micros: int) -> None:
    GRAPH_RUNS.add()
    GRAPH_RUN_TIME.add(by=micros)
    GRAPH_RUN_TIME_HISTOGRAM.observe(micros)


class _BatchSizes:
    """The three row histograms of the batcher: registered with the first batch, absent from the page before."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._metrics: dict[str, Histogram] = {}

    def observe(self, name: str, labels: tuple[str, ...], value: float, *label_values: str, times: int = 1) -> None:
        with self._lock:
            if name not in self._metrics:
                self._metrics[name] = _serving_histogram(f"batching_session/{name}", labels, _ROW_BUCKETS)
        self._metrics[name].observe(value, *label_values, times=times)


_BATCH_SIZES = _BatchSizes()


def input_batch_size(rows: int, inputs: int) -> None:
    """Counted for each of so many inputs, as upstream."""
    _BATCH_SIZES.observe("input_batch_size", (), rows, times=inputs)


def processed_batch(rows: int, padding: int) -> None:
    _BATCH_SIZES.observe("padding_size", ("execution_batch_size",), padding, str(rows))
    _BATCH_SIZES.observe("processed_batch_size", (), rows)


def examples(model: str, count: int) -> None:
    EXAMPLE_COUNTS.observe(count, model)
    EXAMPLE_COUNT_TOTAL.add(model, by=count)
