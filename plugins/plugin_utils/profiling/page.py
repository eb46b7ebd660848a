# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The memory of a server and of its GPUs before, during and after a trace, as one self-contained page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.visible_text import visible

from ..benchmark.chart import LABELS, MARKERS, Canvas, Drawing, Key, Panel, Picture, picture
from ..benchmark.figures import number
from ..benchmark.scale import Scale, fitting
from ..report.page import TEMPLATES, renderer
from .capture import SUFFIX

Sample = Mapping[str, Any]
Line = tuple[str, str, list[tuple[float, float]]]  # style, label, points of (seconds, MiB)

HEIGHT, HEAD, FOOT, RIGHT = 220, 34, 44, 16
# The figures of a sample's ``memory``, with the style of their lines.
PARTS = {
    "resident_mb": ("curve-0", "resident (RSS)"),
    "anonymous_mb": ("curve-1", "anonymous: tensors and what the allocator keeps"),
    "lazy_mb": ("curve-2", "given back, not taken yet (LazyFree)"),
    "huge_mb": ("ok", "in huge pages"),
}
STYLES = ("curve-0", "curve-1", "curve-2", "ok")
# Beyond this a figure is none: MiB of a machine, seconds since 1970.
MOST = 1e12
UNKNOWN = "not told by the host"


def kept(samples: Sequence[Sample], captured: Mapping[str, Any], instance: str, host: str) -> str:
    """Write the page beside a trace; return its path.

    :param captured: what ``capture`` returned.
    """
    trace = Path(captured["file"])
    file = trace.with_name(f"{trace.name.removesuffix(SUFFIX)}.memory.html")
    file.parent.mkdir(parents=True, exist_ok=True)
    begin, end = captured["window"]
    file.write_text(page(samples, instance, host, (begin, end)), encoding="utf-8")
    return str(file)


def page(samples: Sequence[Sample], instance: str, host: str, window: tuple[float, float]) -> str:
    """Return the page as HTML; every text from outside is escaped.

    :param samples: what ``host_samples`` returned with ``memory``.
    :param window: begin and end of the trace in Unix seconds.
    """
    known = [each for each in map(_read, samples) if each]
    zero = min((each["at"] for each in known), default=window[0])
    trace = (window[0] - zero, window[1] - zero)
    pictures = [
        _picture(
            "Memory of the process", "Of the whole process, in MiB, second by second.", _process(known, zero), trace
        ),
        _picture("Memory of its GPUs", "As nvidia-smi tells it, of all programs there.", _gpus(known, zero), trace),
    ]
    title = f"Memory of {instance} on {host} around a trace"
    facts = [f"trace of {number(window[1] - window[0])} s", f"{len(known)} samples"]
    lines = [*_process(known, zero), *_gpus(known, zero)]
    environment = renderer(TEMPLATES)
    environment.globals.update(markers=MARKERS)
    return environment.get_template("profile.html.j2").render(
        title=title,
        facts=facts if lines else [*facts, UNKNOWN],
        pictures=[each for each in pictures if each],
        titles=("MiB", "before the trace", "highest", "at the end"),
        rows=[_row(label, points, trace[0]) for _style, label, points in lines],
    )


def _read(sample: Sample) -> Sample:
    """Return the figures of a sample; a host may tell anything."""
    at = _figures({"at": sample.get("at")})
    return {**at, **{name: _figures(sample.get(name)) for name in ("memory", "gpu_memory")}} if at else {}


def _figures(told: Any) -> dict[str, float]:
    rows = told.items() if isinstance(told, Mapping) else ()
    return {visible(str(name)): float(value) for name, value in rows if _is_figure(value)}


def _is_figure(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < MOST


def _process(samples: Sequence[Sample], zero: float) -> list[Line]:
    """Return a line for each figure of the process that the samples have."""
    lines = [
        (style, label, [(each["at"] - zero, each["memory"][name]) for each in samples if name in each["memory"]])
        for name, (style, label) in PARTS.items()
    ]
    return [line for line in lines if line[2]]


def _gpus(samples: Sequence[Sample], zero: float) -> list[Line]:
    """Return a line for each GPU."""
    told = [(each["at"] - zero, each["gpu_memory"]) for each in samples if each["gpu_memory"]]
    indices = sorted({index for _at, used in told for index in used}, key=lambda index: (len(index), index))
    return [
        (STYLES[place % len(STYLES)], f"GPU {index}", [(at, used[index]) for at, used in told if index in used])
        for place, index in enumerate(indices)
    ]


def _row(label: str, points: Sequence[tuple[float, float]], begin: float) -> tuple[str, ...]:
    before = [value for at, value in points if at <= begin] or [points[0][1]]
    return label, *(number(value) for value in (before[-1], max(value for _at, value in points), points[-1][1]))


def _picture(title: str, summary: str, lines: Sequence[Line], trace: tuple[float, float]) -> Picture | None:
    if not lines:
        return None
    keys = [Key(style, label) for style, label, _points in lines]
    return picture(
        title,
        summary,
        lambda width: _drawn(width, lines, trace),
        [*keys, Key("warm", "the trace", stroke=False, marker="square")],
    )


def _drawn(width: float, lines: Sequence[Line], trace: tuple[float, float]) -> Drawing:
    canvas = Canvas(width, HEAD + HEIGHT + FOOT)
    end = max(trace[1], *(at for _style, _label, points in lines for at, _value in points))
    x = Scale(0, max(end, 1.0), LABELS, width - RIGHT)
    values = [value for _style, _label, points in lines for _at, value in points]
    panel = Panel(canvas, x, fitting(values, HEAD + HEIGHT, HEAD, zero=True))
    canvas.box("warm", x.at(trace[0]), HEAD, x.at(trace[1]), HEAD + HEIGHT, "the trace")
    panel.grid(lambda value: f"{value:g} s", number, "MiB")
    for style, _label, points in lines:
        panel.pieces(style, points)
    panel.x_title("since the first sample")
    return canvas.done()
