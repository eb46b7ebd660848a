# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Samples as the text that node exporter reads.

https://prometheus.io/docs/instrumenting/exposition_formats. Node exporter refuses a whole file for one sample with a
timestamp, and for a series that is in it twice, so that there are none.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from ..visible_text import told
from .metrics import METRICS
from .sample import Sample

# A host of 64 instances with all their models and 16 GPUs has some 4000; a Prometheus keeps 1 to 3 kB for each.
MOST_SERIES = 10_000
LONGEST_LABEL = 160

_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n"})


def text(samples: Iterable[Sample]) -> str:
    """Return the content of the file: metrics in the order of their table, of a repeated series the first."""
    found: dict[str, dict[str, float]] = {}
    for each in samples:
        if math.isfinite(each.value):
            found.setdefault(each.name, {}).setdefault(_series(each), each.value)
    lines = [line for name in METRICS if name in found for line in _metric(name, found[name])]
    return "".join(f"{line}\n" for line in lines)


def _metric(name: str, series: Mapping[str, float]) -> list[str]:
    metric = METRICS[name]
    head = [f"# HELP {name} {metric.help}.", f"# TYPE {name} {metric.kind}"]
    return [*head, *(f"{labels} {number(value)}" for labels, value in series.items())]


def _series(each: Sample) -> str:
    pairs = [f'{name}="{label(value)}"' for name, value in zip(METRICS[each.name].labels, each.labels)]
    return f"{each.name}{{{','.join(pairs)}}}" if pairs else each.name


def label(value: str) -> str:
    """Return a label's value: one printable line, shortened, and escaped as the format wants it."""
    return told(value, LONGEST_LABEL).translate(_ESCAPES)


def number(value: float) -> str:
    """Return a number without needless digits."""
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else repr(float(value))
