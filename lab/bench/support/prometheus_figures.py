# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What Prometheus says of itself on its own page."""

from __future__ import annotations

import json
import re
import time
import urllib.parse
import urllib.request
from dataclasses import dataclass, field

TIMEOUT_S = 30
_LINE = re.compile(r"([A-Za-z_:][\w:]*)(?:\{(.*)\})? (\S+)")
_GROUP = re.compile(r'rule_group="[^"]*;([^"]*)"')
_PREFIX = "prometheus_rule_group_"


@dataclass(frozen=True)
class Reading:
    """The figures of a moment; of a server that does not answer yet, nothing."""

    at: float = 0.0
    series: float = 0.0
    samples: float = 0.0
    chunks: float = 0.0
    resident: float = 0.0
    cpu_s: float = 0.0
    missed: float = 0.0
    least_iterations: float = 0.0
    rules: dict[str, float] = field(default_factory=dict)


def parsed(page: str, at: float) -> Reading:
    """Return the figures on a page."""
    sums: dict[str, float] = {}
    groups: dict[str, dict[str, float]] = {}
    for line in page.splitlines():
        found = _LINE.fullmatch(line)
        if not found or line.startswith("#"):
            continue
        name, labels, value = found[1], found[2] or "", float(found[3])
        sums[name] = sums.get(name, 0.0) + value
        group = _GROUP.search(labels)
        if group and name.startswith(_PREFIX):
            groups.setdefault(name[len(_PREFIX) :], {})[group[1]] = value
    iterations = groups.get("iterations_total", {})
    return Reading(
        at=at,
        series=sums.get("prometheus_tsdb_head_series", 0.0),
        samples=sums.get("prometheus_tsdb_head_samples_appended_total", 0.0),
        chunks=sums.get("prometheus_tsdb_head_chunks", 0.0),
        resident=sums.get("process_resident_memory_bytes", 0.0),
        cpu_s=sums.get("process_cpu_seconds_total", 0.0),
        missed=sum(groups.get("iterations_missed_total", {}).values()),
        least_iterations=min(iterations.values(), default=0.0),
        rules=groups.get("last_duration_seconds", {}),
    )


def read(server: str) -> Reading:
    """Return the figures of a server now."""
    try:
        with urllib.request.urlopen(f"{server}/metrics", timeout=TIMEOUT_S) as answer:
            return parsed(answer.read().decode(), time.monotonic())
    except OSError:
        return Reading()


def first(server: str, patience_s: float) -> Reading:
    """Return the figures of a server as soon as it has any."""
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        found = read(server)
        if found.resident:
            return found
        time.sleep(0.05)
    raise SystemExit(f"Prometheus does not answer within {patience_s:.0f} s")


def asked(server: str, query: str) -> list[tuple[dict[str, str], float]]:
    """Return the labels and values that a query gives."""
    address = f"{server}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
    with urllib.request.urlopen(address, timeout=TIMEOUT_S) as answer:
        result = json.load(answer)["data"]["result"]
    return [(each["metric"], float(each["value"][1])) for each in result]


def scrape_seconds(server: str) -> str:
    """Return how long the slowest scrape of each job took last."""
    found = asked(server, "max by (job) (scrape_duration_seconds)")
    return ", ".join(f"{labels['job']} {value:.3f}" for labels, value in sorted(found, key=lambda each: each[0]["job"]))


def samples_by_job(server: str) -> dict[str, float]:
    """Return how many samples the last scrapes of each job brought."""
    found = asked(server, "sum by (job) (scrape_samples_post_metric_relabeling)")
    return dict(sorted((labels["job"], value) for labels, value in found))


def alerts(server: str) -> str:
    """Return how many alerts wait or fire."""
    found = asked(server, "count by (alertname, alertstate) (ALERTS)")
    shown = [f"{value:.0f} {labels['alertname']} {labels['alertstate']}" for labels, value in found]
    return ", ".join(sorted(shown)) or "none"
