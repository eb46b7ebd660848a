# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A take-over: which old servers of a host end, or come back, decided from the adoption and a new survey.

Everything is refused here, before anything changes: an instance that does not run beside the old server, or does not
serve what that serves, and a server that is no longer the one that was adopted.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.disk import plain_files
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError, nearest
from ansible_collections.tfserving.fleet.plugins.module_utils.visible_text import told

from ..diagnosis.reading import listed, mapping, text
from ..phrases import joined
from . import check_place
from .case import OURS, Case, cases
from .document import SCHEMA
from .publish import REPORT, VARIABLE

STOPPED, STARTED = "stopped", "started"
ONLY = "adopt_only"
_MOST = 64 << 20
_SHAPE = {
    "schema": int,
    "hosts": [str],
    "servers": [
        {
            "host": str,
            "name": str,
            "instance": str,
            "running": bool,
            "argv_sha256": (str, type(None)),
            "origin": {"kind": (str, type(None)), "name": (str, type(None)), "sha256": (str, type(None))},
            "ports": {str: int},
        }
    ],
}
Row = Mapping[str, Any]


def read(folder: str) -> dict[str, Any]:
    """Return the document of an adoption. Raises WishError."""
    path = os.path.join(os.path.abspath(os.path.expanduser(folder)), f"{REPORT}.json")
    remedy = "give the folder that adopt.yml wrote"
    try:
        document = plain_files.json_of(path, _MOST)
    except (OSError, ValueError) as error:
        raise WishError(VARIABLE, f"{path} cannot be read ({told(str(error), 200)})", remedy) from error
    if not plain_files.fits(document, _SHAPE):
        raise WishError(VARIABLE, f"{path} is not the report of an adoption", remedy)
    if document["schema"] != SCHEMA:
        raise WishError(VARIABLE, f"{path} was written by another release of the collection", "adopt the hosts again")
    return dict(document)


def steps(document: Row, host: str, survey: Row, only: Sequence[str], state: str) -> list[dict[str, Any]]:
    """Return what is done on a host, a step for each old server. Raises WishError."""
    rows = _chosen(document, host, only)
    if state == STARTED:
        return [_back(row, survey) for row in rows]
    found = {(case.kind, text(case.origin.get("name"))): case for case in cases(survey) if case.running}
    known = [(row, found.get((text(row["origin"]["kind"]), text(row["origin"]["name"])))) for row in rows]
    # One that does not run any more has been taken over, or has ended by itself: there is nothing to stop.
    return [_stop(row, case, survey) for row, case in known if case is not None]


def _chosen(document: Row, host: str, only: Sequence[str]) -> list[Row]:
    rows = [row for row in document["servers"] if row["host"] == host and row["running"]]
    if not rows:
        raise WishError(VARIABLE, f"has no server of {host}", "adopt the host, or leave it out with --limit")
    names = [row["name"] for row in rows]
    for name in only:
        if name not in names:
            remedy = nearest(name, names) or f"they are {joined(names)}"
            raise WishError(ONLY, f"{told(name, 100)} is no server that was adopted on {host}", remedy)
    return [row for row in rows if row["instance"] and (not only or row["name"] in only)]


def _stop(row: Row, case: Case, survey: Row) -> dict[str, Any]:
    name, instance = row["name"], row["instance"]
    if case.server.get("argv_sha256") != row["argv_sha256"]:
        problem = f"{name} has another command line than it had when it was adopted"
        raise WishError(VARIABLE, problem, "adopt the host again")
    new = _ours(survey).get(instance)
    if new is None:
        problem = f"the instance {instance} does not run beside {name}"
        raise WishError("tfserving_instances", problem, "run site.yml with the inventory and its beside first")
    missing = sorted(_served(case.server) - _served(new))
    if missing:
        versions = joined([f"{model} {version}" for model, version in missing[:5]])
        problem = f"the instance {instance} does not serve {versions}, which {name} does"
        raise WishError("tfserving_models", problem, "run site.yml, or see status.yml for the reason")
    return {
        **_named(row),
        "pid": case.server.get("pid"),
        "argv_sha256": row["argv_sha256"],
        "definition": row["origin"]["sha256"] or "",
        "ports": sorted(check_place.ports(case)),
        "callers": sorted(check_place.host_ports(case).values()),
        "new": sorted(_listening(new)),
    }


def _back(row: Row, survey: Row) -> dict[str, Any]:
    wanted = set(row["ports"].values())
    for instance, server in _ours(survey).items():
        taken = sorted(wanted & _listening(server))
        if taken:
            problem = f"the instance {instance} listens on {joined(list(map(str, taken)))}, which {row['name']} needs"
            remedy = "run site.yml with the beside of the inventory first"
            raise WishError("tfserving_instances", problem, remedy)
    return {**_named(row), "callers": sorted(wanted)}


def _named(row: Row) -> dict[str, Any]:
    origin = row["origin"]
    return {"server": row["name"], "instance": row["instance"], "kind": origin["kind"], "name": origin["name"]}


def _ours(survey: Row) -> dict[str, Row]:
    """Return the servers that are instances of the collection, by the instance."""
    found = {}
    for server in listed(survey.get("servers")):
        name = text(mapping(mapping(server).get("origin")).get("name"))
        if OURS.fullmatch(name):
            found[name.removeprefix("tfserving@").removesuffix(".service")] = server
    return found


def _served(server: Row) -> set[tuple[str, int]]:
    return set(_pairs(server))


def _pairs(server: Row) -> Iterator[tuple[str, int]]:
    for each in listed(server.get("serves")):
        version = mapping(each).get("version")
        if isinstance(version, int) and mapping(each).get("state") == "AVAILABLE":
            yield text(each.get("model")), version


def _listening(server: Row) -> set[int]:
    ports = [mapping(each).get("port") for each in listed(server.get("listening"))]
    return {port for port in ports if isinstance(port, int)}


def sentence(host: str, step: Row, state: str) -> str:
    """Return what a step does, for whoever runs it."""
    old, ports = step["server"], joined([str(port) for port in step["callers"]]) or "no port of the host"
    if state == STARTED:
        return f"{host}: {old} comes back on {ports}; {step['instance']} stays beside it"
    new = joined([str(port) for port in step["new"]])
    return f"{host}: {old} ends. Whoever calls it on {ports} has to call {step['instance']} on {new}, or a gateway"
