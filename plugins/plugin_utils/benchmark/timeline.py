# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The picture of a run over time: latency, throughput and requests in flight, second by second, with what happened."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ansible_collections.tfserving.fleet.plugins.module_utils.load.histogram import Histogram

from ..measure.statistics import needed, supported
from .chart import LABELS, NARROW, Canvas, Drawing, Key, Panel, Picture, picture
from .document import Document, Event
from .figures import axis_ms, ms, number, rate, seconds
from .measured import Stage
from .scale import Scale, fitting

LEFT, RIGHT = LABELS, 16
# Pixels of the three panels, and above each for its caption.
PANELS = (150, 120, 70)
CAPTION = 34
# Above all of them: letters of events, names of stages.
HEAD = 22
FOOT = 40
# More moments than pixels draw nothing more; several seconds then become one.
MOST = 900
LETTERS = {"reload": "R", "restart": "S", "throttled": "T", "error burst": "E"}


@dataclass(frozen=True)
class Moment:
    """One second or a few: seconds since the first stage began, latencies in us, rates a second."""

    t: float
    length: float
    p50: float | None
    p99: float | None
    top: float | None
    offered: float
    ok: float
    errors: float
    in_flight: float


@dataclass(frozen=True)
class Span:
    """A stage on the axis of time."""

    stage: Stage
    start: float
    warm: float
    end: float
    moments: tuple[Moment, ...]


def timeline(document: Document) -> Picture | None:
    """Return the run over time, or None where no second was recorded."""
    spans = list(_spans(document))
    if not any(span.moments for span in spans):
        return None
    end = max(span.end for span in spans)
    keys = [
        Key("max", "slowest of a second"),
        Key("p99", f"p99, from {needed(0.99)} requests in a second"),
        Key("p50", "p50"),
        Key("offered", "offered"),
        Key("ok", "answered"),
        Key("flight", "in flight"),
    ]
    keys += [Key("errors", "errors", stroke=False, marker="square")] if _has_errors(spans) else []
    keys += [Key("warm", "warm-up, not counted", stroke=False, marker="square")]
    kinds = sorted({event["kind"] for event in document["events"]})
    keys += [Key(f"event {kind.replace(' ', '-')}", f"{LETTERS[kind]}: {kind}") for kind in kinds]
    return picture(
        "Timeline",
        f"{seconds(end)} in {len(spans)} stages, {len(document['events'])} events; the tables of events and stages "
        "have the figures.",
        lambda width: _timeline(document, spans, end, width),
        keys,
    )


def origin(document: Document) -> float:
    """Return when the first stage began, in Unix seconds."""
    return min((stage["result"]["began"] for stage in document["stages"] if stage["result"]), default=0.0)


def clock(at: float) -> str:
    """Return the time of day in UTC of Unix seconds."""
    try:
        return datetime.datetime.fromtimestamp(at, datetime.timezone.utc).strftime("%H:%M:%S")
    except (OverflowError, ValueError, OSError):
        return number(at)


