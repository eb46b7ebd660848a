# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""One benchmark from the first look at the server to its last stage, conducted from one of the load hosts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Protocol

from .. import caller
from ..report import file
from . import mix, other, publish, runner, team, tls
from .course import Course
from .crew import Crew
from .load import Load
from .options import Options
from .target import unreachable

Tell = Callable[[str], None]


def conduct(
    given: Mapping[str, Any],
    target: Mapping[str, Any],
    crew: Crew,
    place: runner.Place,
    load_hosts: list[str],
    tell: Tell,
    rival: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return where the results are. Raises WishError before any load is sent, or for a generator that fails.

    :param given: the options, as benchmark_wishes returns them.
    :param target: the instance, as benchmark_target returns it; ``rival`` is the other one, to be measured in turns.
    :param tell: prints a line in the terminal.
    """
    asked = options_of(given)
    publish.make_room(asked.output)
    before = publish.earlier(asked.earlier) if asked.earlier else None
    together = team.Team(crew, place, load_hosts)
    seen = look(together, asked, target)
    requests = mix.requests(asked, target, seen[0]["metadata"])
    tell(f"  {mix.sentence(requests)} from {', '.join(load_hosts)}")
    load = Load(asked, target, requests.bodies, together, [each["cores"] for each in seen], tell)
    document = begun(asked, target, requests, load_hosts)
    beside = load_beside(load, rival, seen[0]["metadata"]) if rival else None
    document["other"] = begun_other(target, rival) if rival else None
    kept = keeper(asked.output)
    course = Course(load, document, kept, before, beside)
    document["calibration"] = load.calibrated()
    course.run()
    return {"file": str(kept(document))}


def options_of(given: Mapping[str, Any]) -> Options:
    """Return options that have travelled through Ansible, which knows lists only."""
    return Options(**{**given, "shards": None if given["shards"] is None else tuple(given["shards"])})


class Asked(Protocol):
    """Load hosts that answer questions, each one the same."""

    names: list[str]

    def ask(self, subject: str, question: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the answer of each."""


def look(together: Asked, asked: Options, target: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what each load host sees of the server; refuse one whose calls do not arrive."""
    server = {name: target[name] for name in ("host", "grpc", "rest")}
    server["tls"] = tls.described(asked) if target["secured"] else None
    seen = together.ask("look", {"target": server, "models": target["models"]})
    for name, found in zip(together.names, seen):
        refusal = unreachable(found, target["host"], name, asked.protocol)
        if refusal:
            raise refusal
    return seen


def load_beside(load: Load, rival: Mapping[str, Any], metadata: Mapping[str, Any]) -> Load:
    """Return the same load on the other instance; refuse one that is not reached or takes other requests.

    :param metadata: by model, what the first instance's server says of it.
    """
    described = look(load.team, load.asked, rival)[0]["metadata"]
    bodies = other.requests(load.requests, load.target, rival, metadata, described)
    return Load(load.asked, rival, bodies, load.team, load.cores, load.tell)


def begun(asked: Options, target: Mapping[str, Any], requests: mix.Mix, load_hosts: list[str]) -> dict[str, Any]:
    """Return the document of a benchmark without any stage."""
    return {
        "schema": 1,
        "kind": asked.kind,
        "instance": asked.instance,
        "model": target["model"],
        "host": target["name"],
        "load_hosts": load_hosts,
        "protocol": asked.protocol,
        "arrivals": asked.arrivals,
        "began": now(),
        "ended": now(),
        "slo_p99_ms": target["slo_ms"],
        "conditions": conditions(target),
        "requests": requests.described,
        "calibration": None,
        "stages": [],
        "host_samples": [],
        "events": [],
        "knee": None,
        "shards": None,
        "comparison": None,
        "other": None,
        "turns": None,
        "verdict": "valid",
        "remarks": [],
    }


def begun_other(target: Mapping[str, Any], rival: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a document says of the other instance, which is measured in turns with the first one."""
    return {
        "instance": rival["instance"],
        "model": other.model_of(target, rival),
        "host": rival["name"],
        "slo_p99_ms": rival["slo_ms"],
        "conditions": conditions(rival),
        "host_samples": [],
    }


def conditions(target: Mapping[str, Any]) -> Any:
    """Return the conditions of a measurement: what the host tells, and the version of this collection."""
    return {**target["conditions"], "collection_version": caller.version()}


def keeper(output: str) -> Callable[[Mapping[str, Any]], Path]:
    """Return what keeps the results so far in a file, as ended for now, and returns its path."""
    return lambda document: file.write(f"{output}.json", publish.written({**document, "ended": now()}))


def now() -> str:
    """Return the present time as it stands in documents."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
