# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Pictures of latency: over the offered load, and as a distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from ansible_collections.tfserving.fleet.plugins.module_utils.load.histogram import Histogram

from ..measure.statistics import CLAIM, rank_of
from . import in_turns
from .chart import END, LABELS, START, WIDE, Canvas, Drawing, Key, Panel, Picture, picture
from .document import Document
from .figures import axis_ms, estimate, ms, number, rate, withheld
from .measured import Estimate, Stage
from .scale import Scale, fitting

# Pixels around the area between the axes: labels of latencies on the left, of rates below.
LEFT, RIGHT, TOP, BELOW = LABELS, 16, 34, 44
HEIGHT = 340
# Pixels for the words beside the line of the knee.
KNEE_ROOM = 110
MARKS = {"pass": "dot", "fail": "cross", "invalid": "diamond"}
# Places on the curve of a distribution: enough that no step shows.
STEPS = 160
# The first percentile drawn is the median; below it nobody looks.
FIRST_TAIL = math.log10(2)
TAILS = {0.5: "50 %", 0.9: "90 %", 0.99: "99 %", 0.999: "99.9 %", 0.9999: "99.99 %", 0.99999: "99.999 %"}
# A distribution compares at most this many stages.
MOST_CURVES = 3


def load(document: Document, before: Document | None = None) -> Picture | None:
    """Return latency over the offered load, or None where fewer than two rates were measured.

    The p99 of ``before`` lies below.
    """
    stages = _by_rate(document)
    earlier = _middle(_by_rate(before), "p99") if before else []
    earlier = earlier if len(earlier) > 1 else []
    if len({stage["rate"] for stage in stages}) < 2 or not any(stage["percentiles"]["p50"] for stage in stages):
        return None
    keys = [Key("p99", "p99 with its 95 % interval", "dot"), Key("p50", "p50", "small")]
    verdicts = {stage["verdict"] for stage in stages}
    keys += [Key("fail", "p99 of a failed stage", "cross", stroke=False)] if "fail" in verdicts else []
    keys += [Key("invalid", "p99 of an invalid stage", "diamond", stroke=False)] if "invalid" in verdicts else []
    if any(stage["percentiles"]["p99"] is None for stage in stages):
        keys.append(Key("withheld", "p99 withheld", "square", stroke=False))
    return picture(
        "Latency over the offered load",
        f"p50 and p99 of {len(stages)} stages from {rate(stages[0]['rate'])} to {rate(stages[-1]['rate'])} requests/s; "
        "the table of stages has the figures.",
        lambda width: _load(document, stages, earlier, width),
        [*keys, *([Key("earlier", "p99 before")] if earlier else [])],
    )


def _by_rate(document: Document) -> list[Stage]:
    return sorted((stage for stage in document["stages"] if stage["rate"] > 0), key=lambda stage: stage["rate"])


def _load(document: Document, stages: Sequence[Stage], earlier: Sequence[tuple[float, float]], width: float) -> Drawing:
    canvas = Canvas(width, HEIGHT)
    objective = document["slo_p99_ms"]
    values = [value for stage in stages for value in _latencies(stage)]
    values += [objective * 1000] if objective else []
    values += [max(us, 1) for _rate, us in earlier]
    panel = Panel(
        canvas,
        fitting([*(stage["rate"] for stage in stages), *(offered for offered, _us in earlier)], LEFT, width - RIGHT),
        fitting(values, HEIGHT - BELOW, TOP),
    )
    _knee_band(panel, document)
    panel.grid(number, axis_ms, "latency in ms")
    panel.x_title("offered requests/s")
    if objective:
        _objective(panel, objective)
    _knee_line(panel, document)
    panel.curve("earlier", earlier, "p99 before")
    panel.curve("p50", _middle(stages, "p50"))
    panel.curve("p99", _middle(stages, "p99"))
    for stage in stages:
        _stage(panel, stage)
    return canvas.done()


def _latencies(stage: Stage) -> list[float]:
    found = [stage["percentiles"]["p50"], stage["percentiles"]["p99"]]
    return [max(value, 1) for each in found if each for value in (each["us"], each["low"], each["high"] or each["us"])]


