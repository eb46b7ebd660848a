# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The report as data, for pipelines: the changes on each host, and its plan without private parts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.visible_text import visible_data

from .groups import changes
from .sheet import Change, Difference
from .words import HIDDEN

# The schema of this document, described in docs/ci.md.
SCHEMA = 1
# Keys of a model left out: its source and its proof.
_PRIVATE = ("source", "probe", "golden", "contract", "proofs")


def data(hosts: Mapping[str, Mapping[str, Any]], missing: Iterable[str] = ()) -> dict[str, Any]:
    """Return the report of a fleet; ``hosts`` and ``missing`` are those of ``groups.read``."""
    known = {host: _host(given) for host, given in hosts.items()}
    changing = [host for host, found in known.items() if found["would_change"]]
    return {
        "schema": SCHEMA,
        "would_change": bool(changing),
        "changing": changing,
        "missing": sorted(missing),
        "hosts": known,
    }


def _host(given: Mapping[str, Any]) -> dict[str, Any]:
    difference = changes(given)
    plan = visible_data(given["plan"])
    return {
        "would_change": not difference.empty,
        "first": difference.first,
        "instances": _instances(difference),
        "host": _changes(difference.host),
        "warnings": list(plan["warnings"]),
        "plan": _public(plan),
    }


def _instances(difference: Difference) -> list[dict[str, Any]]:
    return [
        {"name": verdict.name, "effect": verdict.effect, "changes": _changes(verdict.changes)}
        for verdict in difference.instances
    ]


def _changes(changed: Sequence[Change]) -> list[dict[str, str]]:
    return [{"path": change.path, "before": change.before, "after": change.after} for change in changed]


def _public(plan: Mapping[str, Any]) -> dict[str, Any]:
    """Return the public part of a plan: models without their sources, and only the names of variables."""
    models = [{key: value for key, value in model.items() if key not in _PRIVATE} for model in plan["models"]]
    instances = [
        {**instance, "environment_digests": dict.fromkeys(instance.get("environment_digests") or (), HIDDEN)}
        for instance in plan["instances"]
    ]
    return {**plan, "models": models, "instances": instances}
