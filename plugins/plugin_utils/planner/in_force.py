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
from ansible_collections.tfserving.fleet.plugins.module_utils.host.plan_record import REMEDY
from ansible_collections.tfserving.fleet.plugins.module_utils.models.wanted import served

from ..wishes.checks import MOST_ENTRIES

Record = Mapping[str, Any]

_LABELS = {str: int}
# What this module reads of a model; the record itself is checked where it is read, but not as deep.
_MODEL = {
    "name": str,
    "versions": [int],
    "serve?": {"versions?": [int], "labels?": _LABELS, "latest?": int, "all?": bool},
}


def of_plan(plan: Record) -> dict[str, dict[str, Any]]:
    """Return the versions and labels of each model that an instance of a recorded plan serves. Raises WishError."""
    in_use = {name for instance in plan.get("instances") or () for name in instance.get("models") or ()}
    return {model["name"]: _served(model) for model in plan.get("models") or () if model["name"] in in_use}


def _served(model: Record) -> dict[str, Any]:
    if not fits(model, _MODEL) or not model["versions"]:
        raise WishError(f"{defaults.CONFIG}/plan.json", "does not say which versions of a model are in force", REMEDY)
    serve = model.get("serve") or {}
    return {"versions": sorted(served(serve, model["versions"])), "labels": dict(serve.get("labels") or {})}


def of_fleet(records: Sequence[Record], absent: Iterable[str] = ()) -> dict[str, Any]:
    """Return what most hosts of a run serve, and everything that any of them has reverted.

    ``absent`` are the hosts of the fleet that take no part. They are returned as ``unseen`` where no host of the run
    has a record, and are at least as many: then those records are not to be guessed.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    before: dict[str, list[dict[str, Any]]] = {}
    reverted: dict[str, dict[str, str]] = {}
    for record in records:
        for name, served_here in of_plan(record.get("plan") or {}).items():
            found.setdefault(name, []).append(served_here)
        for name, known in (record.get("rollouts") or {}).items():
            reverted[name] = {**known.get("reverted", {}), **reverted.get(name, {})}
            if known.get("previous"):
                before.setdefault(name, []).append(known["previous"])
    in_force = {name: _most(each) for name, each in found.items()}
    for name, each in before.items():
        if name in in_force:
            in_force[name]["previous"] = _most(each)
    others = sorted(absent)
    known_here = any(record.get("plan") for record in records)
    unseen = [] if known_here or len(others) < len(records) else others[:MOST_ENTRIES]
    return {"in_force": in_force, "reverted": reverted, "unseen": unseen}


def of_host(record: Record, fleet: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a host serves by its own record; for models that it does not serve yet, what the fleet serves."""
    own = of_fleet([record])
    shared = fleet.get("in_force") or {}
    mine = {name: {**_before(shared.get(name)), **each} for name, each in own["in_force"].items()}
    joining = {name: {**each, "by_fleet": True} for name, each in shared.items() if name not in mine}
    reverted = dict(fleet.get("reverted") or {})
    for name, each in own["reverted"].items():
        reverted[name] = {**reverted.get(name, {}), **each}
    return {"in_force": {**joining, **mine}, "reverted": reverted, "unseen": list(fleet.get("unseen") or ())}


def _before(known: Mapping[str, Any] | None) -> dict[str, Any]:
    return {"previous": known["previous"]} if known and "previous" in known else {}


def _most(each: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the entry that most have; among equals, the one with the older versions, which has stood longer."""
    votes = Counter((tuple(one["versions"]), tuple(sorted(one["labels"].items()))) for one in each)
    (versions, labels), _count = min(votes.items(), key=lambda vote: (-vote[1], vote[0]))
    return {"versions": list(versions), "labels": dict(labels)}
