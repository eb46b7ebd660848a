# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""From samples to printed figures: medians, ratios with their spread, verdicts and a plain table."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median

BUSY = 0.5  # processes for each CPU that want to run: beyond it, what is measured waits behind others

__all__ = ["compared", "machine", "median", "paired", "quantile", "seconds", "table", "takes", "verdict"]


def quantile(samples: Sequence[float], share: float) -> float:
    """The sample that `share` (0 to 1) of all samples do not exceed; no interpolation, so it is one that was seen."""
    ordered = sorted(samples)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def paired(upper: Sequence[float], lower: Sequence[float]) -> list[float]:
    """The ratio of each round. Both sides of a round ran next to each other, so a machine that is slow for a while
    slows both: the median of these ratios is steadier than the ratio of the medians."""
    return [above / below for above, below in zip(upper, lower)]


def compared(ratios: Sequence[float]) -> str:
    """Ratios in words: median, then the smallest and the greatest of the rounds."""
    return f"{median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"


def seconds(samples: Sequence[float]) -> str:
    """Wall seconds in words: median, then the shortest and the longest."""
    return f"{median(samples):.2f} ({min(samples):.2f}-{max(samples):.2f})"


def verdict(value: float, *, at_most: float | None = None, at_least: float | None = None) -> str:
    """The target and whether a figure meets it. A missed one is printed like any other: timing fails no build."""
    if at_most is not None:
        return f"at most {at_most:g}: {'met' if value <= at_most else 'missed'}"
    return f"at least {at_least:g}: {'met' if value >= at_least else 'missed'}"


def table(title: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A plain table: the first column to the left, the others to the right."""
    lines = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines)]
    drawn = ["  ".join(_cells(line, widths)).rstrip() for line in lines]
    return "\n".join(["", title, drawn[0], "  ".join("-" * width for width in widths), *drawn[1:]])


def machine() -> str:
    """The machine in a line, with its load: a figure without it says little."""
    names = [line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    memory = next((int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0)
    load, cpus = os.getloadavg()[0], len(os.sched_getaffinity(0))
    busy = " (BUSY with other work: trust no figure whose spread is wide)" if load > BUSY * cpus else ""
    return (
        f"machine: {cpus} CPUs ({names[0] if names else platform.machine()}), {memory / 2**20:.0f} GiB, "
        f"Python {platform.python_version()}; load average before the run: {load:.1f}{busy}"
    )


def takes(how_long: str) -> str:
    """What a program says of its own length at the start, so that nobody waits for it unawares."""
    return f"takes about {how_long} on a quiet machine, from {time.strftime('%H:%M')} on"


def _cells(line: list[str], widths: list[int]) -> list[str]:
    return [line[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(line[1:], widths[1:]))]


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
