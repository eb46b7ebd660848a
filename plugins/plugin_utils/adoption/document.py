# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""An adoption as plain data, from which the terminal, the pages and a take-over are made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.visible_text import told, visible_data

from ..diagnosis.reading import listed, text
from ..phrases import counted
from ..report.host_names import folded
from . import check_place
from .case import Case, cases
from .effect import Row
from .finding import SEVERITIES
from .findings import findings
from .wishes import HostWishes, host_wishes

SCHEMA = 1
# What a row repeats of a value.
LONGEST = 120
FATES = {
    "equal": "the same",
    "kept": "kept by an override",
    "planned": "the plan's figure",
    "lost": "cannot be kept",
    "left": "left out",
}


def adopted(
    surveys: Mapping[str, Mapping[str, Any]], topologies: Mapping[str, Any], missing: Mapping[str, str]
) -> tuple[dict[str, Any], list[HostWishes]]:
    """Return the document of an adoption and the wishes of its hosts.

    :param surveys: what the module serving_survey returned, by host.
    :param topologies: what the module host_topology returned, by host.
    :param missing: why a host could not be read, by host.
    """
    # The inventory's name of a host, whatever the host calls itself.
    named = {host: {**survey, "host": host} for host, survey in sorted(surveys.items())}
    known = [case for survey in named.values() for case in cases(survey)]
    wished = [host_wishes(survey, topologies[host]) for host, survey in named.items()]
    found = [asdict(each) for each in findings(known)]
    by_host = {each.host: each for each in wished}
    document = {
        "schema": SCHEMA,
        "hosts": sorted(surveys),
        "missing": [{"host": host, "why": told(why, LONGEST)} for host, why in sorted(missing.items())],
        "servers": [_server(case, by_host[case.host]) for case in known],
        "findings": found,
        "counts": {each: sum(row["severity"] == each for row in found) for each in SEVERITIES},
        "unwished": [{"host": host.host, **asdict(each)} for host in wished for each in host.unwished],
        "secrets": sorted({name for host in wished for name in host.secrets}),
        "unread": [
            {"host": host, "source": text(each.get("source")), "why": text(each.get("why"))}
            for host, survey in named.items()
            for each in listed(survey.get("unread"))
            if isinstance(each, Mapping)
        ],
    }
    return visible_data(document), wished


def _server(case: Case, wished: HostWishes) -> dict[str, Any]:
    origin = {key: case.origin.get(key) for key in ("kind", "name", "sha256")}
    return {
        "host": case.host,
        "name": case.name,
        "instance": wished.names.get(case.name, ""),
        "running": case.running,
        "pid": case.server.get("pid"),
        "argv_sha256": case.server.get("argv_sha256"),
        "origin": origin,
        "release": case.known_version,
        "ports": check_place.host_ports(case),
        "models": [each.name for each in case.models],
        "command": [word.text for word in case.line.words],
        "rows": [_row(each) for each in wished.rows.get(case.name, [])],
    }


def _row(row: Row) -> dict[str, str]:
    return {
        "setting": row.setting,
        "before": _shown(row.before),
        "after": _shown(row.after),
        "fate": row.fate,
        "reason": told(row.reason, 2 * LONGEST),
    }


def _shown(value: Any) -> str:
    if value is None:
        return "by its CPUs"
    if isinstance(value, bool):
        return str(value).lower()
    return told(str(value), LONGEST) or "unset"


def headline(document: Mapping[str, Any]) -> str:
    """Return what was found, in a sentence."""
    running = [each for each in document["servers"] if each["running"]]
    counts = document["counts"]
    servers = f"{counted(len(running), 'server')} on {counted(len(document['hosts']), 'host')}"
    parts = [f"{counts['wrong']} wrong", f"{counts['no_effect']} without effect", f"{counts['risky']} risky"]
    return f"{servers}: {', '.join(parts)}"


def alike(findings: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """Return the findings with one row for all hosts on which the same was found on a server of the same name."""
    hosts: dict[tuple[str, str, str], list[str]] = {}
    for each in findings:
        hosts.setdefault((each["id"], each["server"], each["text"]), []).append(each["host"])
    first = {(each["id"], each["server"], each["text"]): each for each in reversed(findings)}
    return [{**first[key], "host": folded(known)} for key, known in hosts.items()]


def changed_rows(server: Mapping[str, Any]) -> Sequence[Mapping[str, str]]:
    """Return the settings of a server that would not be the same."""
    return [each for each in server["rows"] if each["fate"] in ("planned", "lost")]