def _spans(document: Document) -> Iterator[Span]:
    zero = origin(document)
    recorded = sum(len(stage["result"]["seconds"]) for stage in document["stages"] if stage["result"])
    together = max(-(-recorded // MOST), 1)
    for stage in document["stages"]:
        result = stage["result"]
        if result:
            start = result["began"] - zero
            warm = start + result["warmup_s"]
            moments = tuple(_moments(stage, start, together))
            yield Span(stage, start, warm, warm + result["duration_s"], moments)


def _moments(stage: Stage, start: float, together: int) -> Iterator[Moment]:
    every = stage["result"]["seconds"] if stage["result"] else []
    for place in range(0, len(every), together):
        some = every[place:][:together]
        kept = [Histogram.from_json(second["histogram"]) for second in some if second.get("histogram")]
        whole = Histogram()
        for each in kept:
            whole.add(each)
        yield Moment(
            start + some[0]["t"],
            len(some),
            whole.quantile(0.5) if supported(0.5, whole.total) else None,
            whole.quantile(0.99) if supported(0.99, whole.total) else None,
            whole.max if whole.total else None,
            sum(second["offered"] for second in some) / len(some),
            sum(second["ok"] for second in some) / len(some),
            sum(second["errors"] for second in some) / len(some),
            max(second["open"] for second in some),
        )


def _has_errors(spans: Sequence[Span]) -> bool:
    return any(moment.errors for span in spans for moment in span.moments)


def _timeline(document: Document, spans: Sequence[Span], end: float, width: float) -> Drawing:
    height = HEAD + sum(PANELS) + CAPTION * len(PANELS) + FOOT
    canvas = Canvas(width, height)
    x = Scale(0, max(end, 1), LEFT, width - RIGHT)
    tops = [HEAD + CAPTION * (place + 1) + sum(PANELS[:place]) for place in range(len(PANELS))]
    bottom = tops[-1] + PANELS[-1]
    for span in spans:
        _stage(canvas, x, span, tops[0], bottom)
    moments = [moment for span in spans for moment in span.moments]
    slow = [
        max(value, 1.0) for moment in moments for value in (moment.p50, moment.p99, moment.top) if value is not None
    ]
    busy = [max(moment.offered, moment.ok, moment.errors) for moment in moments]
    _latency(Panel(canvas, x, fitting(slow or [1.0, 1000.0], tops[0] + PANELS[0], tops[0])), spans, bool(slow))
    _rates(Panel(canvas, x, fitting(busy, tops[1] + PANELS[1], tops[1], zero=True)), spans)
    # Logarithmic, since an overloaded stage has a hundred times more in flight than any other: none counts as one.
    flying = fitting([max(moment.in_flight, 1.0) for moment in moments], tops[2] + PANELS[2], tops[2])
    _in_flight(Panel(canvas, x, flying), spans, 3 if width == NARROW else 6)
    for event in document["events"]:
        _event(canvas, x, event, event["at"] - origin(document), tops[0], bottom)
    return canvas.done()


def _stage(canvas: Canvas, x: Scale, span: Span, top: float, bottom: float) -> None:
    hint = f"{span.stage['name']}: {rate(span.stage['rate'])} requests/s, {span.stage['verdict']}"
    canvas.box(f"stage {span.stage['verdict']}", x.at(span.start), top, x.at(span.end), bottom, hint)
    canvas.box("warm", x.at(span.start), top, x.at(span.warm), bottom, f"{span.stage['name']}: warm-up")


def _latency(panel: Panel, spans: Sequence[Span], any_kept: bool) -> None:
    panel.grid(None, axis_ms, "latency in ms, by second")
    if not any_kept:
        panel.canvas.text("caption", panel.x.start + 8, panel.y.end + 20, "not kept for stages that failed")
    for span in spans:
        panel.pieces("max", [(moment.t, moment.top) for moment in span.moments])
        panel.pieces("p50", [(moment.t, moment.p50) for moment in span.moments])
        panel.pieces("p99", [(moment.t, moment.p99) for moment in span.moments])


def _rates(panel: Panel, spans: Sequence[Span]) -> None:
    panel.grid(None, number, "requests/s")
    for span in spans:
        for moment in span.moments:
            if moment.errors:
                hint = f"{moment.errors:.0f} errors/s at {moment.t:.0f} s"
                left, right = panel.x.at(moment.t), panel.x.at(moment.t + moment.length)
                panel.canvas.box("errors", left, panel.y.at(moment.errors), max(right, left + 2), panel.y.start, hint)
        panel.pieces("offered", [(moment.t, moment.offered) for moment in span.moments])
        panel.pieces("ok", [(moment.t, moment.ok) for moment in span.moments])


def _in_flight(panel: Panel, spans: Sequence[Span], most: int) -> None:
    panel.grid(None, number, "requests in flight")
    for span in spans:
        panel.pieces("flight", [(moment.t, moment.in_flight) for moment in span.moments])
    for value in panel.x.ticks(most):
        panel.canvas.text("tick", panel.x.at(value), panel.y.start + 18, seconds_or_minutes(value), "middle")
    panel.x_title("since the first request")


def seconds_or_minutes(value: float) -> str:
    """Return a moment as a label: ``90 s``, ``10:00 min``."""
    return f"{value:.0f} s" if value < 600 else f"{value // 60:.0f}:{value % 60:02.0f}"


def _event(canvas: Canvas, x: Scale, event: Event, t: float, top: float, bottom: float) -> None:
    style = f"event {event['kind'].replace(' ', '-')}"
    hint = f"{clock(event['at'])} {event['kind']}: {event['text']}"
    canvas.line(style, x.at(t), top, x.at(t), bottom, hint)
    canvas.text(f"{style} letter", x.at(t), top - 22, LETTERS[event["kind"]], "middle", hint)


def described(document: Document) -> list[tuple[str, str, str, str]]:
    """Return the events as rows: time of day, since when, kind, text."""
    zero = origin(document)
    return [
        (clock(event["at"]), seconds_or_minutes(event["at"] - zero), event["kind"], event["text"])
        for event in sorted(document["events"], key=lambda event: event["at"])
    ]


def slowest(document: Document) -> str:
    """Return when the slowest request was sent, as a sentence."""
    found = [(moment.top, moment.t) for span in _spans(document) for moment in span.moments if moment.top is not None]
    if not found:
        return ""
    top, t = max(found)
    return f"The slowest request took {ms(top)} and was due {seconds_or_minutes(t)} after the first one."
