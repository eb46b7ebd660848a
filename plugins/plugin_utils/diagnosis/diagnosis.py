# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A diagnosis of some hosts: their evidence in, the document of the report out."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.visible_text import visible_data

from . import notes
from .budget import Budget, budgets
from .case import Case
from .rank import Finding, Ranked, ranked
from .reading import at, listed, mapping, number, text

SCHEMA = 1
Evidence = Mapping[str, Any]
# A diagnosis ends with one of these.
NOTHING, FINDINGS, FAILED = 0, 1, 2


def diagnosed(
    evidence: Mapping[str, Evidence],
    missing: Mapping[str, str] | None = None,
    before: Mapping[str, Evidence] | None = None,
    client: Mapping[str, Evidence] | None = None,
) -> dict[str, Any]:
    """Return the document of a diagnosis (docs/diagnosis-schema.json).

    ``missing`` says by host why it gave no evidence. ``before`` is the evidence of another day, ``client`` what a probe
    of the load generator measured, both by host.
    """
    cases = _cases(evidence, before or {}, client or {})
    noted = notes.notes(cases)
    found = ranked(cases, lone=notes.lone(noted))
    told = [(case.host, each) for case in cases for each in _budgets(case)]
    document = {
        "schema": SCHEMA,
        "started": min(_times(cases, 0), default=None),
        "finished": max(_times(cases, 1), default=None),
        "hosts": [case.host for case in cases],
        "missing": [{"host": host, "why": why} for host, why in sorted((missing or {}).items())],
        "exit": _exit(cases, found, noted),
        "notes": [asdict(each) for each in noted],
        "budgets": [_budget(host, each) for host, each in told],
        "findings": [_finding(each) for each in found.findings],
        "cleared": [_brief(each) for each in found.cleared],
        "not_checked": [*_not_checked(found), *_unread(cases), *_unmeasured(cases, told)],
    }
    return dict(visible_data(document))


def _cases(
    evidence: Mapping[str, Evidence], before: Mapping[str, Evidence], client: Mapping[str, Evidence]
) -> list[Case]:
    gateways = [each for each in evidence.values() if each.get("gateway")]
    serving = {host: each for host, each in evidence.items() if each.get("plan")}
    return [
        Case(
            {**each, "host": text(each.get("host")) or host},
            [peer for name, peer in serving.items() if name != host],
            before.get(host),
            client.get(host),
            gateways,
        )
        for host, each in evidence.items()
    ]


def _exit(cases: Sequence[Case], found: Ranked, noted: Sequence[notes.Note]) -> int:
    """Return how the diagnosis ends: failed without any evidence, with findings where there are some.

    An instance that does not run is one, whether or not a fault of the catalogue explains it.
    """
    if not any(case.window_s for case in cases) or _is_beside_the_question(cases):
        return FAILED
    return FINDINGS if found.findings or any(each.kind == "down" for each in noted) else NOTHING


def _is_beside_the_question(cases: Sequence[Case]) -> bool:
    """Tell whether instances were named that no host with evidence has: gateways answer all the same."""
    named = any(listed(at(case.evidence, "collector", "instances")) for case in cases)
    return named and not any(case.instances for case in cases)


def _budgets(case: Case) -> list[Budget]:
    found: list[Budget] = []
    for instance in case.instances:
        # A budget comes first, but never at the price of the findings: evidence of an odd form gives none.
        with contextlib.suppress(ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
            found += budgets(case, instance)
    return found


def _times(cases: Sequence[Case], sample: int) -> list[float]:
    """Return when the hosts took a sample."""
    times = (number(case.samples[sample].get("at")) for case in cases)
    return [each for each in times if each is not None]


def _unmeasured(cases: Sequence[Case], told: Sequence[tuple[str, Budget]]) -> list[dict[str, Any]]:
    """Return the instances that answer requests and have no budget."""
    known = {(host, budget.instance) for host, budget in told}
    why = "where its time goes could not be read"
    return [
        {"id": None, "host": case.host, "instance": each.name, "model": None, "why": why}
        for case in cases
        for each in case.instances
        if each.used and (case.host, each.name) not in known
    ]


def _budget(host: str, budget: Budget) -> dict[str, Any]:
    return {
        "host": host,
        "instance": budget.instance,
        "entrypoint": budget.entrypoint,
        "requests": budget.requests,
        "seen_by": budget.seen_by,
        "via": budget.via,
        "whole_ms": round(budget.whole, 4),
        "parts_ms": {name: None if part is None else round(part, 4) for name, part in budget.parts.items()},
        "unexplained_ms": round(budget.rest, 4),
        "adds_up": budget.adds_up,
        "server_p99_ms": list(budget.server_p99) if budget.server_p99 else None,
        "text": budget.text,
    }


def _finding(finding: Finding) -> dict[str, Any]:
    judged, fault = finding.judged, finding.fault
    return {
        "id": fault.id,
        "title": fault.title,
        "layer": fault.layer,
        "host": finding.host,
        "hosts": list(finding.hosts),
        "instance": judged.instance,
        "model": judged.model,
        "verdict": finding.verdict,
        "confidence": judged.confidence,
        "share": None if judged.share is None else round(judged.share, 4),
        "impact": judged.impact,
        "score": round(finding.score, 4),
        "explained_by": finding.explained_by or None,
        "words": judged.words,
        "evidence": [asdict(each) for each in judged.proofs],
        "test": judged.test,
        "remedy": {
            "text": fault.remedy.text,
            "command": finding.command,
            "risk": fault.remedy.risk,
            "restart": fault.remedy.restart,
        },
        "refs": list(fault.refs),
    }


def _brief(finding: Finding) -> dict[str, Any]:
    judged = finding.judged
    return {
        "id": finding.fault.id,
        "host": finding.host,
        "instance": judged.instance,
        "model": judged.model,
        "why": judged.test,
    }


def _not_checked(found: Ranked) -> list[dict[str, Any]]:
    return [_brief(each) for each in found.unknown]


def _unread(cases: Sequence[Case]) -> list[dict[str, Any]]:
    """Return the sources that hosts could not read, each as what it is rather than as a fault."""
    rows = [(case.host, mapping(each)) for case in cases for each in case.evidence.get("unread") or ()]
    return [
        {
            "id": None,
            "host": host,
            "instance": None,
            "model": None,
            "why": f"{text(row.get('source'))}: {text(row.get('why'))}",
        }
        for host, row in rows
    ]
