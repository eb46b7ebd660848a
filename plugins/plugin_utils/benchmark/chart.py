# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Charts as shapes: what every picture of the page is drawn with. The template turns shapes into SVG."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from .scale import Scale

# Drawn at the size of the page's text: a wide page shows the first one pixel for pixel, a phone the second.
WIDE = 1120
NARROW = 360
# Pixels for each label of an axis, and for each line of a grid.
TICK_ROOM = 64
LINE_ROOM = 34
# Pixels for the labels of the vertical axis.
LABELS = 52
# Markers differ in shape, so that nobody has to tell colours apart. All are drawn around 0, 0.
MARKERS = {
    "dot": "M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0-9 0z",
    "small": "M-3 0a3 3 0 1 0 6 0a3 3 0 1 0-6 0z",
    "cross": "M-5-5L5 5M-5 5L5-5",
    "diamond": "M0-6L6 0L0 6L-6 0z",
    "square": "M-4.5-4.5h9v9h-9z",
    "star": "M0-8L2.1-2.9L7.6-2.5L3.4 1.1L4.7 6.5L0 3.6L-4.7 6.5L-3.4 1.1L-7.6-2.5L-2.1-2.9z",
}

Anchor = Literal["start", "middle", "end"]
START: Anchor = "start"
END: Anchor = "end"


@dataclass(frozen=True)
class Shape:
    """A path or a text with its class; ``hint`` is shown where the pointer rests."""

    kind: Literal["path", "text"]
    style: str
    d: str = ""
    x: float = 0
    y: float = 0
    text: str = ""
    anchor: Anchor = "start"
    hint: str = ""


@dataclass(frozen=True)
class Key:
    """One entry of a legend: a stroke, a marker, or both."""

    style: str
    label: str
    marker: str = ""
    stroke: bool = True


@dataclass(frozen=True)
class Drawing:
    """A picture with its texts for those who do not see it."""

    width: float
    height: float
    shapes: tuple[Shape, ...]


@dataclass(frozen=True)
class Picture:
    """One picture, drawn for wide pages and for narrow ones."""

    title: str
    summary: str
    wide: Drawing
    narrow: Drawing
    keys: tuple[Key, ...] = ()


Painter = Callable[[float], Drawing]


def picture(title: str, summary: str, paint: Painter, keys: Iterable[Key] = ()) -> Picture:
    """Return a picture of which ``paint`` draws one for each width."""
    return Picture(title, summary, paint(WIDE), paint(NARROW), tuple(keys))


@dataclass
class Canvas:
    """Collects the shapes of one drawing."""

    width: float
    height: float
    shapes: list[Shape] = field(default_factory=list)

    def done(self) -> Drawing:
        """Return the drawing."""
        return Drawing(self.width, self.height, tuple(self.shapes))

    def path(self, style: str, d: str, hint: str = "") -> None:
        """Draw a path."""
        self.shapes.append(Shape("path", style, d=d, hint=hint))

    def line(self, style: str, x1: float, y1: float, x2: float, y2: float, hint: str = "") -> None:
        """Draw a straight line."""
        self.path(style, f"M{x1:g} {y1:g}L{x2:g} {y2:g}", hint)

    def box(self, style: str, left: float, top: float, right: float, bottom: float, hint: str = "") -> None:
        """Draw a rectangle, whichever way round its corners are given."""
        self.path(style, f"M{left:g} {top:g}H{right:g}V{bottom:g}H{left:g}z", hint)

    def curve(self, style: str, points: Sequence[tuple[float, float]], hint: str = "") -> None:
        """Draw a line through places."""
        if points:
            self.path(style, "M" + "L".join(f"{x:g} {y:g}" for x, y in points), hint)

    def marker(self, style: str, marker: str, x: float, y: float, hint: str = "") -> None:
        """Draw a marker around a place."""
        self.shapes.append(Shape("path", f"mark {style}", d=MARKERS[marker], x=x, y=y, hint=hint))

    def text(self, style: str, x: float, y: float, text: str, anchor: Anchor = "start", hint: str = "") -> None:
        """Write a text."""
        self.shapes.append(Shape("text", style, x=round(x, 1), y=round(y, 1), text=text, anchor=anchor, hint=hint))


@dataclass(frozen=True)
class Panel:
    """The area between two axes."""

    canvas: Canvas
    x: Scale
    y: Scale

    def grid(self, x_label: Callable[[float], str] | None, y_label: Callable[[float], str], title: str) -> None:
        """Draw lines and labels; ``title`` stands above the vertical axis."""
        left, right, bottom, top = self.x.start, self.x.end, self.y.start, self.y.end
        for value in self.y.ticks(int((bottom - top) // LINE_ROOM)):
            self.canvas.line("grid", left, self.y.at(value), right, self.y.at(value))
            self.canvas.text("tick", left - 8, self.y.at(value) + 4, y_label(value), "end")
        self.canvas.line("axis", left, bottom, right, bottom)
        self.canvas.text("caption", left - LABELS, top - 10, title)
        if x_label:
            for value in self.x.ticks(int((right - left) // TICK_ROOM)):
                self.canvas.line("axis", self.x.at(value), bottom, self.x.at(value), bottom + 4)
                self.canvas.text("tick", self.x.at(value), bottom + 18, x_label(value), "middle")

    def x_title(self, title: str) -> None:
        """Write what the horizontal axis shows below its right end."""
        self.canvas.text("caption", self.x.end, self.y.start + 36, title, "end")

    def curve(self, style: str, points: Iterable[tuple[float, float]], hint: str = "") -> None:
        """Draw a line through values."""
        self.canvas.curve(style, [(self.x.at(x), self.y.at(y)) for x, y in points], hint)

    def pieces(self, style: str, points: Iterable[tuple[float, float | None]]) -> None:
        """Draw a line through values, interrupted where there is none."""
        piece: list[tuple[float, float]] = []
        for x, y in points:
            if y is None:
                self._piece(style, piece)
                piece = []
            else:
                piece.append((x, y))
        self._piece(style, piece)

    def _piece(self, style: str, piece: list[tuple[float, float]]) -> None:
        # A single value between two gaps would be a line without length.
        if len(piece) == 1:
            self.canvas.marker(f"{style} lone", "small", self.x.at(piece[0][0]), self.y.at(piece[0][1]))
        else:
            self.curve(style, piece)

    def interval(self, style: str, x: float, low: float, high: float, hint: str = "") -> None:
        """Draw an upright bar with ends."""
        here, top, bottom = self.x.at(x), self.y.at(high), self.y.at(low)
        self.canvas.path(style, f"M{here - 4:g} {top:g}h8M{here:g} {top:g}V{bottom:g}M{here - 4:g} {bottom:g}h8", hint)

    def marker(self, style: str, marker: str, x: float, y: float, hint: str = "") -> None:
        """Draw a marker at a value."""
        self.canvas.marker(style, marker, self.x.at(x), self.y.at(y), hint)
