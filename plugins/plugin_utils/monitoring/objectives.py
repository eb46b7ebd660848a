# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What the instances of the fleet have promised, from the plans of their hosts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..phrases import joined
from ..signals.model import Objective
from .schema import Served, WatchedHost


def objectives(serving: Mapping[str, WatchedHost], availability: float) -> tuple[list[Objective], list[str]]:
    """Return one objective for each name of an instance, and sentences about hosts that promise different things.

    A caller does not choose the host, so what counts is the strictest of them. Of batches the smallest counts: the
    host that fills up first is the one that is full.
    """
    members: dict[str, dict[str, Served]] = {}
    for host, entry in sorted(serving.items()):
        for each in entry["instances"]:
            members.setdefault(each["name"], {})[host] = each
    found = [_objective(name, list(some.values()), availability) for name, some in sorted(members.items())]
    return found, [sentence for name, some in sorted(members.items()) for sentence in _differing(name, some)]


def _objective(name: str, members: list[Served], availability: float) -> Objective:
    return Objective(
        serving_instance=name,
        models=tuple(sorted({model for each in members for model in each["models"]})),
        p99_ms=min(each["objective_p99_ms"] for each in members),
        availability=availability,
        max_batch_size=_least(each["max_batch_size"] for each in members),
        batch_timeout_us=_least(each["batch_timeout_us"] for each in members),
        batch_threads=_least(each["batch_threads"] for each in members),
    )


def _least(values: Iterable[int | None]) -> int | None:
    known = [each for each in values if each is not None]
    return min(known) if known else None


def _differing(name: str, members: Mapping[str, Served]) -> list[str]:
    by_objective: dict[float, list[str]] = {}
    for host, each in members.items():
        by_objective.setdefault(each["objective_p99_ms"], []).append(host)
    if len(by_objective) < 2:
        return []
    shown = joined([f"{limit:g} ms on {hosts[0]}" for limit, hosts in sorted(by_objective.items())])
    return [f"the objective of {name} is {shown}; alerts go by the strictest, as callers do not choose the host"]
