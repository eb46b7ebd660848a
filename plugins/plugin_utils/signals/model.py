# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What the table of signals consists of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

# As Grafana names them; those who show figures themselves have a table of how.
Unit = Literal["s", "µs", "percentunit", "reqps", "bytes", "short", "celsius", "watt", "hertz", "bool", "dateTimeAsIso"]
# What a signal or an alert is about, and so which page shows it.
Scope = Literal["fleet", "instance", "host", "gpu", "gateway", "rollout", "monitoring"]
Severity = Literal["page", "ticket"]
# In the expression of a signal: the names of all models as a regular expression, of which the first that fits counts.
MODELS = "{models}"


@dataclass(frozen=True)
class Signal:
    """A figure that the fleet shows.

    ``name`` is that of a recording rule (``tfserving:...``), ``expr`` PromQL over metrics and other signals, and
    ``labels`` are those that its series have.
    """

    name: str
    title: str
    unit: Unit
    scope: Scope
    expr: str
    help: str
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Threshold:
    """Where a signal begins to be a fault: ``value`` as shown to people, why there, and who says so."""

    value: str
    reason: str
    source: str


@dataclass(frozen=True)
class Alert:
    """A condition that people hear of.

    ``expr`` uses signals by name where one fits. ``summary`` is a sentence with Prometheus's ``{{ $labels.x }}`` and
    ``{{ $value }}``; ``remedy`` says what to do, first thing first. The runbook is ``docs/alerts.md#NAME``.
    """

    name: str
    expr: str
    after: str
    severity: Severity
    scope: Scope
    threshold: Threshold
    summary: str
    remedy: str
    signals: tuple[str, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Objective:
    """What an instance has promised, from the plans of its hosts: the table makes its rules from these.

    ``p99_ms`` is the objective for the 99th percentile, ``availability`` the share of calls that do not fail.
    """

    serving_instance: str
    models: tuple[str, ...]
    p99_ms: float
    availability: float
    max_batch_size: int | None
    batch_timeout_us: int | None
    batch_threads: int | None
