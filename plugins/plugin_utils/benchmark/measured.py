# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Types of what is measured in one stage of a benchmark; docs/benchmark.md explains every key."""

from __future__ import annotations

from typing import Literal, TypedDict

StageVerdict = Literal["pass", "fail", "invalid"]


class Estimate(TypedDict):
    """A percentile in microseconds with its 95 % interval; ``high`` is null where failures leave its end open."""

    us: float
    low: float
    high: float | None


class Ratio(TypedDict):
    """A ratio with its 95 % interval; 1 is no difference."""

    value: float
    low: float
    high: float


class Difference(TypedDict):
    """A difference of two shares with its 95 % interval; 0 is no difference."""

    value: float
    low: float
    high: float


class HistogramData(TypedDict):
    """A histogram of latencies as the load generator writes it."""

    schema: int
    counts: dict[str, int]
    min: int
    max: int
    sum: int


class _Second(TypedDict):
    t: float
    offered: int
    ok: int
    errors: int
    late: int
    open: int


class Second(_Second, total=False):
    """What was sent in one second; the histogram is missing where a stage failed."""

    histogram: HistogramData | None


class Counters(TypedDict):
    """The server's count of requests by status, before the first and after the last one."""

    before: dict[str, float]
    after: dict[str, float]


class Everything(TypedDict):
    """The requests of a stage, warm-up included."""

    sent: int
    ok: int


class _StageResult(TypedDict):
    schema: int
    engine: str
    protocol: str
    began: float
    warmup_s: float
    duration_s: float
    rate: float
    offered: int
    sent: int
    answered: int
    ok: int
    errors: dict[str, int]
    late: int
    items: float
    cpu: list[float]
    rss_mb: list[float]
    counters: Counters | None
    all: Everything
    histogram: HistogramData
    seconds: list[Second]
    problems: list[str]


class StageResult(_StageResult, total=False):
    """What the load generator measured in one stage, all load hosts together. ``step_s`` is 1 unless given."""

    step_s: int


_Others = TypedDict(
    "_Others", {"p90": "Estimate | None", "p95": "Estimate | None", "p99.9": "Estimate | None"}, total=False
)


class Percentiles(_Others):
    """The percentiles that the number of requests supports; ``withheld`` says why others are null."""

    p50: Estimate | None
    p99: Estimate | None
    withheld: dict[str, str]


class StageHost(TypedDict):
    """What the host told about a stage; null where it does not tell."""

    throttled_us: float | None
    psi_cpu_some_us: float | None
    steal_share: float | None
    foreign_cpu_share: float | None


class _Stage(TypedDict):
    name: str
    rate: float
    verdict: StageVerdict
    why: str
    result: StageResult | None
    percentiles: Percentiles
    remarks: list[str]
    host: StageHost | None


class Stage(_Stage, total=False):
    """One rate, held for a while, and the verdict on it; ``side`` is that of a block in turns."""

    side: Literal["A", "B"]
