# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Figures as people read them. What is not known is named as such, never blank and never 0."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .measured import Estimate, Percentiles, Ratio

UNKNOWN = "not known"
WITHHELD = "withheld"
# Settings in the order of their weight, in words that fit a row of a table.
SHORT = {
    "max_batch_size": "batch",
    "batch_timeout_micros": "wait us",
    "num_batch_threads": "batch threads",
    "max_enqueued_batches": "queue",
    "allowed_batch_sizes": "sizes",
    "intra_op": "intra",
    "inter_op": "inter",
    "grpc": "gRPC",
    "rest": "REST",
}
# Others are on the page, in the table of the distribution.
SHOWN = ("p50", "p99")


def ms(us: float | None) -> str:
    """Return a latency: ``0.85 ms``, ``9.8 ms``, ``46 ms``, ``1,250 ms``, ``12.3 s``."""
    return UNKNOWN if us is None else f"{bare_ms(us)} ms" if us < 1e7 else f"{us / 1e6:,.1f} s"


def bare_ms(us: float) -> str:
    """Return a latency in ms without its unit."""
    value = us / 1000
    return "0" if value == 0 else f"{value:.2f}" if value < 1 else f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def axis_ms(us: float) -> str:
    """Return a latency in ms as the label of an axis: ``0.5``, ``10``, ``2,000``."""
    return number(us / 1000)


def rate(value: float | None) -> str:
    """Return requests or items a second without their unit: ``0.5``, ``97.5``, ``1,240``."""
    if value is None:
        return UNKNOWN
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.1f}"


def number(value: float) -> str:
    """Return a number for an axis or a setting, without zeros that say nothing."""
    return f"{value:,.0f}" if abs(value) >= 1000 or value == int(value) else f"{value:.3g}"


def percent(share: float | None) -> str:
    """Return a share: ``0 %``, ``0.4 %``, ``43 %``."""
    if share is None:
        return UNKNOWN
    value = share * 100
    return f"{value:.0f} %" if abs(value) >= 10 or value == int(value) else f"{value:.2g} %"


def estimate(given: Estimate | None) -> str:
    """Return a percentile with its interval: ``46.2 ms (44.9 to 47.8)``."""
    if given is None:
        return WITHHELD
    return f"{ms(given['us'])} ({interval(given)})"


def interval(given: Estimate) -> str:
    """Return the interval of a percentile: ``44.9 to 47.8``, ``44.9 or more``."""
    high = given["high"]
    return f"{bare_ms(given['low'])} or more" if high is None else f"{bare_ms(given['low'])} to {bare_ms(high)}"


def ratio(given: Ratio | None) -> str:
    """Return a ratio with its interval: ``0.81 (0.76 to 0.87)``."""
    if given is None:
        return UNKNOWN
    return f"{given['value']:.2f} ({given['low']:.2f} to {given['high']:.2f})"


def withheld(given: Percentiles) -> list[str]:
    """Return why p50 and p99 are not shown, each as a sentence that begins with its name."""
    return [why if why.startswith(name) else f"{name} is withheld: {why}" for name, why in _reasons(given)]


def _reasons(given: Percentiles) -> list[tuple[str, str]]:
    return [(name, why) for name, why in sorted(given["withheld"].items()) if name in SHOWN]


def times(factor: float | None) -> str:
    """Return by what factor something is better: ``2.5 times``."""
    return UNKNOWN if factor is None else f"{factor:.1f} times"


def seconds(value: float) -> str:
    """Return a duration: ``45 s``, ``14 min``, ``3 h 20 min``."""
    if value < 120:
        return f"{value:.0f} s"
    minutes = round(value / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"


def settings(given: Mapping[str, Any]) -> list[str]:
    """Return the settings of a trial as ``name value``, those of threads after those of batching."""
    batching, threads = given["batching"], given["threads"]
    first = ["no batching"] if batching is None else list(_said(batching))
    return [*first, *_said(threads)]


def _said(given: Mapping[str, Any]) -> Iterator[str]:
    order = [*(key for key in SHORT if key in given), *sorted(set(given) - set(SHORT))]
    return (f"{SHORT.get(key, key)} {_plain(given[key])}" for key in order)


def _plain(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else "on" if value is True else str(value)
