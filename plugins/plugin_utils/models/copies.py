# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Versions that hosts copy from each other, as the controller knows them from its own copy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.models import wanted
from ansible_collections.tfserving.fleet.plugins.module_utils.models.sources import table as sources

from . import parcels
from .arguments import beside


def named(models: Any) -> list[dict[str, Any]]:
    """Return names and versions of the plan's models. Raises WishError."""
    return [{"name": model.name, "versions": list(model.versions)} for model in wanted.read_wanted(models or [], [])]


def manifest(arguments: Mapping[str, Any], origins: parcels.Origins, cache: str) -> dict[str, Any]:
    """Return the manifest of the version that a task names, or raise WishError."""
    model, version = _named(arguments)
    if not is_sent(arguments):
        problem = f"version {version} of {model.name} does not come from the controller"
        raise WishError(f"{model.where}.source", problem, "let hosts copy only what the controller would send")
    return parcels.manifest_of(_need(model, version), origins, cache)


def size(arguments: Mapping[str, Any], origins: parcels.Origins, cache: str) -> int:
    """Return the bytes of the version that a task names, without reading them; 0 if the controller has no copy yet.

    Raises WishError.
    """
    model, version = _named(arguments)
    return 0 if sources.of(model.source).imported else parcels.size_of(_need(model, version), origins, cache)


def is_sent(arguments: Mapping[str, Any]) -> bool:
    """Return whether the version that a task names is one that the controller sends. Raises WishError."""
    model, version = _named(arguments)
    return sources.of(model.source).sent and version in model.provides


def _need(model: wanted.Wanted, version: int) -> parcels.Need:
    request = wanted.Request(model, version)
    return {"key": request.key, "uri": request.uri, "sha256": request.sha256, "where": model.where}


def _named(arguments: Mapping[str, Any]) -> tuple[wanted.Wanted, int]:
    name = arguments.get("model")
    for model in wanted.read_wanted(arguments.get("models") or [], [], beside(arguments.get("sources")) or {}):
        if model.name == name:
            return model, wanted.version_number(arguments.get("version"), "version")
    raise WishError("model", f"{name!r} is not in models", "name one of them")
