# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The report of a fleet, with equal hosts grouped."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Any, TypeVar

from ansible_collections.tfserving.fleet.plugins.module_utils.topology.schema import Topology
from ansible_collections.tfserving.fleet.plugins.module_utils.visible_text import visible_data

from ..planner.schema import Plan
from . import figures, gpu_names
from .difference import difference
from .host_names import folded
from .machine_map import machine_map
from .sheet import Difference, Group, Part, Report, Sheet

Key = TypeVar("Key", bound=Hashable)


def read(hosts: Mapping[str, Mapping[str, Any]], missing: Iterable[str] = ()) -> Report:
    """Return the report of a fleet, the largest group first.

    :param hosts: for each host its ``topology``, its ``plan`` and ``previous``, the plan in force (empty for none).
    :param missing: hosts that could not be planned.
    """
    sheets: dict[str, Sheet] = {}
    differences: dict[str, Difference] = {}
    for host, known in hosts.items():
        sheets[host], differences[host] = _read_host(known)
    groups = [_group(sheet, names, differences) for sheet, names in _alike(sheets)]
    return Report(len(hosts), tuple(groups), folded(missing))


def changes(known: Mapping[str, Any]) -> Difference:
    """Return the changes that the plan of one host would make."""
    _topology, plan, previous = _plans(known)
    return difference(plan, previous)


def _plans(known: Mapping[str, Any]) -> tuple[Topology, Plan, Mapping[str, Any]]:
    # Device names and records come from the host, and must not inject control characters into the report.
    known = visible_data(known)
    names = gpu_names.short_names(known["topology"])
    plan, previous = (gpu_names.renamed(known.get(key) or {}, names) for key in ("plan", "previous"))
    return known["topology"], plan, previous


def _read_host(known: Mapping[str, Any]) -> tuple[Sheet, Difference]:
    topology, plan, previous = _plans(known)
    server = f"TensorFlow Serving {plan['server']['version']} ({plan['server']['method']})"
    sheet = Sheet(
        server=server,
        machine=machine_map(topology, plan),
        tables=figures.tables(plan),
        figures=figures.figures(plan),
        warnings=tuple(plan["warnings"]),
    )
    return sheet, difference(plan, previous)


def _group(sheet: Sheet, names: list[str], differences: Mapping[str, Difference]) -> Group:
    parts = [
        Part(folded(members), len(members), shared)
        for shared, members in _alike({name: differences[name] for name in names})
    ]
    return Group(folded(names), len(names), sheet, tuple(parts))


def _alike(items: Mapping[str, Key]) -> list[tuple[Key, list[str]]]:
    """Return items with the names that share them, most names first; among equals, items keep their order."""
    together: dict[Key, list[str]] = {}
    for name, item in items.items():
        together.setdefault(item, []).append(name)
    return sorted(together.items(), key=lambda pair: -len(pair[1]))
