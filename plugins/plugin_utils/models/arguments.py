# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Arguments of the module model_repository: a part of a plan, and nothing that the controller keeps to itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.models.sources import table as sources

# The keys of the plan's models and instances for which the module has options.
MODEL_KEYS = (
    *(
        "name",
        "versions",
        "provided",
        "source",
        "serve",
        "contract",
        "probe",
        "golden",
        "warmup",
        "proofs",
        "keep",
        "protected",
        "path",
    ),
)
INSTANCE_KEYS = ("name", "models", "ports", "flags", "batching")


def module_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the task's arguments with models and instances reduced to the keys that the module takes."""
    if "staged" in arguments:
        raise WishError("staged", "is set by this action itself", "remove it from the task")
    taken = dict(arguments)
    for option, keys in (("models", MODEL_KEYS), ("instances", INSTANCE_KEYS)):
        if _is_list_of_mappings(taken.get(option)):
            taken[option] = [{key: entry[key] for key in keys if key in entry} for entry in taken[option]]
    if _is_list_of_mappings(taken.get("models")):
        taken["models"] = [_sent(model) for model in taken["models"]]
    if taken.get("sources"):
        taken["sources"] = _without_kept(taken["sources"])
    return taken


def _is_list_of_mappings(value: Any) -> bool:
    """Return whether a value has the right shape; if not, the module's own argument check reports it."""
    return isinstance(value, (list, tuple)) and all(isinstance(entry, Mapping) for entry in value)


def _sent(model: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a model without the digest that stands for possible secrets in its address, and without credentials."""
    if not isinstance(model.get("source"), Mapping):
        return model
    left = {"uri_digest", *sources.kept()}
    return {**model, "source": {key: value for key, value in model["source"].items() if key not in left}}


def beside(text: Any) -> dict[str, dict[str, Any]] | None:
    """Return what the argument ``sources`` says, by name of the model; None for what the module refuses."""
    try:
        found = json.loads(text or "{}")
    except (TypeError, ValueError, RecursionError):
        return None
    right = isinstance(found, dict) and all(isinstance(entry, dict) for entry in found.values())
    return found if right else None


def _without_kept(text: Any) -> Any:
    found, kept = beside(text), sources.kept()
    if found is None:
        return text
    return json.dumps({name: {key: each[key] for key in each if key not in kept} for name, each in found.items()})
