# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A made-up fleet as OpenMetrics: an hour of every signal, of every metric of the collector and of what pages use."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import product

from ansible_collections.tfserving.fleet.plugins.module_utils.collector.metrics import METRICS
from ansible_collections.tfserving.fleet.plugins.plugin_utils.signals.model import Alert, Signal

STEP_S = 60
LENGTH_S = 3900
# Tests ask for what is now, and a slow machine takes its time until it asks.
AHEAD_S = 1800
# Its value is the time itself.
EVALUATED = "prometheus_rule_group_last_evaluation_timestamp_seconds"
# A name out of a URL, which a page must not run.
HOSTILE = "\"><script>document.title='run'</script>"
HOSTS = ("gpu-a01", "gpu-a02", "gpu-a03")
SERVICES = ("ranker", "embedder")
# It has been asked nothing for half an hour: figures of calls have ended.
IDLE = "tagger"
ENDED_S = 1800
VALUES: dict[str, tuple[str, ...]] = {
    "host": HOSTS,
    "serving_instance": SERVICES,
    "model": ("ranker",),
    "model_name": ("ranker", HOSTILE),
    "version": ("7", "8"),
    "status": ("OK", "UNAVAILABLE"),
    "entrypoint": ("GRPC", "REST"),
    "gpu": ("0", "1"),
    "resource": ("cpu", "io", "memory"),
    "window": ("5m", "1h"),
    "kind": ("capacity", "uncorrectable"),
    "state": ("AVAILABLE",),
    "old": ("7",),
    "new": ("8",),
    "reason": ("idle", "sw_power_cap", "hw_slowdown", "hw_thermal_slowdown"),
    "proxy": ("rest_ranker", "grpc_ranker"),
    "verdict": ("violated", "met", "undecided"),
    "path": ("/etc/ssl/gateway.pem",),
    "le": ("67466.4", "121440", "+Inf"),
}
UNITS = {"percentunit": 0.4, "s": 0.02, "µs": 20000, "reqps": 120, "bytes": 6e9, "celsius": 61, "watt": 240}
UNITS |= {"hertz": 1.4e9, "bool": 1, "short": 12, "dateTimeAsIso": 1.8e9}
# A fleet without great trouble: what is small there, by a part of the name.
SMALL = {"error_ratio": 0.0004, "bad_ratio": 0.004, "burn": 0.4, "steal": 0.001, "pressure": 0.02, "retransmit": 0.0005}
SMALL |= {"conntrack": 0.1, "load_failures": 0, "loads": 0, "xids": 0, "skew": 0, "missing": 0, "padding": 0.08}
SMALL |= {
    "_bad:": 0.05,
    "errors:": 0.05,
    "slow": 0.5,
    "throttled": 0,
    "swapped": 0,
    "wait_ratio": 0.01,
    "offset": 0.002,
}
SMALL |= {"collector_age": 24, "certificate": 5e6, "apt_key": 5e7, "saturation": 0}
# What has a meaning of its own; (name, labels, value), to which host and address are added.
EDGES = {"ranker": (0.0674664, 0.12144), "embedder": (0.00642857, 0.0115714)}
VERDICTS = {"ranker": "undecided", "embedder": "met"}
BUCKETS = {"67466.4": 90.0, "121440": 119.0, "+Inf": 120.0}

# Name, labels, value and course: None for a counter that grows by the value a second, True for a figure in waves.
Series = tuple[str, dict[str, str], float, bool | None]


def page(signals: Sequence[Signal], alerts: Sequence[Alert], now: float) -> str:
    """Return the text that ``promtool tsdb create-blocks-from openmetrics`` makes blocks of."""
    times = range(int(now) - LENGTH_S, int(now) + AHEAD_S, STEP_S)
    found = [*_signals(signals), *_collector(), *_others(), *_alerts(alerts, now)]
    by_name: dict[str, list[Series]] = {}
    for each in found:
        by_name.setdefault(each[0], []).append(each)
    lines = [
        f"{name}{_labels(labels)} {at if name == EVALUATED else _value(value, waves, at - times[0], labels)!r} {at}"
        for name, series in by_name.items()
        for _name, labels, value, waves in series
        for at in times
        if name.startswith("up") or labels.get("serving_instance") != IDLE or at < times[0] + ENDED_S
    ]
    return "\n".join([*lines, "# EOF", ""])


def _labels(labels: dict[str, str]) -> str:
    escaped = {key: value.replace("\\", "\\\\").replace('"', '\\"') for key, value in labels.items()}
    return "{" + ",".join(f'{key}="{value}"' for key, value in escaped.items()) + "}"


