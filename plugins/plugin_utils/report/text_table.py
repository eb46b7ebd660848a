# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Tables of instances for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest

from .sheet import Column, Machine, Table

GAP = "  "
INDENT = "  "
# A list of CPUs with many gaps is broken at its commas.
WIDEST_CELL = 24


def text_table(table: Table, machine: Machine) -> Iterator[str]:
    """Yield the lines of a table, with each heading above the first of its columns and long cells wrapped."""
    columns = [Column("", "instance"), *table.columns]
    owners = {owner.key: owner for owner in machine.owners}
    names = [f"{owners[row.owner].glyph} {owners[row.owner].name}" for row in table.rows]
    rows = [[[name], *map(_broken, row.cells)] for name, row in zip(names, table.rows)]
    widths = [
        max(len(column.title), *(len(line) for row in rows for line in row[place]))
        for place, column in enumerate(columns)
    ]
    if any(column.heading for column in columns):
        yield _headings(columns, widths)
    yield _line([column.title for column in columns], columns, widths)
    yield INDENT + GAP.join("─" * width for width in widths)
    for row in rows:
        for cells in zip_longest(*row, fillvalue=""):
            yield _line(cells, columns, widths)


def _headings(columns: Sequence[Column], widths: Sequence[int]) -> str:
    line, start, last = "", len(INDENT), ""
    for column, width in zip(columns, widths):
        if column.heading != last:
            line = line.ljust(start) + column.heading
        start, last = start + width + len(GAP), column.heading
    return line


def _line(cells: Sequence[str], columns: Sequence[Column], widths: Sequence[int]) -> str:
    aligned = (
        cell.rjust(width) if column.numeric else cell.ljust(width)
        for cell, column, width in zip(cells, columns, widths)
    )
    return (INDENT + GAP.join(aligned)).rstrip()


def _broken(cell: str) -> list[str]:
    first, *parts = cell.split(",")
    lines = [first]
    for part in parts:
        if len(lines[-1]) + len(part) < WIDEST_CELL:
            lines[-1] += f",{part}"
        else:
            lines[-1] += ","
            lines.append(part.lstrip())
    return lines
