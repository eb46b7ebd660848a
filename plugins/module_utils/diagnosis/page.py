# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The server's page of metrics: the names that a diagnosis knows, and no more series than it can use.

Names of models come from callers' URLs, so a page grows without limit; the server does not escape line breaks in them,
so a caller can make up lines. A series that comes twice tells.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from ..serving import bounded_http
from ..visible_text import told

SECONDS = 2.0
MOST_BYTES = 16 << 20
# What is kept: that of a hundred models with their histograms. What is read is bounded by the bytes of a page.
MOST_SERIES, MOST_READ = 12_000, 150_000
MOST_STRANGERS = 50
LONGEST_LABEL = 300

_T = ":tensorflow:"
_BATCHES = ("queuing_latency", "wrapped_run_count", "input_batch_size", "processed_batch_size", "padding_size")
_CORE = (
    *("bfc_allocator_delay", "direct_session_runs", "graph_build_calls", "graph_build_time_usecs"),
    *("graph_pending_queue_length_histogram", "graph_run_input_tensor_bytes", "graph_run_output_tensor_bytes"),
    *("graph_run_time_usecs", "graph_runs", "xla_compilations", "xla_compilation_time_usecs"),
)
NAMES = frozenset(
    {
        *(f"{_T}serving:{name}" for name in ("request_count", "request_latency", "runtime_latency")),
        *(f"{_T}serving:{name}" for name in ("model_warmup_latency", "model_warmup_records_read")),
        *(f"{_T}serving:batching_session:{name}" for name in _BATCHES),
        *(f"{_T}cc:saved_model:{name}" for name in ("load_attempt_count", "load_latency", "load_latency_by_stage")),
        *(f"{_T}core:{name}" for name in _CORE),
    }
)
# Those that rules and budgets read, the most needed last.
NEEDED = (
    *(f"{_T}serving:batching_session:{name}" for name in ("padding_size", "processed_batch_size")),
    *(f"{_T}core:{name}" for name in ("graph_run_output_tensor_bytes", "graph_run_input_tensor_bytes")),
    *(f"{_T}serving:batching_session:{name}" for name in ("input_batch_size", "queuing_latency", "wrapped_run_count")),
    *(f"{_T}core:{name}" for name in ("xla_compilation_time_usecs", "xla_compilations")),
    *(f"{_T}core:{name}" for name in ("graph_build_time_usecs", "graph_build_calls")),
    f"{_T}cc:saved_model:load_attempt_count",
    *(f"{_T}serving:{name}" for name in ("runtime_latency", "request_latency", "request_count")),
)
_LINE = re.compile(r"(?P<name>[:\w]{1,200})\{(?P<labels>.*)\} (?P<value>\S{1,40})")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"(?:,|$)')
_ESCAPED = re.compile(r"\\(.)")
_SUFFIX = re.compile(r"_(bucket|sum|count)$")

Page = dict[str, list[list[Any]]]


def read(port: int, path: str, models: Collection[str]) -> Page:
    """Return the page of the server on a port of this host. Raises ExchangeError, ValueError."""
    code, raw = bounded_http.exchange(port, "GET", path, {"User-Agent": "tfserving.fleet"}, SECONDS, MOST_BYTES)
    if code != 200:
        raise ValueError(f"the page of metrics at port {port} answers with status {code}")
    return parsed(raw.decode("utf-8", "replace"), models)


def parsed(text: str, models: Collection[str]) -> Page:
    """Return the known series of a page by name, each its labels and its value. Raises ValueError of a made-up one."""
    found: Page = {}
    seen: set[tuple[Any, ...]] = set()
    strangers: set[str] = set()
    for name, labels, value in _series(text):
        stranger = labels.get("model_name", "")
        if stranger and stranger not in models:
            strangers.add(stranger)
            # Callers that ask for what is not there show by their count; their histograms say nothing.
            if len(strangers) > MOST_STRANGERS or not name.endswith(":request_count"):
                continue
        key = (name, *sorted(labels.items()))
        if key in seen:
            raise ValueError(f"the page of metrics has a series of {name} twice")
        seen.add(key)
        if len(seen) > MOST_READ:
            raise ValueError(f"the page of metrics has more than {MOST_READ} known series")
        found.setdefault(name, []).append([labels, value])
    return found


def fitted(pages: Sequence[Page], most: int) -> list[str]:
    """Leave out of all pages alike what the rules can best do without, until each fits; return the names left out.

    A name goes from all of them with all of its series: counts of a part would be taken for the whole.
    """
    left_out: list[str] = []
    for name in sorted({name for page in pages for name in page}, key=_need):
        if all(sum(map(len, page.values())) <= most for page in pages):
            break
        left_out.append(name)
        for page in pages:
            page.pop(name, None)
    return left_out


def _need(name: str) -> tuple[int, int, str]:
    """Return how much a name is needed: what no rule reads least, then buckets, then sums and counts."""
    base = name if name in NEEDED else _SUFFIX.sub("", name)
    place = NEEDED.index(base) if base in NEEDED else -1
    return (0 if place < 0 else 1 if name.endswith("_bucket") else 2, place, name)


def _series(text: str) -> Iterator[tuple[str, dict[str, str], float]]:
    for line in text.split("\n"):
        parts = None if line.startswith("#") else _LINE.fullmatch(line.rstrip("\r"))
        if parts and (parts["name"] in NAMES or _SUFFIX.sub("", parts["name"]) in NAMES):
            value = _number(parts["value"])
            if value is not None:
                yield parts["name"], _labels(parts["labels"]), value


def _labels(text: str) -> dict[str, str]:
    return {name: told(_ESCAPED.sub(r"\1", value), LONGEST_LABEL) for name, value in _LABEL.findall(text)}


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return (int(value) if value.is_integer() else value) if math.isfinite(value) else None
