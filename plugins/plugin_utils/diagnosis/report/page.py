# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A diagnosis as one self-contained page."""

from __future__ import annotations

from typing import Any

from ...report.page import TEMPLATES, renderer
from ..budget import PARTS
from . import wording
from .wording import Row


def page(document: Row) -> str:
    """Return the report as HTML. Every text is escaped; the same document gives the same bytes."""
    told = wording.at_length(document)
    template = renderer(TEMPLATES).get_template("diagnosis.html.j2")
    return template.render(
        title=wording.headline(document),
        missing=document["missing"],
        notes=[each["text"] for each in document["notes"]],
        parts=PARTS,
        budgets=[_budget(each) for each in document["budgets"]],
        told=[(each, wording.subject(each), wording.weight(each), wording.risk(each)) for each in told],
        others=[(each, wording.subject(each), wording.weight(each)) for each in wording.others(document)],
        cleared=wording.cleared(document),
        not_checked=wording.not_checked(document),
    )


def _budget(row: Row) -> dict[str, Any]:
    """Return a budget with the width of each part in its bar, in percent."""
    whole = max(row["whole_ms"], sum(each or 0.0 for each in row["parts_ms"].values())) or 1.0
    left = max(row["unexplained_ms"], 0.0)
    parts = [*row["parts_ms"].items(), ("unexplained", left)]
    return {
        **row,
        "name": f"{row['host']}.{row['instance']} {row['entrypoint']}",
        "bar": [(name, each, each / whole * 100) for name, each in parts if each],
    }
