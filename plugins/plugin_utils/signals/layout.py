# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Which signals are shown where, and how: what console pages and Grafana's dashboards have in common."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from .model import Alert, Scope, Signal

# What names the lower edge of a bracket; the upper one says high there. They are shown as one, never alone.
LOW = re.compile(r"(?<![a-z])low(?![a-z])")
# SIGNAL{...} > 0.05, also within a longer expression.
LIMIT = r"\b{name}(\{{[^}}]*\}})?\s*[<>]=?\s*(?:bool\s+)?([0-9.]+(?:e-?[0-9]+)?)(?:\s*\*\s*([0-9.]+))?(?![\w.])"
# What the titles of the two edges end with.
ENDING = re.compile(r",? at (least|most)$")
VERDICT = "tfserving:slo_verdict"
# Only alerts look at these, to tell a fault from a single call.
HELPERS = {"tfserving:availability_calls", "tfserving:slo_calls"}
# Of a signal over seven windows a chart shows this one: long enough to be calm, and that of the first alert.
WINDOW = "1h"
# What a bracket is held against, as the plans have it.
GOALS = {"tfserving:p99_low_seconds": "tfserving:objective:p99_seconds"}


@dataclass(frozen=True)
class Line:
    """A threshold as a line in a chart: where, and the name of the alert beside it."""

    at: float
    name: str


@dataclass(frozen=True)
class Panel:
    """A chart of a signal, or of the two edges between which a figure lies: then ``high`` is the upper one's name.

    ``goal`` is the name of what the plans promise of it.
    """

    signal: Signal
    high: str | None
    title: str
    help: str
    lines: tuple[Line, ...]
    goal: str | None = None

    @property
    def legend(self) -> tuple[str, ...]:
        """Return the labels by which the series are told apart."""
        return tuple(label for label in self.signal.labels if label != "window")

    @property
    def matchers(self) -> tuple[str, ...]:
        """Return what selects the window."""
        return (f'window="{WINDOW}"',) if "window" in self.signal.labels else ()


def panels(signals: Sequence[Signal], alerts: Sequence[Alert], scopes: Iterable[Scope]) -> list[Panel]:
    """Return the charts of all signals of some scopes that a chart can show, in the order of the table."""
    wanted = set(scopes)
    return [panel(each, signals, alerts) for each in signals if each.scope in wanted and is_drawn(each, signals)]


def is_drawn(signal: Signal, signals: Sequence[Signal]) -> bool:
    """Return whether a signal has a chart of its own: buckets are no figure, upper edges stand with lower ones."""
    uppers = {partner(each.name, signals) for each in signals}
    return "le" not in signal.labels and signal.name not in uppers | HELPERS


def partner(name: str, signals: Sequence[Signal]) -> str | None:
    """Return the name of the upper edge of the bracket whose lower one this is."""
    upper = LOW.sub("high", name)
    return upper if upper != name and any(each.name == upper for each in signals) else None


def panel(signal: Signal, signals: Sequence[Signal], alerts: Sequence[Alert]) -> Panel:
    """Return the chart of a signal; that of a bracket is about both of its edges."""
    upper = partner(signal.name, signals)
    if not upper:
        return Panel(signal, None, windowed(signal), signal.help, lines(signal.name, alerts))
    above = next(each for each in signals if each.name == upper)
    said = f"Lies within the band, nobody can say where. Its lower edge: {signal.help} Its upper edge: {above.help}"
    found = {*lines(signal.name, alerts), *lines(upper, alerts)}
    return Panel(
        signal, upper, ENDING.sub("", signal.title), said, tuple(sorted(found, key=by_place)), GOALS.get(signal.name)
    )


def windowed(signal: Signal) -> str:
    """Return the title of a signal's chart."""
    title = ENDING.sub("", signal.title)
    return f"{title}, over {WINDOW}" if "window" in signal.labels else title


def by_place(line: Line) -> tuple[float, str]:
    """Return what lines are sorted by."""
    return line.at, line.name


def lines(name: str, alerts: Sequence[Alert]) -> tuple[Line, ...]:
    """Return the thresholds that the alerts' expressions compare a signal with."""
    sought = re.compile(LIMIT.format(name=re.escape(name)))
    found = {
        Line(float(number) * float(times or 1), alert.name)
        for alert in alerts
        for selected, number, times in sought.findall(alert.expr)
        if "window=" not in selected or f'window="{WINDOW}"' in selected
    }
    return tuple(sorted(found, key=by_place))


# Rate, errors and duration of what is served; utilisation, saturation and errors of what serves it.
RED = ("Rate", "Errors", "Duration", "Batches", "CPUs", "Memory and state")
USE = ("Utilisation", "Saturation", "Errors and state")
_RED_WORDS = (
    ("Errors", r"error|fail|bad|availability_burn"),
    ("Batches", r"batch|queue|padding|saturation"),
    ("Duration", r"latency|seconds|slo|p99|slow"),
    ("CPUs", r"cpu|throttled|wait_ratio"),
    ("Rate", r"requests|calls|in_flight|completed|rate\d"),
)
_USE_WORDS = (
    ("Saturation", r"pressure|steal|wait|queue|overflow|drop|retrans|squeez|backlog|conntrack|swap"),
    ("Utilisation", r"used|busy|utilisation|available|free|share|cpus"),
)


def red(signal: Signal) -> str:
    """Return the row of a signal of what is served."""
    return _row(signal, _RED_WORDS, "Memory and state")


def use(signal: Signal) -> str:
    """Return the row of a signal of a host."""
    return _row(signal, _USE_WORDS, "Errors and state")


def grouped(panels: Iterable[Panel], row: Callable[[Signal], str]) -> list[tuple[str, list[Panel]]]:
    """Return panels by the row that they stand in, in the order of rows."""
    rows: dict[str, list[Panel]] = {name: [] for name in (*RED, *USE)}
    for each in panels:
        rows[row(each.signal)].append(each)
    return [(name, found) for name, found in rows.items() if found]


def _row(signal: Signal, words: Sequence[tuple[str, str]], other: str) -> str:
    return next((row for row, pattern in words if re.search(pattern, signal.name)), other)
