# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The document of an optimisation: what was tried, what the gate said of each candidate, and which one is chosen."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.visible_text import visible_data

from ..benchmark.conduct import now
from ..report.markdown import cell, code
from ..report.page import TEMPLATES, renderer
from . import verdicts
from .verdicts import Row

Document = dict[str, Any]
ROW_TITLES = ("check", "verdict", "what came out")


def begun(
    instance: str, host: str, model: str, original: Mapping[str, Any], environment: Mapping[str, Any]
) -> Document:
    """Return a document without any candidate. ``original`` has the ``version`` and the ``digest`` of its files."""
    return {
        "schema": 1,
        "kind": "optimization",
        "instance": instance,
        "host": host,
        "model": model,
        "optimised_from": dict(original),
        "environment": dict(environment),
        "began": now(),
        "requests": {},
        "candidates": [],
        "refused": {},
        "chosen": None,
        "version": None,
        "published": None,
    }


def entry(candidate: Mapping[str, Any], built: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what a document says of one candidate."""
    kept = ("size_mb", "seconds", "peak_memory_mb", "tensorflow", "confinement", "touches_others", "others")
    return {
        **{key: candidate[key] for key in ("kind", "recipe", "flags", "reason")},
        "built": {key: built[key] for key in kept if key in built},
        "rows": list(rows),
        "passed": bool(rows) and all(row["passed"] for row in rows),
    }


def with_speed(entry: Mapping[str, Any], rows: Sequence[Mapping[str, Any]] | None, measures: bool) -> dict[str, Any]:
    """Return a candidate with the rows of its speed; one that was not measured has not passed."""
    if not entry["passed"] or not measures:
        return dict(entry)
    unmeasured = [Row("speed", verdicts.UNPROVEN, "the speed was not measured").to_json()]
    whole = [*entry["rows"], *(rows or unmeasured)]
    return {**entry, "rows": whole, "passed": all(row["passed"] for row in whole)}


def choice(candidates: Sequence[Mapping[str, Any]]) -> str | None:
    """Return the kind of the candidate that gains most, by the lower end, of those that have passed everything."""
    able = [(gain(each), each["kind"]) for each in candidates if each["passed"] and gain(each) is not None]
    return max(able, key=lambda found: found[0] or 0.0)[1] if able else None


def gain(candidate: Mapping[str, Any]) -> float | None:
    """Return the lower end of what a candidate gains; None where it was not measured."""
    found = [row["figure"] for row in candidate["rows"] if row["check"] == "speed"]
    return found[-1] if found else None


def headline(document: Mapping[str, Any]) -> str:
    """Return the result in one sentence."""
    of = f"{document['model']} version {document['optimised_from']['version']}"
    if document["published"]:
        return f"{of} is faster by {document['chosen']}: version {document['version']} is published"
    if document["chosen"]:
        return f"{of} would be faster by {document['chosen']}, and nothing is published"
    return f"{of} stays as it is: no candidate has passed the gate"


def text(document: Mapping[str, Any]) -> str:
    """Return the result for the terminal."""
    lines = [headline(document)]
    for each in document["candidates"]:
        failing = [row["sentence"] for row in each["rows"] if not row["passed"]]
        lines.append(f"  {each['kind']}: {'passed' if each['passed'] else failing[0] if failing else 'not judged'}")
    lines += [f"  {kind}: not built, {why}" for kind, why in document["refused"].items()]
    if document["published"]:
        lines += ["", *document["published"]["wish"].splitlines()]
    return "\n".join(lines)


def markdown(data: Mapping[str, Any]) -> str:
    """Return a document as Markdown; text from hosts, models and the builder stands in code spans."""
    return "\n".join(_markdown(visible_data(data))) + "\n"


def _markdown(document: Mapping[str, Any]) -> Iterator[str]:
    yield f"### {code(headline(document))}"
    yield ""
    yield from (f"- {code(fact)}" for fact in facts(document))
    for each in document["candidates"]:
        yield from ["", f"#### {code(each['kind'])}: {'passed' if each['passed'] else 'refused'}", ""]
        yield from [f"| {' | '.join(ROW_TITLES)} |", "|---|---|---|"]
        for row in each["rows"]:
            yield f"| {cell(row['check'])} | {cell(row['verdict'])} | {cell(row['sentence'])} |"
    if document["refused"]:
        yield from ["", "#### Not built", ""]
        yield from (f"- {code(kind)}: {code(why)}" for kind, why in document["refused"].items())
    if document["published"]:
        yield from ["", "The wish to write:", "", "~~~yaml", document["published"]["wish"].rstrip(), "~~~"]


def facts(document: Mapping[str, Any]) -> list[str]:
    """Return what a reader has to know before the tables."""
    original, asked = document["optimised_from"], document["requests"]
    found = [f"from version {original['version']}, {original['digest']}"]
    found += [f"{name}: {value}" for name, value in document["environment"].items() if value]
    if asked:
        kind = "recorded" if asked["recorded"] else "made-up"
        found.append(f"{asked['count']} {kind} requests, {asked['different']} of them different")
        found += [f"asked nothing: {name}" for name in asked["left_out"]]
    return found


def page(data: Mapping[str, Any]) -> str:
    """Return a document as one self-contained page; every text from outside is escaped."""
    document = visible_data(data)
    tables = [
        (
            f"{each['kind']}: {'passed' if each['passed'] else 'refused'}",
            [(row["check"], row["verdict"], row["sentence"]) for row in each["rows"]],
        )
        for each in document["candidates"]
    ]
    environment = renderer(TEMPLATES)
    environment.globals.update(markers={})
    return environment.get_template("optimization.html.j2").render(
        title=headline(document),
        facts=facts(document),
        tables=tables,
        titles=ROW_TITLES,
        refused=list(document["refused"].items()),
        wish=document["published"]["wish"] if document["published"] else "",
    )
