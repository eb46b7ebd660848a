# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The report for a comment on a merge request: the changes, once for all hosts with the same ones.

Text from an inventory, a host or a model is put in code spans, where nothing is markup, a link, a mention or a command
of the forge.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..phrases import counted
from .difference import EFFECTS
from .sheet import Change, Group, Part, Report

# GitHub accepts 65,536 characters in a comment.
LONGEST = 60_000
_TICKS = re.compile("`+")


def markdown(report: Report) -> str:
    """Return the report, cut at ``LONGEST`` characters."""
    parts = [(group, part) for group in report.groups for part in group.parts]
    changing = [(group, part) for group, part in parts if not part.difference.empty]
    count = sum(part.count for _group, part in changing)
    blocks = [f"## Plan: {count} of {counted(report.count, 'host')} would change"]
    blocks += [f"**Not planned**, see the log of the run: {code(report.missing)}"] if report.missing else []
    blocks += ["\n".join(_part(group, part)) for group, part in changing]
    waits = [f"- {code(part.hosts)}: {code(each)}" for _group, part in parts for each in part.difference.waits]
    blocks += ["\n".join(waits)] if waits else []
    same = [code(part.hosts) for _group, part in parts if part.difference.empty]
    blocks += [f"Unchanged: {', '.join(same)}"] if same else []
    return _bounded(blocks) + "\n"


def _bounded(blocks: list[str]) -> str:
    whole, kept = "\n\n".join(blocks), list(blocks)
    if len(whole) <= LONGEST:
        return whole
    while kept and len("\n\n".join(kept)) > LONGEST - 100:
        kept.pop()
    return "\n\n".join(
        [*kept, f"{counted(len(blocks) - len(kept), 'part')} left out; the log of the run has the rest."]
    )


def _part(group: Group, part: Part) -> Iterator[str]:
    difference = part.difference
    yield f"### {code(part.hosts)}" + (f" ({part.count} hosts)" if part.count > 1 else "")
    yield ""
    yield "| instance | effect | changes |"
    yield "|---|---|---|"
    for verdict in difference.instances:
        yield f"| {cell(verdict.name)} | {EFFECTS[verdict.effect]} | {_cells(verdict.changes)} |"
    if difference.host:
        yield f"| | the host | {_cells(difference.host)} |"
    if group.sheet.warnings:
        yield ""
        yield from (f"- warning: {code(warning)}" for warning in group.sheet.warnings)


def _cells(changes: tuple[Change, ...]) -> str:
    return "<br>".join(_change(change) for change in changes)


def _change(change: Change) -> str:
    return " ".join([cell(change.path), " → ".join(cell(side) for side in (change.before, change.after) if side)])


def code(text: str) -> str:
    """Return text as a code span, whatever backticks it contains."""
    text = " ".join(text.split())
    if not text:
        return ""
    fence = "`" * (1 + max((len(run) for run in _TICKS.findall(text)), default=0))
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def cell(text: str) -> str:
    """Return text as a code span in a table, where a bare bar would end the cell."""
    return code(text).replace("|", "\\|")