def _middle(stages: Sequence[Stage], name: str) -> list[tuple[float, float]]:
    """Return one place for each rate: the median of its stages."""
    found = []
    for offered, group in groupby(stages, key=lambda stage: stage["rate"]):
        values = sorted(each["us"] for each in (_percentile(stage, name) for stage in group) if each)
        if values:
            found.append((offered, values[len(values) // 2]))
    return found


def _percentile(stage: Stage, name: str) -> Estimate | None:
    return stage["percentiles"]["p99" if name == "p99" else "p50"]


def _stage(panel: Panel, stage: Stage) -> None:
    p50, p99 = stage["percentiles"]["p50"], stage["percentiles"]["p99"]
    what = f"{stage['name']}, {rate(stage['rate'])} requests/s"
    if p50:
        panel.marker("p50", "small", stage["rate"], p50["us"], f"{what}: p50 {estimate(p50)}")
    if p99:
        hint = f"{what}: p99 {estimate(p99)}, {stage['verdict']}: {stage['why']}"
        panel.interval(f"whisker {stage['verdict']}", stage["rate"], p99["low"], p99["high"] or panel.y.high, hint)
        panel.marker(f"p99 {stage['verdict']}", MARKS[stage["verdict"]], stage["rate"], p99["us"], hint)
    elif p50:
        # Above the median: the value is withheld, not its place in the order of stages.
        why = "; ".join(withheld(stage["percentiles"]))
        x, y = panel.x.at(stage["rate"]), panel.y.at(p50["us"])
        panel.canvas.marker("withheld", "square", x, y - 16, f"{what}: {why}")


def _objective(panel: Panel, objective: float) -> None:
    y = panel.y.at(objective * 1000)
    panel.canvas.box("beyond", panel.x.start, panel.y.end, panel.x.end, y)
    panel.canvas.line("objective", panel.x.start, y, panel.x.end, y)
    panel.canvas.text("objective-name", panel.x.start + 8, y - 7, f"objective: p99 ≤ {number(objective)} ms")


def _knee_band(panel: Panel, document: Document) -> None:
    knee = document["knee"]
    if knee:
        low, high = panel.x.at(knee["low"]), panel.x.at(knee["high"] or knee["rate"])
        panel.canvas.box("knee-band", min(low, high), panel.y.end, max(low, high, low + 2), panel.y.start)


def _knee_line(panel: Panel, document: Document) -> None:
    knee = document["knee"]
    if knee:
        x = panel.x.at(knee["rate"])
        panel.canvas.line("knee", x, panel.y.end, x, panel.y.start)
        # Left of the knee latencies are low: the upper corner is free.
        place, anchor = (x - 7, END) if x > panel.x.start + KNEE_ROOM else (x + 7, START)
        panel.canvas.text("knee-name", place, panel.y.end + 16, f"knee {rate(knee['rate'])}/s", anchor)


@dataclass(frozen=True)
class Curve:
    """One distribution with its name and class."""

    name: str
    style: str
    histogram: Histogram
    # Requests without an answer count as slower than all others.
    missing: int

    @property
    def requests(self) -> int:
        """The number of requests, answered or not."""
        return self.histogram.total + self.missing

    @property
    def end(self) -> float:
        """The place of the last percentile that the requests support and that has a latency, as a number of nines."""
        claimed = -math.log10(-math.expm1(math.log(1 - CLAIM) / max(self.requests, 1)))
        return min(claimed, -math.log10(self.missing / self.requests)) if self.missing else claimed

    def at(self, nines: float) -> int:
        """Return the latency in us at a number of nines: 2 is p99."""
        return self.histogram.at_rank(min(rank_of(1 - 10**-nines, self.requests), self.histogram.total))


def distribution(document: Document, before: Document | None = None) -> Picture | None:
    """Return the distributions of the most telling stages, or of this run and the one before."""
    curves = [curve for curve in drawn(document, before) if curve.end > FIRST_TAIL]
    if not curves:
        return None
    halves = "; ".join(f"{curve.name}: half below {ms(curve.at(FIRST_TAIL))}" for curve in curves)
    return picture(
        "Distribution of latency",
        f"Each curve ends at the last percentile that its number of requests supports. {halves}.",
        lambda width: _distribution(document, curves, width),
        [Key(curve.style, curve.name) for curve in curves],
    )


def drawn(document: Document, before: Document | None = None) -> list[Curve]:
    """Return the distributions that are drawn: of two sides or two runs where there are any, else of stages."""
    if document.get("other"):
        return _of_sides(document)
    return compared(document, before) if before else told(document)


def _of_sides(document: Document) -> list[Curve]:
    """Return the distribution of each of two instances in turns, all of its valid blocks together."""
    sides = {side: in_turns.valid_of(document, side) for side in in_turns.SIDES}
    names = dict(zip(in_turns.SIDES, in_turns.of_sides(document)))
    return [
        Curve(f"{side}: {names[side]}", style, in_turns.latencies(stages), sum(map(missing, stages)))
        for (side, stages), style in zip(sides.items(), ("curve-0", "curve-1"))
        if stages
    ]


def compared(document: Document, before: Document) -> list[Curve]:
    """Return the distribution before and the one after, at the rates nearest to each other."""
    # Of rates that passed, if there are any: how badly both failed is of no interest.
    pairs = [
        (sum(each["verdict"] != "pass" for each in (now, then)), _apart(now, then), -now["rate"], place, now, then)
        for place, now in enumerate(_answered(document))
        for then in _answered(before)
    ]
    if not pairs:
        return []
    *_order, now, then = min(pairs, key=lambda pair: pair[:4])
    return [
        Curve(f"before, {rate(then['rate'])} requests/s", "curve-1", histogram(then), missing(then)),
        Curve(f"after, {rate(now['rate'])} requests/s", "curve-0", histogram(now), missing(now)),
    ]


def _apart(now: Stage, then: Stage) -> float:
    return abs(math.log(now["rate"] / then["rate"]))


def told(document: Document) -> list[Curve]:
    """Return the distributions that say most: the highest rate that passed, the next failure, and a low rate."""
    stages = sorted(_answered(document), key=lambda stage: stage["rate"])
    passed = [stage for stage in stages if stage["verdict"] == "pass"]
    best = (passed or stages)[-1:]
    over = [stage for stage in stages if best and stage["verdict"] == "fail" and stage["rate"] > best[0]["rate"]][:1]
    low = [stage for stage in stages if best and stage["rate"] <= best[0]["rate"] / 2][-1:]
    chosen = stages[:MOST_CURVES] if document["kind"] == "shards" else [*low, *best, *over]
    names = {id(stage): f"{rate(stage['rate'])} requests/s ({stage['verdict']})" for stage in chosen}
    if document["kind"] == "shards":
        names = {id(stage): stage["name"] for stage in chosen}
    order = {id(stage): style for stage, style in zip([*best, *low, *over], ("curve-0", "curve-2", "curve-1"))}
    return [
        Curve(names[id(stage)], order.get(id(stage), f"curve-{place % MOST_CURVES}"), histogram(stage), missing(stage))
        for place, stage in enumerate(chosen)
    ]


def _answered(document: Document) -> list[Stage]:
    return [stage for stage in document["stages"] if stage["rate"] > 0 and histogram(stage).total]


def histogram(stage: Stage) -> Histogram:
    """Return the latencies of a stage."""
    return Histogram.from_json(stage["result"]["histogram"]) if stage["result"] else Histogram()


def missing(stage: Stage) -> int:
    """Return how many requests of a stage have no latency."""
    return sum(stage["result"]["errors"].values()) if stage["result"] else 0


def _distribution(document: Document, curves: Sequence[Curve], width: float) -> Drawing:
    canvas = Canvas(width, HEIGHT)
    points = {curve.style: _points(curve) for curve in curves}
    values = [max(value, 1) for each in points.values() for _place, value in each]
    objective = document["slo_p99_ms"]
    y = fitting([*values, *([objective * 1000] if objective else [])], HEIGHT - BELOW, TOP)
    x = Scale(FIRST_TAIL, max(max(curve.end for curve in curves), 1.1), LEFT, width - RIGHT)
    panel = Panel(canvas, x, y)
    panel.grid(None, axis_ms, "latency in ms")
    for share, label in TAILS.items():
        nines = -math.log10(1 - share)
        if nines <= x.high + 1e-9:
            canvas.line("grid", x.at(nines), y.end, x.at(nines), y.start)
            canvas.text("tick", x.at(nines), y.start + 18, label, "start" if share == 0.5 else "middle")
    panel.x_title("share of requests that were answered within")
    if objective:
        canvas.line("objective", x.start, y.at(objective * 1000), x.end, y.at(objective * 1000))
        canvas.text("objective-name", x.start + 8, y.at(objective * 1000) - 7, f"objective {number(objective)} ms")
    for curve in curves:
        panel.curve(curve.style, points[curve.style], curve.name)
        last = points[curve.style][-1]
        panel.marker(curve.style, "small", *last, f"{curve.name}: the last percentile that is supported")
        if width == WIDE:
            _tail(panel, curve)
    return canvas.done()


def _tail(panel: Panel, curve: Curve) -> None:
    if curve.end >= 2:
        us = curve.at(2)
        panel.marker(curve.style, "dot", 2, us, f"{curve.name}: p99 {ms(us)}")


def _points(curve: Curve) -> list[tuple[float, float]]:
    places = [FIRST_TAIL + (curve.end - FIRST_TAIL) * step / STEPS for step in range(STEPS + 1)]
    return [(place, curve.at(place)) for place in places]