def _value(value: float, waves: bool | None, at: int, labels: dict[str, str]) -> float:
    if waves is None:
        return value * at
    shift = sum(map(ord, "".join(labels.values()))) % 7
    return value * (1 + 0.25 * math.sin(at / 600 + shift)) * (1 + shift / 10) if waves else value


def _combined(names: Sequence[str]) -> Iterator[dict[str, str]]:
    for values in product(*(VALUES.get(name, ("a",)) for name in names)):
        yield dict(zip(names, values))


def _signals(signals: Sequence[Signal]) -> Iterator[Series]:
    for signal in signals:
        for labels in _combined(signal.labels):
            yield signal.name, labels, *_figure(signal, labels)


def _figure(signal: Signal, labels: dict[str, str]) -> tuple[float, bool]:
    service = labels.get("serving_instance", "ranker")
    if signal.name.startswith("tfserving:p99_"):
        return EDGES[service]["high" in signal.name], False
    if signal.name == "tfserving:slo_verdict":
        return float(labels["verdict"] == VERDICTS[service]), False
    if signal.name == "tfserving:objective:p99_seconds":
        return 0.1 if service == "ranker" else 0.02, False
    if signal.name == "tfserving:latency_edge_seconds":
        return float(labels["le"]) / 1e6, False
    if signal.name.startswith("tfserving:latency_bucket"):
        return BUCKETS[labels["le"]], False
    if labels.get("status", "OK") != "OK":
        return 0.4, True
    small = next((value for part, value in SMALL.items() if part in signal.name), UNITS[signal.unit])
    return small, signal.unit not in ("bool", "dateTimeAsIso") and "le" not in labels


def _collector() -> Iterator[Series]:
    for name, metric in METRICS.items():
        unit = next((value for end, value in ENDINGS.items() if end in name), 1.0)
        for host in HOSTS:
            for labels in _combined(metric.labels):
                labels = {f"exported_{key}" if key == "kind" else key: value for key, value in labels.items()}
                yield (
                    name,
                    {**labels, "kind": "serving", "host": host, "instance": host, "job": "node"},
                    unit,
                    unit > 16 or unit == 0.6,
                )


ENDINGS = {"_ratio": 0.6, "_bytes": 6e9, "_celsius": 61.0, "_watts": 240.0, "_hertz": 1.4e9, "_timestamp": 1.8e9}
ENDINGS |= {"remap": 0.0, "foreign": 0.0, "ecc": 0.0, "pcie_width": 16.0, "clock_event": 0.0}


def _others() -> Iterator[Series]:
    for host in HOSTS:
        here = {"host": host, "instance": host, "job": "node"}
        yield "up", here, 1, False
        yield "node_cpu_seconds_total", {**here, "cpu": "0", "mode": "idle"}, 0.7, None
        yield "node_textfile_mtime_seconds", {**here, "file": "tfserving.prom"}, 1.8e9, False
        yield "node_memory_MemAvailable_bytes", here, 9e10, True
        yield "node_memory_MemTotal_bytes", here, 2.7e11, False
        for service in (*SERVICES, IDLE):
            labels = {"job": "tfserving", "host": host, "serving_instance": service, "instance": f"{host}.{service}"}
            yield "up", labels, float((host, service) != ("gpu-a03", IDLE)), False
    yield "tfserving:calls:rate5m", {"host": "gpu-a03", "serving_instance": IDLE}, 50, True
    yield from _gateway()


def _gateway() -> Iterator[Series]:
    here = {"host": "edge-1", "instance": "edge-1", "job": "haproxy"}
    for end, host in (("_canary", "gpu-a01"), ("_control", "gpu-a02"), ("", "gpu-a03")):
        for protocol in ("rest", "grpc"):
            proxy = {**here, "proxy": f"{protocol}_ranker{end}"}
            yield "haproxy_server_status", {**proxy, "server": f"{host}.ranker", "state": "UP"}, 1, False
            for code, rate in (("2xx", 40), ("5xx", 0.2)):
                yield "haproxy_backend_http_responses_total", {**proxy, "code": code}, rate, None
            yield "haproxy_backend_response_time_average_seconds", proxy, 0.031, True


def _alerts(alerts: Sequence[Alert], now: float) -> Iterator[Series]:
    last = {"job": "prometheus", "rule_group": "/etc/prometheus/rules/tfserving-alerts.yml;alerts"}
    yield EVALUATED, last, 0, False
    for alert in alerts[:3]:
        labels = {"alertname": alert.name, "severity": alert.severity, "scope": alert.scope}
        labels |= {"host": "gpu-a01", "serving_instance": "ranker", "model": HOSTILE}
        yield "ALERTS", {**labels, "alertstate": "firing"}, 1, False
        yield "ALERTS_FOR_STATE", labels, now - 1260, False
