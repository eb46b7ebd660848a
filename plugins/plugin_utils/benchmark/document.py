# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The documents that measuring leaves: their types, and the reader that believes none of them.

docs/benchmark.md explains every key. Times of day are Unix seconds or ISO 8601 texts in UTC, latencies are
microseconds, rates are requests a second.
"""

from __future__ import annotations

import json
from typing import Any, Literal, TypedDict, cast

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError, described
from ansible_collections.tfserving.fleet.plugins.module_utils.load.histogram import Histogram

from .measured import Difference, Percentiles, Ratio, Stage, StageHost
from .shape import misfit

# The schema of both kinds of documents. Keys may be added to it; those below keep their names and meanings.
SCHEMA = 1
# Twenty stages of an hour each, with a histogram for every second, stay below a third of this.
LONGEST = 64 * 1024 * 1024
REMEDY = "give the JSON file of a benchmark"

Kind = Literal["knee", "fixed", "shards", "turns"]


class Settings(TypedDict):
    """The settings of the instance while it was measured."""

    flags: dict[str, Any]
    batching: dict[str, Any] | None


class Conditions(TypedDict):
    """What else decides about the figures; null where the host does not tell."""

    plan_digest: str
    server_version: str
    server_id: str
    model_versions: dict[str, list[int]]
    cpu: str | None
    cpus: str | None
    governor: str | None
    mhz: list[float] | None
    clocksource: str | None
    kernel: str | None
    boost: bool | None
    collection_version: str
    settings: Settings


class Sizes(TypedDict):
    """The mean and the largest of what one request holds."""

    mean: float
    max: float


class Requests(TypedDict):
    """The requests that were sent."""

    source: Literal["probe", "samples", "generated"]
    file: str | None
    count: int
    items: Sizes
    bytes: Sizes
    digest: str


class Calibrated(TypedDict, total=False):
    """The load generator against a stub of known delays, or why it was not calibrated."""

    requests_per_s_a_core: float
    cpu_us_a_request: float
    delay_us: float
    measured_p50_us: float
    error: float
    overhead_us: float
    missing: str


class Calibration(TypedDict):
    """The load generator against its own stub, by protocol."""

    schema: int
    protocols: dict[str, Calibrated]


class _HostSample(TypedDict):
    at: float


class HostSample(_HostSample, total=False):
    """What the host told at one moment; counters grow from the start of the host or of the unit."""

    cpu_throttled_us: float | None
    psi_cpu_us: float | None
    psi_memory_us: float | None
    psi_io_us: float | None
    steal_us: float | None
    mhz: Any
    rss_mb: float | None
    pid: int | None
    versions: Any
    gpu: Any


class Event(TypedDict):
    """Something that happened to the server while it was measured."""

    at: float
    kind: Literal["reload", "restart", "throttled", "error burst"]
    text: str


class Knee(TypedDict):
    """The highest rate that keeps the objective, and the nearest rates that passed and failed."""

    rate: float
    low: float
    high: float | None
    p99_us: float | None
    confirmed: int
    reason: str


class ShardRow(TypedDict):
    """One request cut into ``shards`` of at most ``items``, against the whole one."""

    shards: int
    items: int
    p50_us: float | None
    p99_us: float | None
    capacity_items_per_s: float | None
    latency_won: float | None
    capacity_lost: float | None
    advice: str | None


class _Comparison(TypedDict):
    against: str
    same_plan: bool
    differences: list[str]
    p99_ratio: Ratio | None
    throughput_ratio: Ratio | None
    smallest_detectable: float | None
    verdict: Literal["better", "worse", "no difference", "not comparable"]
    reason: str


class Comparison(_Comparison, total=False):
    """This run against an earlier one."""

    p50_ratio: Ratio | None
    errors_difference: Difference | None


class Other(TypedDict):
    """The instance that was measured in turns with the first one."""

    instance: str
    model: str
    host: str
    slo_p99_ms: float | None
    conditions: Conditions
    host_samples: list[HostSample]


class TurnsRow(TypedDict):
    """What one of two instances gave in all of its valid blocks."""

    side: Literal["A", "B"]
    instance: str
    host: str
    blocks: int
    duration_s: float
    offered: int
    ok: int
    errors: int
    percentiles: Percentiles


class _Document(TypedDict):
    schema: int
    kind: Kind
    instance: str
    model: str
    host: str
    load_hosts: list[str]
    protocol: str
    arrivals: str
    began: str
    ended: str
    slo_p99_ms: float | None
    conditions: Conditions
    requests: Requests
    calibration: Calibration | None
    stages: list[Stage]
    host_samples: list[HostSample]
    events: list[Event]
    knee: Knee | None
    shards: list[ShardRow] | None
    comparison: Comparison | None
    verdict: Literal["valid", "invalid"]
    remarks: list[str]


class Document(_Document, total=False):
    """One benchmark of an instance."""

    other: Other | None
    turns: list[TurnsRow] | None


class TrialSettings(TypedDict):
    """What a trial may change of an instance."""

    batching: dict[str, Any] | None
    threads: dict[str, Any]


class Measured(TypedDict):
    """Settings, and the knee found with them."""

    settings: TrialSettings
    knee: Knee | None


class ServicePoint(TypedDict):
    """The time of one call with so many items."""

    items: float
    us: float


class _ServiceTime(TypedDict):
    points: list[ServicePoint]
    a_us: float | None
    c_us: float | None
    r2: float | None
    sentence: str


class ServiceTime(_ServiceTime, total=False):
    """The fit S(b) = a + c*b, null where the points do not bear one, with the 95 % intervals of a and c."""

    a_interval: list[float] | None
    c_interval: list[float] | None


class TrialHost(TypedDict):
    """What the measured host told of one stage of a trial, warm-up included, and what speaks against the stage."""

    rate: float
    figures: StageHost
    remarks: list[str]


class Trial(TypedDict):
    """One set of settings, and the throughput within the objective that they reached."""

    number: int
    settings: TrialSettings
    origin: Literal["plan", "default", "physics", "search"]
    outcome: Literal["measured", "stopped early", "failed", "illegal"]
    tried_by: Literal["restart", "version", "kept"] | None
    change_s: float | None
    host: list[TrialHost]
    rate: float | None
    low: float | None
    high: float | None
    p99_us: float | None
    why: str


class Turns(TypedDict):
    """The best of the trials against the planned settings, in turns at one rate; ratios are best / planned."""

    rate: float
    blocks: int
    block_s: float
    planned_p99_us: float | None
    p99_us: float | None
    keeps: bool
    host: list[TrialHost]
    p99_ratio: Ratio | None
    p50_ratio: Ratio | None
    throughput_ratio: Ratio | None
    errors_difference: Difference | None
    smallest_detectable: float | None
    verdict: Literal["better", "worse", "no difference", "not comparable"]
    reason: str


class _Choice(TypedDict):
    trial: int | None
    reasons: list[str]
    against_planned: Ratio | None


class Choice(_Choice, total=False):
    """The trial that was chosen, if any, why, and its throughput over that of the planned settings."""

    verdict: Literal["tuned", "plan", "no batching", "none"]
    turns: Turns | None


class _Tune(TypedDict):
    schema: int
    kind: Literal["tune"]
    instance: str
    host: str
    began: str
    ended: str
    slo_p99_ms: float
    baseline: Measured
    planned: Measured
    service_time: ServiceTime | None
    trials: list[Trial]
    choice: Choice | None
    restored: bool
    conditions: Conditions
    remarks: list[str]


class Cuts(TypedDict):
    """A request whole and cut into shards, with the planned or the chosen settings in force."""

    of: Literal["plan", "chosen"]
    settings: TrialSettings
    best: int | None
    sentence: str
    rows: list[ShardRow]


class Tune(_Tune, total=False):
    """The search for the settings of one instance."""

    inventory: str | None
    shards: list[Cuts] | None


def read(text: str, where: str = "against") -> Document:
    """Return the benchmark that a file holds; ``where`` is the variable that names it. Raises WishError."""
    if len(text) > LONGEST:
        raise WishError(where, f"is larger than the {LONGEST >> 20} MiB that a benchmark may have", REMEDY)
    found = checked(_parsed(text, where), where)
    if found["kind"] == "tune":
        raise WishError(where, "is the result of tuning, which is not compared", REMEDY)
    return found


def checked(data: object, where: str) -> Document | Tune:
    """Return data as the document that it claims to be. Raises WishError on the first thing that is wrong with it."""
    if not isinstance(data, dict):
        raise WishError(where, f"is {described(data)} and no benchmark", REMEDY)
    if data.get("schema") != SCHEMA:
        raise WishError(where, f"has schema {described(data.get('schema'))}, not {SCHEMA}", "measure again")
    problem = misfit(data, Tune if data.get("kind") == "tune" else Document)
    if problem:
        raise WishError(where, f"is no benchmark: {problem}", REMEDY)
    for path, histogram in _histograms(data):
        try:
            Histogram.from_json(histogram)
        except ValueError as error:
            raise WishError(where, f"is no benchmark: {path}: {error}", REMEDY) from error
    return cast("Document | Tune", data)


def _parsed(text: str, where: str) -> object:
    try:
        return json.loads(text, parse_constant=_refused)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise WishError(where, f"is not JSON ({place}: {error.msg})", REMEDY) from error
    except ValueError as error:  # NaN, Infinity, numbers of thousands of digits
        raise WishError(where, "holds a number that JSON does not have", REMEDY) from error
    except RecursionError as error:
        raise WishError(where, "is nested too deeply", REMEDY) from error


def _refused(name: str) -> None:
    raise ValueError(name)


def _histograms(data: dict[str, Any]) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for number, stage in enumerate(data.get("stages", ())):
        if stage["result"]:
            path = f"stages[{number}].result"
            found.append((f"{path}.histogram", stage["result"]["histogram"]))
            for second in stage["result"]["seconds"]:
                if second.get("histogram"):
                    found.append((f"{path}.seconds", second["histogram"]))
    return found
