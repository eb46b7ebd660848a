# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a finding is; the kinds of findings are rows of ``tables/adoption_findings.yml``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.visible_text import told

from ..tables.read import table
from .case import Case

# In the order of a report.
SEVERITIES = ("wrong", "no_effect", "risky", "note")
WORDS = {"wrong": "wrong", "no_effect": "no effect", "risky": "risky", "note": "note"}
# What a finding repeats of a foreign text.
LONGEST = 200


@dataclass(frozen=True)
class Found:
    """A finding as a check yields it: the id of its row, and what to fill its sentence with."""

    id: str
    fields: Mapping[str, Any]
    remedy: str = ""
    """What to do, where it says more than the row's own."""


def found(row: str, remedy: str = "", **fields: Any) -> Found:
    """Return a finding of a row."""
    return Found(row, fields, remedy)


Check = Callable[[Case], Iterator[Found]]


@dataclass(frozen=True)
class Finding:
    """A finding on one server."""

    id: str
    severity: str
    host: str
    server: str
    text: str
    effect: str
    remedy: str

    @property
    def rank(self) -> tuple[int, str, str]:
        """Its place in a report."""
        return SEVERITIES.index(self.severity), self.host, self.server


@cache
def rows() -> dict[str, dict[str, str]]:
    """Return the kinds of findings by id."""
    return dict(table("adoption_findings")["findings"])


def finding(case: Case, each: Found) -> Finding:
    """Return a finding in words. What comes from the host is one printable line."""
    row = rows()[each.id]
    said = row["says"].format_map({name: told(str(value), LONGEST) for name, value in each.fields.items()})
    return Finding(
        id=each.id,
        severity=row["severity"],
        host=case.host,
        server=case.name,
        text=said.rstrip("; "),
        effect=row["effect"],
        remedy=told(each.remedy, LONGEST) or row["remedy"],
    )
