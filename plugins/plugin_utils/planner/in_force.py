# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Which versions of each model are in force: on a host by its own record, else by those of the rest of the fleet.

The results are the keys ``in_force``, ``reverted`` and ``unseen`` of the policy. ``records`` are what host_topology
returned of each host: ``plan``, the plan in force, and ``rollouts``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils import defaults
from ansible_collections.tfserving.fleet.plugins.module_utils.disk.plain_files import fits
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.golden import proofs
from ansible_collections.tfserving.fleet.plugins.module_utils.host.plan_record import REMEDY
from ansible_collections.tfserving.fleet.plugins.module_utils.models.wanted import served
from ansible_collections.tfserving.fleet.plugins.module_utils.serving.versions_text import Move

from ..wishes.checks import MOST_ENTRIES

Record = Mapping[str, Any]

_LABELS = {str: int}
# What this module reads of a model; the record itself is checked where it is read, but not as deep.
_MODEL = {
    "name": str,
    "versions": [int],
    "serve?": {"versions?": [int], "labels?": _LABELS, "latest?": int, "all?": bool},
    "protected?": [int],
    "proofs?": {str: dict},
}
# All that is read of a model here, by its name in the record.
KEYS = tuple(key.rstrip("?") for key in (*_MODEL, "memory_mb"))


def of_plan(plan: Record) -> dict[str, dict[str, Any]]:
    """Return what a recorded plan serves of each model that one of its instances serves. Raises WishError.

    That is its versions and labels, and what proves these versions and those that a rollback goes back to.
    """
    in_use = {name for instance in plan.get("instances") or () for name in instance.get("models") or ()}
    return {model["name"]: _served(model) for model in plan.get("models") or () if model["name"] in in_use}


def _served(model: Record) -> dict[str, Any]:
    if not fits(model, _MODEL) or not model["versions"]:
        raise WishError(f"{defaults.CONFIG}/plan.json", "does not say which versions of a model are in force", REMEDY)
    serve = model.get("serve") or {}
    versions = sorted(served(serve, model["versions"]))
    size = {"memory_mb": model["memory_mb"]} if model.get("memory_mb") is not None else {}
    proven = {str(version): _proof(model, version) for version in (*versions, *model.get("protected", ()))}
    return {"versions": versions, "labels": dict(serve.get("labels") or {}), "proofs": proven, **size}


def _proof(model: Record, version: int) -> dict[str, Any]:
    found = proofs.of_version(model, version)
    return {key: found[key] for key in proofs.KEYS if found.get(key) is not None}


def of_fleet(records: Sequence[Record], absent: Iterable[str] = ()) -> dict[str, Any]:
    """Return what most hosts of a run serve, and what the newest record of each roll-out says.

    ``absent`` are the hosts of the fleet that take no part. They are returned as ``unseen`` where no host of the run
    has a record, and are at least as many: then those records are not to be guessed.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    newest: dict[str, Record] = {}
    for record in records:
        for name, here in of_plan(record.get("plan") or {}).items():
            found.setdefault(name, []).append(here)
        # A host that a roll-out did not reach any more has an older one.
        for name, known in (record.get("rollouts") or {}).items():
            newest[name] = max(newest.get(name, known), known, key=lambda each: each["age"])
    others = sorted(absent)
    is_known = any(record.get("plan") for record in records)
    return {
        "in_force": {name: _most(each) for name, each in found.items()},
        "moves": {name: [known["old"], known.get("new")] for name, known in newest.items()},
        "reverted": {name: known["reverted"] for name, known in newest.items()},
        "unseen": [] if is_known or len(others) < len(records) else others[:MOST_ENTRIES],
    }


def of_host(record: Record, fleet: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a host serves by its own record; for models that it does not serve yet, what the fleet serves.

    ``fleet`` is the result of ``of_fleet`` for records of which this is one.
    """
    in_force = {**fleet["in_force"], **of_plan(record.get("plan") or {})}
    moves = {name: Move(*versions) for name, versions in fleet["moves"].items()}
    return {
        "in_force": {
            name: {**each, "previous": {"versions": moves[name].before(each["versions"])}} if name in moves else each
            for name, each in in_force.items()
        },
        "reverted": fleet["reverted"],
        "unseen": fleet["unseen"],
    }


def _most(each: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the entry that most have; among equals, the one with the older versions, which has stood longer."""
    votes = Counter(map(_vote, each))
    most = min(votes, key=lambda vote: (-votes[vote], vote))
    return next(one for one in each if _vote(one) == most)


def _vote(one: Mapping[str, Any]) -> tuple[tuple[int, ...], tuple[tuple[str, int], ...]]:
    return tuple(one["versions"]), tuple(sorted(one["labels"].items()))
