# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What hosts say of themselves, checked: plans of hosts that a run leaves out come from files on those hosts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError, kind

from ..server.batch_size import largest_batch
from ..wishes import cache, checks
from .schema import FleetHost

LONGEST_CALL_S = 86_400

_longest = checks.within(0.001, LONGEST_CALL_S, "seconds")
_number = checks.count()


def host(name: str, given: Any) -> FleetHost:
    """Return what a gateway reads of a host, and nothing else, or raise WishError."""
    path = f"plan of {name}"
    entry = checks.mapping(path, given)
    return {
        "address": str(entry.get("address")),
        "gate_port": checks.PORT_FIELDS["rest"](f"{path}.gate_port", entry.get("gate_port")),
        "longest_call_s": _longest(f"{path}.longest_call_s", entry.get("longest_call_s")),
        "instances": [_instance(at, each) for at, each in _entries(f"{path}.instances", entry.get("instances"))],
        "models": [_model(at, each) for at, each in _entries(f"{path}.models", entry.get("models"))],
    }


def _entries(path: str, given: Any) -> list[tuple[str, dict[str, Any]]]:
    if not isinstance(given, (list, tuple)):
        raise WishError(path, f"is {kind(given)}", "run site.yml on this host again")
    if len(given) > checks.MOST_ENTRIES:
        raise WishError(path, f"holds {len(given)} entries", f"use at most {checks.MOST_ENTRIES}")
    places = [f"{path}[{place}]" for place in range(len(given))]
    return [(at, checks.mapping(at, each)) for at, each in zip(places, given)]


def _model(path: str, given: Mapping[str, Any]) -> dict[str, Any]:
    versions = given.get("versions") or []
    return {
        "name": checks.model_name(f"{path}.name", given.get("name")),
        "versions": checks.versions(f"{path}.versions", versions) if versions else [],
        "sha256": checks.mapping(f"{path}.sha256", given.get("sha256") or {}),
        "cache": cache.cache(f"{path}.cache", given["cache"]) if given.get("cache") else None,
    }


def _instance(path: str, given: Mapping[str, Any]) -> dict[str, Any]:
    batching = given.get("batching")
    return {
        "name": checks.instance_name(f"{path}.name", given.get("name")),
        "models": checks.model_names(f"{path}.models", given.get("models")),
        "ports": _both(f"{path}.ports", given.get("ports"), checks.PORT_FIELDS["rest"], ("grpc", "rest")),
        "threads": _both(f"{path}.threads", given.get("threads"), _number, ("grpc", "rest")),
        "batching": batching and _batching(f"{path}.batching", batching),
        "objective_p99_ms": checks.milliseconds(f"{path}.objective_p99_ms", given.get("objective_p99_ms")),
        "served": _served(f"{path}.model_config", given.get("model_config")),
        "encrypts": bool(checks.mapping(f"{path}.flags", given.get("flags") or {}).get("ssl_config_file")),
    }


def _batching(path: str, given: Any) -> dict[str, int]:
    found = checks.mapping(path, given)
    rows = _number(f"{path}.max_batch_size", largest_batch(found))
    return {"max_batch_size": rows, **_both(path, found, _number, ("num_batch_threads",))}


def _both(path: str, given: Any, check: checks.Check, keys: Sequence[str]) -> dict[str, int]:
    found = checks.mapping(path, given)
    return {key: check(f"{path}.{key}", found.get(key)) for key in keys}


def _served(path: str, given: Any) -> dict[str, dict[str, Any]]:
    """Return the version policy and the labels of each model, from a ModelServerConfig."""
    inner = checks.mapping(path, checks.mapping(path, given or {}).get("model_config_list") or {})
    return {
        checks.model_name(f"{at}.name", each.get("name")): {
            **_policy(f"{at}.model_version_policy", each.get("model_version_policy") or {}),
            "labels": checks.labels(f"{at}.version_labels", each.get("version_labels") or {}),
        }
        for at, each in _entries(f"{path}.config", inner.get("config") or [])
    }


def _policy(path: str, given: Any) -> dict[str, Any]:
    """Return the versions that are named, or how many of the newest are served (0: all of them)."""
    policy = checks.mapping(path, given)
    if "specific" in policy:
        named = checks.mapping(f"{path}.specific", policy["specific"]).get("versions")
        return {"versions": checks.versions(f"{path}.specific.versions", named), "newest": 0}
    newest = checks.mapping(f"{path}.latest", policy.get("latest") or {}).get("num_versions") or 1
    return {"versions": None, "newest": 0 if "all" in policy else _number(f"{path}.latest.num_versions", newest)}
