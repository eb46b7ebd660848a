# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The report for the terminal, at most a hundred columns wide, without colours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..phrases import counted
from . import words as values
from .difference import EFFECTS
from .sheet import Change, Difference, Figure, Group, Machine, Part, Reason, Report
from .text_map import WIDTH, prose, text_map, wrapped
from .text_table import text_table


def text(report: Report, reasons: bool = True) -> str:
    """Return the whole report; without ``reasons`` only the figures."""
    groups = ["\n".join(_group(group, reasons)) for group in report.groups]
    if len(report.groups) > 1:
        groups = [f"{counted(report.count, 'host')} in {len(groups)} groups of the same plan", *groups]
    if report.missing:
        groups.append("\n".join(["Not planned, see the messages above:", *prose(report.missing, "  ")]))
    return "\n\n\n".join(groups) + "\n"


def _group(group: Group, reasons: bool) -> Iterator[str]:
    sheet = group.sheet
    title = group.hosts if group.count == 1 else f"{group.hosts} ({group.count} hosts)"
    heading = wrapped("", title.split(" "), between=" ")
    yield from heading
    yield "═" * max(map(len, heading))
    yield from wrapped("", [f"{part}," for part in sheet.machine.summary] + [sheet.server], between=" ")
    yield ""
    yield from text_map(sheet.machine)
    for table in sheet.tables:
        yield from ["", table.title, *text_table(table, sheet.machine)]
    if reasons and sheet.figures:
        yield from ["", "Reasons", *_figures(sheet.figures, sheet.machine)]
    if sheet.warnings:
        yield from ["", "Warnings", *(line for warning in sheet.warnings for line in _bullet(warning))]
    for part in group.parts:
        yield from ["", _difference_title(group, part), *_difference(part.difference)]


def _bullet(sentence: str) -> list[str]:
    first, *rest = prose(sentence, "    ")
    return [f"  ! {first.lstrip()}", *rest]


def _figures(figures: Sequence[Figure], machine: Machine) -> Iterator[str]:
    glyphs = {owner.key: owner.glyph for owner in machine.owners}
    lead = max(len(reason.owners) for figure in figures for reason in figure.reasons)
    for figure in figures:
        yield f"  {figure.path}"
        for reason in figure.reasons:
            who = "".join(glyphs[key] for key in reason.owners)
            first, *rest = prose(_said(reason), " " * (lead + 6))
            yield f"    {who:<{lead}}  {first.lstrip()}"
            yield from rest


def _said(reason: Reason) -> str:
    # "none: none asked for" would say it twice.
    if reason.value == values.NOTHING and reason.text.startswith(values.NOTHING):
        return reason.text
    return f"{reason.value}{' (override)' if reason.override else ''}: {reason.text}"


def _difference_title(group: Group, part: Part) -> str:
    title = "Difference to the plan in force"
    return title if len(group.parts) == 1 else f"{title} on {part.hosts} ({counted(part.count, 'host')})"


def _difference(difference: Difference) -> Iterator[str]:
    yield from _changed(difference)
    yield from (line for sentence in difference.waits for line in prose(sentence, "  "))


def _changed(difference: Difference) -> Iterator[str]:
    if difference.empty:
        yield "  none: this plan is in force"
        return
    if difference.first:
        yield "  no plan is in force yet; these instances are new"
    lead = max((len(verdict.name) for verdict in difference.instances), default=0)
    for verdict in difference.instances:
        yield f"  {verdict.name:<{lead}}  {EFFECTS[verdict.effect]}"
        yield from (line for change in verdict.changes for line in _change(change))
    if difference.host:
        yield "  the host"
        yield from (line for change in difference.host for line in _change(change))


def _change(change: Change) -> list[str]:
    sides = " → ".join(filter(None, (change.before, change.after)))
    line = f"      {change.path}  {sides}"
    return [line] if len(line) <= WIDTH else [f"      {change.path}", *prose(sides, " " * 8)]
