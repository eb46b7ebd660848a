# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Latency, as far as the server's histogram can tell it, and what is left of the objective's budget.

The limits of the histogram stand 1.8 apart, so a percentile is shown as the two limits it lies between, never as the
figure that an interpolation makes of them.
"""

from __future__ import annotations

from ..buckets import INFINITE, LATENCY, P99_BUDGET, ROUNDING, VERDICTS
from ..model import Signal

WINDOWS = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")
SECONDS = {"5m": 300, "30m": 1800, "1h": 3600, "2h": 7200, "6h": 21600, "1d": 86400, "3d": 259200}

_ALL = "tfserving:latency_bucket:fleet_rate5m"
_TOTAL = f'(tfserving:latency_bucket:fleet_rate5m{{le="{INFINITE}"}} > 0)'
_SERVED = 'job="tfserving",API!=""'
# The server's clock is in µs, the rules' in seconds.
_MICROS = "1e6"
_QUANTILE = f"{1 - P99_BUDGET - ROUNDING:.10g}"
# Seconds between two evaluations of the rules.
EVERY = 15


def labelled(expr: str, name: str, value: str) -> str:
    """Return an expression whose series have one label more."""
    return f'label_replace({expr}, "{name}", "{value}", "", "")'


def any_of(parts: list[str]) -> str:
    """Return the union of expressions."""
    return " or ".join(parts)


def mean(histogram: str, by: str, matchers: str) -> str:
    """Return the mean of a histogram of the server over 5 minutes, in seconds."""
    # _sum has six digits, so the mean wanders by up to 10 % on a process that has been busy for a month. Midpoints of
    # buckets are off by up to 29 % at any age, and differences between two means need better than that.
    name = f":tensorflow:serving:{histogram}"
    return (
        f"sum by ({by}) (rate({name}_sum{{{matchers}}}[5m]))"
        f" / (sum by ({by}) (rate({name}_count{{{matchers}}}[5m])) > 0) / {_MICROS}"
    )


def _edges() -> str:
    """Return the limits as series by ``le``: PromQL cannot make a number of a label."""
    texts = LATENCY.texts()
    values = [*(f"{float(text) / 1e6:.10g}" for text in texts[:-1]), "Inf"]
    return any_of([labelled(f"vector({value})", "le", text) for text, value in zip(texts, values)])


def _slow(side: str) -> str:
    """Return the calls a second that took longer than the limit on one side of the objective."""
    return (
        f'clamp_min(sum by (serving_instance) ({_ALL}{{le="{INFINITE}"}})'
        f" - on (serving_instance) sum by (serving_instance)"
        f' ({_ALL} * on (serving_instance, le) tfserving:objective:edge{{side="{side}"}}), 0)'
    )


def ratio_over(bad: str, calls: str) -> str:
    """Return the share of bad calls over each window, weighted by how many calls there were."""
    # Means of a rate over 5 minutes: a rate over three days of all buckets would read millions of samples each time.
    return any_of(
        [labelled(f"avg_over_time({bad}[{each}]) / (avg_over_time({calls}[{each}]) > 0)", "window", each)
         for each in WINDOWS]
    )  # fmt: skip


def number_over(calls: str) -> str:
    """Return how many calls each window had."""
    return any_of([labelled(f"sum_over_time({calls}[{each}]) * {EVERY}", "window", each) for each in WINDOWS])


def _verdicts() -> str:
    low, high = (f'tfserving:slo_bad_ratio:{side}{{window="5m"}}' for side in ("low", "high"))
    allowed = f"{P99_BUDGET + ROUNDING:.10g}"
    sure, met = f"({low} > bool {allowed})", f"({high} <= bool {allowed})"
    told = dict(zip(VERDICTS, (sure, met, f"(1 - {sure} - {met})")))
    return any_of([labelled(f"sum by (serving_instance) ({expr})", "verdict", name) for name, expr in told.items()])


SIGNALS = (
    Signal(
        "tfserving:latency_bucket:rate5m",
        "Latency by bucket",
        "reqps",
        "instance",
        f"sum by (host, serving_instance, le) (rate(:tensorflow:serving:request_latency_bucket{{{_SERVED}}}[5m]))",
        "Successful calls a second that took at most so many µs (le), of all entrypoints.",
        ("host", "serving_instance", "le"),
    ),
    Signal(
        "tfserving:latency_bucket:fleet_rate5m",
        "Latency by bucket, all hosts",
        "reqps",
        "fleet",
        "sum by (serving_instance, le) (tfserving:latency_bucket:rate5m)",
        "The same over all hosts: buckets may be added up, percentiles may not.",
        ("serving_instance", "le"),
    ),
    Signal(
        "tfserving:latency_edge_seconds",
        "Limits of the buckets",
        "s",
        "fleet",
        _edges(),
        "The limits of the server's latency histogram, as seconds.",
        ("le",),
    ),
    Signal(
        "tfserving:p99_low_seconds",
        "p99 at least",
        "s",
        "fleet",
        "max by (serving_instance)"
        f" (({_ALL} < on (serving_instance) group_left () ({_QUANTILE} * sum by (serving_instance) ({_TOTAL})))"
        " * 0 + on (le) group_left tfserving:latency_edge_seconds)"
        f" or sum by (serving_instance) ({_TOTAL}) * 0",
        "The lower limit of the bucket that the 99th percentile of successful calls lies in.",
        ("serving_instance",),
    ),
    Signal(
        "tfserving:p99_high_seconds",
        "p99 at most",
        "s",
        "fleet",
        "min by (serving_instance)"
        f" (({_ALL} >= on (serving_instance) group_left () ({_QUANTILE} * sum by (serving_instance) ({_TOTAL})))"
        " * 0 + on (le) group_left tfserving:latency_edge_seconds)",
        "The upper limit of the bucket that the 99th percentile of successful calls lies in.",
        ("serving_instance",),
    ),
    Signal(
        "tfserving:latency_mean_seconds",
        "Mean latency",
        "s",
        "instance",
        mean("request_latency", "host, serving_instance, entrypoint", _SERVED),
        "Mean time of successful calls inside the server, by entrypoint.",
        ("host", "serving_instance", "entrypoint"),
    ),
    Signal(
        "tfserving:runtime_seconds",
        "Mean time of the runtime",
        "s",
        "instance",
        mean("runtime_latency", "host, serving_instance", 'job="tfserving"'),
        "Mean time of TensorFlow's part of a call, the wait for a batch included.",
        ("host", "serving_instance"),
    ),
    Signal(
        "tfserving:overhead_seconds",
        "Overhead of requests",
        "s",
        "instance",
        "clamp_min(tfserving:latency_mean_seconds"
        " - on (host, serving_instance) group_left tfserving:runtime_seconds, 0)",
        "Mean time of a call outside TensorFlow: reading and writing JSON or protobuf. The runtime counts the calls of"
        " both entrypoints as one.",
        ("host", "serving_instance", "entrypoint"),
    ),
    Signal(
        "tfserving:in_flight",
        "Calls in flight",
        "short",
        "instance",
        f"sum by (host, serving_instance) (rate(:tensorflow:serving:request_latency_sum{{{_SERVED}}}[5m])) / {_MICROS}",
        "Calls at the same time, by Little's law: the rate of their summed latencies. Calls that never end are not in"
        " it.",
        ("host", "serving_instance"),
    ),
    Signal(
        "tfserving:slo_calls:rate5m",
        "Calls with a latency",
        "reqps",
        "fleet",
        f'sum by (serving_instance) ({_ALL}{{le="{INFINITE}"}})',
        "Successful calls a second over all hosts.",
        ("serving_instance",),
    ),
    Signal(
        "tfserving:slo_slow:low_rate5m",
        "Slow calls at least",
        "reqps",
        "fleet",
        _slow("above"),
        "Calls a second that took longer than the limit above the objective: slow for sure.",
        ("serving_instance",),
    ),
    Signal(
        "tfserving:slo_slow:high_rate5m",
        "Slow calls at most",
        "reqps",
        "fleet",
        _slow("below"),
        "Calls a second that took longer than the limit below the objective: slow perhaps.",
        ("serving_instance",),
    ),
    Signal(
        "tfserving:slo_calls",
        "Calls in a window",
        "short",
        "fleet",
        number_over("tfserving:slo_calls:rate5m"),
        "Successful calls over a window: with few of them one slow call would look like a fault.",
        ("serving_instance", "window"),
    ),
    Signal(
        "tfserving:slo_bad_ratio:low",
        "Share of slow calls at least",
        "percentunit",
        "fleet",
        ratio_over("tfserving:slo_slow:low_rate5m", "tfserving:slo_calls:rate5m"),
        "Share of calls that missed the objective for sure, by window.",
        ("serving_instance", "window"),
    ),
    Signal(
        "tfserving:slo_bad_ratio:high",
        "Share of slow calls at most",
        "percentunit",
        "fleet",
        ratio_over("tfserving:slo_slow:high_rate5m", "tfserving:slo_calls:rate5m"),
        "Share of calls that may have missed the objective, by window.",
        ("serving_instance", "window"),
    ),
    Signal(
        "tfserving:slo_burn",
        "Use of the latency budget",
        "short",
        "fleet",
        f"tfserving:slo_bad_ratio:low / {P99_BUDGET}",
        "How many times as fast as allowed the budget of slow calls is used up, for sure; 1 uses it up in 30 days.",
        ("serving_instance", "window"),
    ),
    Signal(
        "tfserving:slo_verdict",
        "Verdict on the objective",
        "bool",
        "fleet",
        _verdicts(),
        "1 for what the histogram says of the objective over 5 minutes: violated for sure, met for sure, or undecided,"
        " because the objective lies within a bucket.",
        ("serving_instance", "verdict"),
    ),
)
