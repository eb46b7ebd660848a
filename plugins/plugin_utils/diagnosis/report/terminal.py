# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A diagnosis for a terminal: the budget first, then the likely causes, each a screen at most."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

from . import wording
from .wording import Row

WIDTH = 100
# Lines of a list that are printed; JSON and page have all of them.
MOST = 40
# Pieces of evidence of a finding, so that it stays within a screen.
PROOFS = 8


def terminal(document: Row) -> str:
    """Return the report as text."""
    return "\n".join(_lines(document)) + "\n"


def _lines(document: Row) -> Iterator[str]:
    yield wording.headline(document)
    for each in document["missing"]:
        yield from _wrapped(f"Without {each['host']}: {each['why']}", "")
    yield from _listed("TO KNOW", [each["text"] for each in document["notes"]])
    yield from _listed("WHERE THE TIME GOES (mean, in ms)", [_budget(each) for each in document["budgets"]])
    for number, each in enumerate(wording.at_length(document), 1):
        yield from _told(number, each)
    yield from _listed("ALSO SEEN", [wording.line(each) for each in wording.others(document)])
    cleared = wording.cleared(document)
    yield from _listed(f"RULED OUT ({len(cleared)})", [", ".join(cleared)] if cleared else [])
    unknown = wording.not_checked(document)
    yield from _listed(f"NOT CHECKED ({len(unknown)})", unknown)


def _budget(row: dict[str, Any]) -> str:
    return f"{row['host']}.{row['instance']} {row['entrypoint']}: {row['text']}"


def _told(number: int, row: Row) -> Iterator[str]:
    yield ""
    yield f"{number}. {row['verdict'].upper()}: {row['title']}"
    yield f"   {wording.subject(row)}; {wording.weight(row)}; {row['id']}"
    yield from _wrapped(row["words"], "   ")
    for each in row["evidence"][:PROOFS]:
        over = f" over {each['window_s']:g} s" if each["window_s"] else ""
        yield from _wrapped(f"- {each['source']}: {each['value']}{over}; expected {each['expected']}", "     ", "   ")
    yield from _wrapped(f"Told apart: {row['test']}", "   ")
    yield from _wrapped(f"Remedy ({wording.risk(row)}): {row['remedy']['text']}", "   ")
    yield f"     {row['remedy']['command']}"
    yield from _wrapped(f"See: {', '.join(row['refs'])}" if row["refs"] else "", "   ")


def _listed(title: str, rows: list[str]) -> Iterator[str]:
    if rows:
        yield ""
        yield title
    for each in rows[:MOST]:
        yield from _wrapped(f"- {each}", "  ", "")
    if len(rows) > MOST:
        yield f"- {len(rows) - MOST} more are in the file of the report"


def _wrapped(text: str, indent: str, first: str | None = None) -> list[str]:
    """Return a text in lines; commands in it stay whole, since they are copied."""
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=indent if first is None else first,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
