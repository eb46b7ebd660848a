# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What the terminal and the page say alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ...phrases import counted

Row = Mapping[str, Any]
# Causes that are told at length: mending the first three changes what the others look like.
TOLD = 3


def causes(document: Row) -> list[Row]:
    """Return the causes, the most likely first."""
    return [each for each in document["findings"] if each["verdict"] == "cause"]


def at_length(document: Row) -> list[Row]:
    """Return the findings that are told at length: the first causes, else the first findings."""
    return (causes(document) or list(document["findings"]))[:TOLD]


def others(document: Row) -> list[Row]:
    """Return the findings that get a line each."""
    told = at_length(document)
    return [each for each in document["findings"] if each not in told]


def headline(document: Row) -> str:
    """Return what came out, in a sentence."""
    hosts = counted(len(document["hosts"]), "host")
    if document["exit"] == 2:
        return "The diagnosis failed: no host gave two samples of what was asked for."
    found = causes(document)
    if found:
        most = f"{found[0]['title']} ({subject(found[0])})"
        return f"{counted(len(found), 'cause')} found on {hosts}; the most likely: {most}."
    if document["findings"]:
        return f"No cause found on {hosts}, but {counted(len(document['findings']), 'thing')} to look at."
    down = [each for each in document["notes"] if each["kind"] == "down"]
    if down:
        return f"No cause found on {hosts}, but {counted(len(down), 'instance')} not running."
    return f"Nothing found on {hosts}."


def subject(row: Row) -> str:
    """Return what a finding is about: host, instance and model, and on how many hosts it is the same."""
    parts = [row["host"], f"instance {row['instance']}" if row["instance"] else ""]
    parts.append(f"model {row['model']}" if row["model"] else "")
    more = len(row.get("hosts") or ()) - 1
    parts.append(f"and {counted(more, 'other host')}" if more > 0 else "")
    return ", ".join(part for part in parts if part)


def weight(row: Row) -> str:
    """Return how much a finding explains, and how sure it is."""
    explained = f"explains about {row['share'] * 100:.0f} % of the latency, " if row["share"] else ""
    outage = "is an outage or an error, " if row["impact"] >= 0.5 else ""
    return f"{outage or explained}confidence {row['confidence'] * 100:.0f} %"


def risk(row: Row) -> str:
    """Return what the remedy risks."""
    remedy = row["remedy"]
    return f"risk {remedy['risk']}, {'servers restart' if remedy['restart'] else 'no restart'}"


def line(row: Row) -> str:
    """Return a finding as a line."""
    explained = f", explained by {row['explained_by']}" if row["explained_by"] else ""
    return f"{row['verdict']}: {row['title']} ({row['id']}; {subject(row)}; {weight(row)}{explained})"


def cleared(document: Row) -> list[str]:
    """Return the ids of what was ruled out everywhere it was looked for."""
    found = {each["id"] for each in (*document["findings"], *document["not_checked"])}
    return sorted({each["id"] for each in document["cleared"]} - found)


def not_checked(document: Row) -> list[str]:
    """Return what could not be decided, each with its reason and where."""
    groups: dict[tuple[str, str], list[str]] = {}
    for each in document["not_checked"]:
        groups.setdefault((each["id"] or "evidence", each["why"]), []).append(_where(each))
    return [f"{name}: {why} ({_some(places)})" for (name, why), places in groups.items()]


def _where(row: Row) -> str:
    return f"{row['host']}.{row['instance']}" if row["instance"] else str(row["host"])


def _some(places: Iterable[str]) -> str:
    known = list(dict.fromkeys(places))
    return ", ".join(known[:4]) + (f" and {len(known) - 4} more" if len(known) > 4 else "")
