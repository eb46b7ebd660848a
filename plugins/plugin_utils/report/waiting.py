# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The versions that wait for a roll-out, as sentences."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from . import words as values
from .host_names import folded

Data = Mapping[str, Any]


def sentences(plan: Data) -> tuple[str, ...]:
    """Return a sentence for each model of a plan that waits: ``ranker 7 -> 8 waits for rollout.yml``."""
    return tuple(_sentence(model) for model in plan.get("models") or () if model.get("waits"))


def _sentence(model: Data) -> str:
    waits = model["waits"]
    # The versions are the same where only labels are to move.
    sides = waits if waits["from"] != waits["to"] else waits["labels"]
    before, after = (values.described("", _listed(sides[side])) for side in ("from", "to"))
    return f"{model['name']} {before} -> {after} waits for rollout.yml"


def _listed(served: Any) -> Any:
    return (
        [f"{label} {version}" for label, version in sorted(served.items())] if isinstance(served, Mapping) else served
    )


def summary(plans: Mapping[str, Data], command: Callable[[str], str]) -> str:
    """Return what waits on which hosts, each with the command that goes on; empty where nothing does.

    ``plans`` are those of the hosts, by name; ``command`` returns the command for a model.
    """
    hosts: dict[tuple[str, str], list[str]] = {}
    for host, plan in plans.items():
        for model in plan.get("models") or ():
            if model.get("waits"):
                hosts.setdefault((_sentence(model), model["name"]), []).append(host)
    return "\n".join(f"{sentence} ({folded(names)}):\n  {command(model)}" for (sentence, model), names in hosts.items())
