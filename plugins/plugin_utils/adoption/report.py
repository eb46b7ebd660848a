# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""An adoption for the terminal, as Markdown and as a page."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any

from ..report.markdown import cell, code
from ..report.page import TEMPLATES, renderer
from .document import FATES, alike, changed_rows, headline
from .finding import WORDS

WIDTH = 100
# Findings that are no news on every server are counted in the terminal, and listed on the pages.
_TOLD = ("wrong", "no_effect", "risky")
MOST = 60
Document = Mapping[str, Any]


def terminal(document: Document) -> str:
    """Return the report as text."""
    return "\n".join(_lines(document)) + "\n"


def _lines(document: Document) -> Iterator[str]:
    yield headline(document)
    yield from _missing(document)
    told = [each for each in alike(document["findings"]) if each["severity"] in _TOLD]
    for severity, rows in groupby(told, key=lambda each: each["severity"]):
        listed = list(rows)
        yield f"\n{WORDS[severity].upper()} ({len(listed)})"
        for each in listed[:MOST]:
            yield from _wrapped(f"- {each['host']}, {each['server']}: {each['text']}")
        if len(listed) > MOST:
            yield f"- {len(listed) - MOST} more are on the page"
    notes = document["counts"]["note"]
    yield from [f"\n{notes} notes are on the page"] if notes else []
    yield from _listed("CANNOT BE WISHED", [_unwished(each) for each in document["unwished"]])
    yield from _listed("FOR A VAULT", document["secrets"])
    yield from _listed("NOT READ", [f"{each['host']}, {each['source']}: {each['why']}" for each in document["unread"]])


def _missing(document: Document) -> Iterator[str]:
    for each in document["missing"]:
        yield from _wrapped(f"Without {each['host']}: {each['why']}")


def _unwished(each: Mapping[str, str]) -> str:
    remedy = f"; {each['remedy']}" if each["remedy"] else ""
    return f"{each['host']}, {each['server']}: {each['what']}: {each['why']}{remedy}"


def _listed(title: str, rows: list[str]) -> Iterator[str]:
    if rows:
        yield f"\n{title} ({len(rows)})"
    for each in rows[:MOST]:
        yield from _wrapped(f"- {each}")


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def markdown(document: Document) -> str:
    """Return the report for a comment on a merge request; text of hosts stands in code spans."""
    return "\n".join(_blocks(document)) + "\n"


def _blocks(document: Document) -> Iterator[str]:
    yield f"## {headline(document)}\n"
    for each in document["missing"]:
        yield f"- Without {code(each['host'])}: {code(each['why'])}"
    yield "| host | server | | finding | remedy |\n|---|---|---|---|---|"
    for each in alike(document["findings"]):
        parts = [cell(each["host"]), cell(each["server"]), WORDS[each["severity"]], cell(each["text"])]
        yield f"| {' | '.join([*parts, cell(each['remedy'])])} |"
    for server in document["servers"]:
        yield from _markdown_server(server)
    if document["unwished"]:
        yield "\n### Cannot be wished\n"
    for each in document["unwished"]:
        yield f"- {code(_unwished(each))}"


def _markdown_server(server: Mapping[str, Any]) -> Iterator[str]:
    if not server["rows"]:
        return
    yield f"\n### {code(server['host'])}: {code(server['name'])} → {code(server['instance'])}\n"
    yield "| setting | runs now | would run | |\n|---|---|---|---|"
    for row in server["rows"]:
        parts = [cell(row["setting"]), cell(row["before"]), cell(row["after"]), FATES[row["fate"]]]
        yield f"| {' | '.join(parts)} |"


def page(document: Document) -> str:
    """Return the report as HTML; every text is escaped."""
    template = renderer(TEMPLATES).get_template("adopt.html.j2")
    return template.render(
        title=headline(document),
        document=document,
        findings=alike(document["findings"]),
        words=WORDS,
        fates=FATES,
        changed={each["host"] + "\n" + each["name"]: len(changed_rows(each)) for each in document["servers"]},
        unwished=[_unwished(each) for each in document["unwished"]],
    )
