# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The kinds of findings as a page of the documentation."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from .finding import SEVERITIES, rows

_TITLES = {
    "wrong": "Wrong",
    "no_effect": "Without effect",
    "risky": "Risky",
    "note": "Worth knowing",
}
_MEANS = {
    "wrong": "The server does not do what was asked of it.",
    "no_effect": "Something was written, and nothing comes of it.",
    "risky": "It works until something else happens.",
    "note": "Nothing is wrong; a page mentions it.",
}
_HEAD = """# Findings of an adoption

`playbooks/adopt.yml` judges the servers that it finds by these rows. The page is made from their table (`make docs`);
[adopt.md](adopt.md) says how to read a report.
"""


def page() -> str:
    """Return the text of docs/adoption-findings.md."""
    return "\n".join(_lines()).rstrip() + "\n"


def _lines() -> Iterator[str]:
    yield _HEAD
    for severity in SEVERITIES:
        kinds = {name: row for name, row in rows().items() if row["severity"] == severity}
        yield f"## {_TITLES[severity]} ({len(kinds)})\n\n{_MEANS[severity]}\n"
        for name, row in kinds.items():
            yield f"### `{name}`: {row['title']}\n"
            yield _wrapped(row["effect"])
            yield f"\n{_wrapped('Remedy: ' + row['remedy'])}\n"


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False)
