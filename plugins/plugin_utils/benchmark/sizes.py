# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Pictures over sizes: a request cut into shards, and the time of a call over the items in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .chart import LABELS, NARROW, Canvas, Drawing, Key, Panel, Picture, picture
from .document import ServiceTime, ShardRow
from .figures import axis_ms, ms, number, percent
from .scale import Scale, fitting

LEFT, RIGHT, TOP, BELOW = LABELS, 16, 34, 44
HEIGHT = 280
# Space between two panels beside each other.
BETWEEN = 64
# Half of the width of a bar.
HALF_BAR = 13


def shards(rows: Sequence[ShardRow]) -> Picture | None:
    """Return latency and capacity over the number of shards, or None where no latency is known."""
    if not any(row["p50_us"] is not None for row in rows):
        return None
    keys = [
        Key("p99", "p99", "dot"),
        Key("p50", "p50", "small"),
        Key("bar", "capacity", "square", stroke=False),
    ]
    return picture(
        "Latency won and capacity lost",
        f"One request of {rows[0]['shards'] * rows[0]['items']} items, whole and cut into up to "
        f"{max(row['shards'] for row in rows)} shards; the table of shards has the figures.",
        lambda width: _shards(rows, width),
        keys,
    )


def _shards(rows: Sequence[ShardRow], width: float) -> Drawing:
    is_narrow = width == NARROW
    canvas = Canvas(width, HEIGHT * (2 if is_narrow else 1))
    half = width if is_narrow else (width - BETWEEN) / 2
    _shard_latency(canvas, rows, LEFT, half - RIGHT, TOP)
    left = LEFT if is_narrow else half + BETWEEN + LEFT
    _shard_capacity(canvas, rows, left, width - RIGHT, HEIGHT + TOP if is_narrow else TOP)
    return canvas.done()


def _places(rows: Sequence[ShardRow], left: float, right: float) -> Scale:
    return Scale(-0.5, len(rows) - 0.5, left, right)


def _shard_latency(canvas: Canvas, rows: Sequence[ShardRow], left: float, right: float, top: float) -> None:
    values = [value for row in rows for value in (row["p50_us"], row["p99_us"]) if value is not None]
    panel = Panel(canvas, _places(rows, left, right), fitting(values, top + HEIGHT - TOP - BELOW, top, zero=True))
    _axes(panel, rows, axis_ms, "latency of the whole answer in ms")
    for name in ("p50", "p99"):
        points = [(float(place), row["p99_us"] if name == "p99" else row["p50_us"]) for place, row in enumerate(rows)]
        panel.pieces(name, points)
        for place, value in points:
            if value is not None:
                hint = f"{_cut(rows[int(place)])}: {name} {ms(value)}"
                panel.marker(name, "dot" if name == "p99" else "small", place, value, hint)


def _shard_capacity(canvas: Canvas, rows: Sequence[ShardRow], left: float, right: float, top: float) -> None:
    is_counted = all(row["capacity_items_per_s"] is not None for row in rows)
    bars = [row["capacity_items_per_s"] if is_counted else _kept(row) for row in rows]
    scale = fitting([bar or 0 for bar in bars], top + HEIGHT - TOP - BELOW, top, zero=True)
    panel = Panel(canvas, _places(rows, left, right), scale)
    _axes(panel, rows, number, "capacity in items/s" if is_counted else "capacity in % of that of whole requests")
    for place, (row, bar) in enumerate(zip(rows, bars)):
        x = panel.x.at(place)
        if bar is None:
            canvas.text("row-said", x, panel.y.start - 8, "not known", "middle")
            continue
        hint = f"{_cut(row)}: {number(bar)} {'items/s' if is_counted else '%'}, {percent(row['capacity_lost'])} lost"
        canvas.box("bar", x - HALF_BAR, panel.y.at(bar), x + HALF_BAR, panel.y.start, hint)
        canvas.text("row-said", x, panel.y.at(bar) - 6, _loss(row["capacity_lost"]), "middle")


def _kept(row: ShardRow) -> float | None:
    lost = row["capacity_lost"]
    return None if lost is None else round(100 * (1 - lost), 1)


def _loss(lost: float | None) -> str:
    return "" if lost is None or lost == 0 else f"-{percent(lost)}" if lost > 0 else f"+{percent(-lost)}"


def _cut(row: ShardRow) -> str:
    return f"{row['shards']} x {row['items']}"


def _axes(panel: Panel, rows: Sequence[ShardRow], label: Callable[[float], str], title: str) -> None:
    panel.grid(None, label, title)
    for place, row in enumerate(rows):
        panel.canvas.text("tick", panel.x.at(place), panel.y.start + 18, _cut(row), "middle")
    panel.x_title("shards x items")


def service_time(given: ServiceTime) -> Picture | None:
    """Return the time of a call over its items with the line fitted to it, or None without points."""
    if not given["points"]:
        return None
    keys = [Key("p99", "measured", "dot", stroke=False)]
    keys += [Key("fit", _formula(given))] if given["a_us"] is not None else []
    return picture("Time of a call over its items", given["sentence"], lambda width: _service_time(given, width), keys)


def _formula(given: ServiceTime) -> str:
    fit = f"S(b) = {number(given['a_us'] or 0)} + {number(given['c_us'] or 0)}·b us"
    return fit if given["r2"] is None else f"{fit}, R² {given['r2']:.3f}"


def _service_time(given: ServiceTime, width: float) -> Drawing:
    canvas = Canvas(width, HEIGHT)
    items = [point["items"] for point in given["points"]]
    x = fitting([0, max(items)], LEFT, width - RIGHT, zero=True)
    line = _line(given, x)
    y = fitting(
        [point["us"] for point in given["points"]] + [us for _items, us in line], HEIGHT - BELOW, TOP, zero=True
    )
    panel = Panel(canvas, x, y)
    panel.grid(number, axis_ms, "time of a call in ms")
    panel.x_title("items in a call")
    panel.curve("fit", line, _formula(given))
    for point in given["points"]:
        panel.marker("p99", "dot", point["items"], point["us"], f"{number(point['items'])} items: {ms(point['us'])}")
    return canvas.done()


def _line(given: ServiceTime, x: Scale) -> list[tuple[float, float]]:
    a, c = given["a_us"], given["c_us"]
    return [] if a is None or c is None else [(at, max(a + c * at, 0)) for at in (x.low, x.high)]
