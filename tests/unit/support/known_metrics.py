# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The names of all metrics that something in the fleet shows, and those that an expression of PromQL asks for."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from ansible_collections.tfserving.fleet.plugins.module_utils.collector.metrics import METRICS
from ansible_collections.tfserving.fleet.plugins.plugin_utils.signals import table
from ansible_collections.tfserving.fleet.plugins.plugin_utils.tables.read import table as read

PAGES = Path(__file__).with_name("recorded_pages")
_HISTOGRAM = ("_bucket", "_sum", "_count")
_WORDS = re.compile(r"(?<![\w:.])[A-Za-z_:][\w:]*")
# Functions, operators and words of PromQL; labels stand within braces or behind the words that take a list of them.
_LANGUAGE = {
    *("abs", "and", "atan2", "avg", "avg_over_time", "bool", "by", "clamp_max"),
    *("clamp_min", "count", "group_left", "group_right", "ignoring", "increase", "label_replace", "max"),
    *("max_over_time", "min", "min_over_time", "offset", "on", "or", "rate", "sum"),
    *("sum_over_time", "time", "unless", "vector", "without", "Inf"),
}


@cache
def shown() -> frozenset[str]:
    """Return the names on the pages that Prometheus scrapes, and those that its rules record."""
    pages = {name for page in PAGES.glob("*.txt") for name in page.read_text(encoding="utf-8").split()}
    recorded = set(table.SIGNAL_BY_NAME)
    return frozenset({*METRICS, *pages, *recorded, *server()})


@cache
def server() -> frozenset[str]:
    """Return the names on the server's page."""
    rows = read("server_metrics")
    plain = {name for name, row in rows.items() if row["type"] != "histogram"}
    return frozenset(
        {*plain, *(f"{name}{end}" for name, row in rows.items() if row["type"] == "histogram" for end in _HISTOGRAM)}
    )


def asked(expr: str) -> set[str]:
    """Return the metrics that an expression asks for."""
    bare = re.sub(r'"(?:[^"\\]|\\.)*"', "", expr)
    bare = re.sub(r"\{[^{}]*\}|\[[^\]]*\]", "", bare)
    bare = re.sub(r"\b(by|on|without|ignoring|group_left|group_right)\s*\([^()]*\)", "", bare)
    bare = re.sub(r"\boffset\s+\w+", "", bare)
    return {word for word in _WORDS.findall(bare) if word not in _LANGUAGE}
