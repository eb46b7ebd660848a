# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Possible secrets in the wishes: the plan has keyed digests of them, and the values travel beside the plan.

A plan is printed, kept on the host and passed around. Names do not tell which values are secret, so the plan contains
none of the values that users give to a server's environment, and no address with user, query or fragment.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.module_utils.host.plan_key import sealed
from ansible_collections.tfserving.fleet.plugins.module_utils.models.sources import table as sources
from ansible_collections.tfserving.fleet.plugins.module_utils.web.address import public, shown

from . import checks as wish_fields
from .read import InstanceWish, ModelWish, Wishes

# Beside the releases, for the time of an installation.
BROUGHT = ".brought-archive"


def planned_environment(wish: InstanceWish, variables: Mapping[str, str], key: str) -> dict[str, dict[str, str]]:
    """Return the plan's entries for an instance's ``variables``: its own with values, the user's as digests."""
    return {
        "environment": {name: value for name, value in variables.items() if name not in wish.environment},
        "environment_digests": {
            name: sealed(key, _variable(wish.name, name), wish.environment[name]) for name in sorted(wish.environment)
        },
    }


def planned_source(model: ModelWish, key: str) -> dict[str, Any]:
    """Return the plan's entry for the source of a model."""
    hidden, uri = sources.hidden(model.source), model.source["uri"]
    source = {name: wish_fields.plain(value) for name, value in model.source.items() if name not in hidden - {"uri"}}
    if "uri" in hidden:
        source |= {"uri": public(uri), "uri_digest": sealed(key, f"models.{model.name}.uri", uri)}
    return source


def secrets(asked: Wishes, key: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a plan leaves out: ``{key, environment: {instance: variables}, sources: {model: {uri, headers}}}``.

    ``sources`` has only models of which the plan leaves anything out. Beside them is ``archive``, as ``archive``
    returns it.
    """
    hidden = {name: sources.hidden(model.source) for name, model in asked.models.items()}
    return {
        "key": key,
        "environment": {wish.name: dict(wish.environment) for wish in asked.instances},
        "sources": {
            name: {each: wish_fields.plain(asked.models[name].source[each]) for each in sorted(names)}
            for name, names in hidden.items()
            if names
        },
        "archive": archive(settings),
    }


def archive(settings: Mapping[str, Any]) -> dict[str, str]:
    """Return where the archive of the wanted release comes from; ``settings`` are the complete policy.

    ``local`` is its path on the controller and ``brought`` where it is put on the host, ``address`` what to fetch where
    a part of it may be secret; then ``sha256`` and ``binary`` as wished. What is not so is empty.
    """
    if settings["install_method"] != "archive":
        return dict.fromkeys(("local", "brought", "address", "sha256", "binary"), "")
    entries = {str(version): entry for version, entry in settings["releases"]["archives"].items()}
    wish = entries[str(settings["version"])]
    uri = wish["uri"]
    local = uri.startswith("/")
    return {
        "local": uri if local else "",
        "brought": f"{settings['releases']['root']}/{BROUGHT}" if local else "",
        "address": uri if shown(uri) != uri else "",
        "sha256": wish["sha256"],
        "binary": wish.get("binary") or "",
    }


def environment(instance: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, str]:
    """Return all variables of a planned instance; ``known`` is the result of ``secrets``.

    Raise WishError if the plan refers to a value that is not in it, as the plan of an earlier run may.
    """
    wished = (known.get("environment") or {}).get(instance["name"]) or {}
    result = dict(instance["environment"])
    for name, digest in (instance.get("environment_digests") or {}).items():
        variable = _variable(instance["name"], name)
        if name not in wished or sealed(known.get("key") or "", variable, wished[name]) != digest:
            path = f"instances.{instance['name']}.environment.{name}"
            raise WishError(path, "had a value that only the host knows", "leave the file there as it is")
        result[name] = wished[name]
    return result


def _variable(instance: str, name: str) -> str:
    return f"instances.{instance}.environment.{name}"
