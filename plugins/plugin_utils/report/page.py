# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The report as one self-contained page, with its style and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import jinja2

from ..phrases import counted
from .difference import EFFECTS
from .picture import picture
from .sheet import Column, Report

TEMPLATES = Path(__file__).resolve().parents[3] / "templates"
# Colours and patterns of the template: six colours that colour-blind readers can tell apart, then the same, patterned.
TONES = 6
WEAVES = 3


def page(report: Report) -> str:
    """Return the whole report as HTML; every text from outside is escaped."""
    environment = renderer(TEMPLATES)
    environment.filters["spans"] = spans
    environment.globals.update(picture=picture, counted=counted, style=style, effects=EFFECTS)
    return environment.get_template("plan.html.j2").render(report=report)


def renderer(*folders: Path, **syntax: Any) -> jinja2.Environment:
    """Return what renders the templates of pages: each text is escaped, and what a page lacks is an error."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(folders),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        **syntax,
    )


def spans(columns: Sequence[Column]) -> list[tuple[str, int]]:
    """Return the headings of a table from left to right, each with the number of columns below it."""
    return [(heading, len(list(below))) for heading, below in groupby(columns, key=lambda column: column.heading)]


def style(number: int | None, key: str) -> str:
    """Return the CSS classes of an owner: its colour and pattern, or its kind."""
    if number is None:
        return key
    return f"tone-{number % TONES} weave-{number // TONES % WEAVES}"
