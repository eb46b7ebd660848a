# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Pictures of values with intervals below each other: ratios of two runs, and the trials of tuning."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from .chart import NARROW, Canvas, Drawing, Key, Panel, Picture, picture
from .document import Comparison, Trial, Tune, Turns
from .figures import number, rate, ratio, settings
from .measured import Ratio
from .scale import Scale, fitting
from .wording import trial_outcome

# Pixels of one row, above the first and below the last.
ROW, TOP, BELOW = 34, 30, 44
# Names stand left of the values, above them on a narrow page.
NAMES = 330
RIGHT = 110
# Characters of a name beside its row; the table has all of it.
WIDE_NAME, NARROW_NAME = 52, 44

Emphasis = Literal["chosen", "plain", "reference"]


@dataclass(frozen=True)
class Row:
    """A value with its interval, or words in its place."""

    name: str
    value: float | None
    low: float | None
    high: float | None
    said: str
    emphasis: Emphasis = "plain"


def ratios(comparison: Comparison | Turns, over: str = "after / before") -> Picture | None:
    """Return the ratios of this run to the one before, or None where there are none; ``over`` says of what they are."""
    found = (
        ("p99", comparison["p99_ratio"]),
        ("p50", comparison.get("p50_ratio")),
        ("throughput", comparison["throughput_ratio"]),
    )
    rows = [_ratio_row(name, given) for name, given in found if given]
    if not rows:
        return None
    room = comparison["smallest_detectable"]
    keys = [Key("interval chosen", f"{over} with its 95 % interval", "dot")]
    keys += [Key("noise", "smaller than what this run can tell", "square", stroke=False)] if room else []
    return picture(
        f"Ratios, {over}",
        "; ".join(f"{row.name} {row.said}" for row in rows) + "; 1 is no difference.",
        lambda width: _ratios(rows, room, width, over),
        keys,
    )


def _ratio_row(name: str, given: Ratio) -> Row:
    return Row(name, given["value"], given["low"], given["high"], ratio(given), "chosen")


def _ratios(rows: Sequence[Row], room: float | None, width: float, over: str) -> Drawing:
    canvas = Canvas(width, _height(rows, width))
    edges = [edge for row in rows for edge in (row.low, row.high) if edge is not None]
    edges += [1, 1 + (room or 0.02), 1 - (room or 0.02)]
    x = _scale(min(edges), max(edges), width)
    panel = Panel(canvas, x, Scale(0, 1, canvas.height - BELOW, TOP))
    if room:
        canvas.box("noise", x.at(1 - room), TOP, x.at(1 + room), canvas.height - BELOW)
    _axis(panel, over)
    canvas.line("reference", x.at(1), TOP, x.at(1), canvas.height - BELOW)
    canvas.text("caption", x.at(1), TOP - 10, "no difference", "middle")
    _rows(panel, rows)
    return canvas.done()


def trials(document: Tune) -> Picture | None:
    """Return the throughput within the objective of each trial, or None where none has one."""
    every = [settings(trial["settings"]) for trial in document["trials"]]
    same = {each for each in every[0] if all(each in other for other in every)} if len(every) > 1 else set()
    rows = [_trial_row(document, trial, same) for trial in document["trials"]]
    if not any(row.value for row in rows):
        return None
    return picture(
        "Throughput within the objective",
        f"{len(rows)} trials; the table of trials has the figures.",
        lambda width: _trials(rows, width),
        [
            Key("interval chosen", "chosen", "star"),
            Key("interval plain", "measured, with its interval", "dot"),
            Key("interval reference", "planned or default settings", "diamond"),
        ],
    )


def _trial_row(document: Tune, trial: Trial, same: Collection[str]) -> Row:
    is_chosen = document["choice"] is not None and document["choice"]["trial"] == trial["number"]
    emphasis: Emphasis = "plain" if trial["origin"] in ("physics", "search") else "reference"
    said = f"{rate(trial['rate'])}/s" if trial["rate"] is not None else trial_outcome(trial)
    different = [each for each in settings(trial["settings"]) if each not in same]
    name = f"{trial['number']} {trial['origin']}: {', '.join(different) or 'the same settings'}"
    return Row(name, trial["rate"], trial["low"], trial["high"], said, "chosen" if is_chosen else emphasis)


def _trials(rows: Sequence[Row], width: float) -> Drawing:
    canvas = Canvas(width, _height(rows, width))
    edges = [edge for row in rows for edge in (row.value, row.high) if edge is not None]
    panel = Panel(canvas, _scale(0, max(edges), width), Scale(0, 1, canvas.height - BELOW, TOP))
    _axis(panel, "requests/s within the objective")
    _rows(panel, rows)
    return canvas.done()


def _height(rows: Sequence[Row], width: float) -> float:
    return TOP + BELOW + _row_height(width) * len(rows)


def _row_height(width: float) -> int:
    return ROW + 12 if width == NARROW else ROW


def _scale(low: float, high: float, width: float) -> Scale:
    left, right = (12.0, width - 24) if width == NARROW else (float(NAMES), width - RIGHT)
    return fitting([low, high], left, right, zero=low == 0)


def _axis(panel: Panel, title: str) -> None:
    bottom = panel.y.start
    for value in panel.x.ticks(int((panel.x.end - panel.x.start) // 80)):
        panel.canvas.line("grid", panel.x.at(value), panel.y.end, panel.x.at(value), bottom)
        panel.canvas.text("tick", panel.x.at(value), bottom + 18, number(value), "middle")
    panel.canvas.line("axis", panel.x.start, bottom, panel.x.end, bottom)
    panel.x_title(title)


def _rows(panel: Panel, rows: Sequence[Row]) -> None:
    is_narrow = panel.canvas.width == NARROW
    height = _row_height(panel.canvas.width)
    for place, row in enumerate(rows):
        y = TOP + height * place + (30 if is_narrow else height / 2)
        limit = NARROW_NAME if is_narrow else WIDE_NAME
        name = row.name if len(row.name) <= limit else row.name[: limit - 1] + "…"
        panel.canvas.text(f"row-name {row.emphasis}", 0, y - 14 if is_narrow else y + 4, name, hint=row.name)
        _row(panel, row, y)


def _row(panel: Panel, row: Row, y: float) -> None:
    x = panel.x
    if row.value is None:
        panel.canvas.marker("none", "cross", x.start + 6, y, row.said)
        panel.canvas.text("row-said", x.start + 18, y + 4, row.said)
        return
    hint = f"{row.name}: {row.said}"
    end = x.at(row.value)
    if row.low is not None and row.high is not None:
        low, end = x.at(row.low), x.at(row.high)
        panel.canvas.path(
            f"interval {row.emphasis}", f"M{low:g} {y - 5:g}v10M{low:g} {y:g}H{end:g}M{end:g} {y - 5:g}v10", hint
        )
    marker = {"chosen": "star", "plain": "dot", "reference": "diamond"}[row.emphasis]
    panel.canvas.marker(f"interval {row.emphasis}", marker, x.at(row.value), y, hint)
    is_far = panel.canvas.width == NARROW and end > x.end - 90
    place = (min(x.at(row.low or row.value), x.at(row.value)) - 12) if is_far else end + 12
    panel.canvas.text(f"row-said {row.emphasis}", place, y + 4, row.said, "end" if is_far else "start")
