# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Arguments of the module model_repository, which takes only a part of a plan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError

# The keys of the plan's models and instances for which the module has options.
MODEL_KEYS = ("name", "versions", "provided", "source", "serve", "contract", "keep", "protected", "path")
INSTANCE_KEYS = ("name", "models", "ports", "flags")


def module_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the task's arguments with models and instances reduced to the keys that the module takes."""
    if "staged" in arguments:
        raise WishError("staged", "is set by this action itself", "remove it from the task")
    taken = dict(arguments)
    for option, keys in (("models", MODEL_KEYS), ("instances", INSTANCE_KEYS)):
        if _is_list_of_mappings(taken.get(option)):
            taken[option] = [{key: entry[key] for key in keys if key in entry} for entry in taken[option]]
    if _is_list_of_mappings(taken.get("models")):
        taken["models"] = [_without_digest(model) for model in taken["models"]]
    return taken


def _is_list_of_mappings(value: Any) -> bool:
    """Return whether a value has the right shape; if not, the module's own argument check reports it."""
    return isinstance(value, (list, tuple)) and all(isinstance(entry, Mapping) for entry in value)


def _without_digest(model: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a model without the digest that stands for possible secrets in its address."""
    if not isinstance(model.get("source"), Mapping):
        return model
    return {**model, "source": {key: value for key, value in model["source"].items() if key != "uri_digest"}}
