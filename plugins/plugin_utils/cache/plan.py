# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The plan of a gateway's cache, from the wishes of models and the servers of each."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError

from .pins import Member, pins
from .schema import CachedModel, CachePlan, Pin, Watched
from .stores import check_engine, store

KIB = 1024
# Servers of all pins together: a tenth of a core.
MOST_ASKED = 200
_DIGITS = 12
# Beside the answers: bodies of requests while they wait, and answers that are not kept.
_LEAST_SPARE_MB = 32
_SPARE_SHARE = 4
# The allocator's share, threads, the log in memory, and the compiler, which Varnish runs at its start.
_ALLOCATOR = 1.2
_PROGRAM_MB = 256
# Four workers with 16 MB of marks, and some 2,000 calls at once whose answers pass through.
_NGINX_MB = 1024
# What Redis counts against maxmemory leaves out what its allocator cannot give back.
_FRAGMENTED = 1.5
_REDIS_MB = 64

_REASONS = {
    "memory_mb": "gateway_cache_memory_mb; what was used longest ago goes first",
    "spare_mb": "a quarter of it for bodies of requests that wait and answers that are not kept; without a limit these"
    " would take any amount",
    "unit_memory_mb": "both, a fifth for the allocator, and 256 MB for threads, the log and the compiler of its start",
}

_NGINX_REASONS = {
    "unit_memory_mb": "four workers, 16 MB of marks, and 2,000 calls whose answers pass through",
    "store_memory_mb": "what Redis may keep, half as much for what its allocator cannot give back, and 64 MB",
}


def wished(hosts: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the wish of each model that has one, or raise WishError where hosts differ.

    :param hosts: by name, with ``models`` that have a ``name`` and perhaps a ``cache``.
    """
    found: dict[str, tuple[str, Any]] = {}
    for host, entry in hosts.items():
        for model in entry["models"]:
            other, wish = found.setdefault(model["name"], (host, model["cache"]))
            if wish != model["cache"]:
                problem = f"gives {model['name']} another cache on {host} than on {other}"
                raise WishError("tfserving_models", problem, "write one wish for all hosts")
    return {name: wish for name, (_, wish) in sorted(found.items()) if wish}


def cache_plan(
    wishes: Mapping[str, Mapping[str, Any]],
    members: Mapping[str, Sequence[Member]],
    backends: Mapping[str, Mapping[str, Any]],
    moving: Collection[str],
    memory_mb: int,
    logged: bool = True,
    engine: str = "varnish",
    wish_of_store: Mapping[str, Any] | None = None,
) -> tuple[CachePlan, list[str]]:
    """Return the cache of a gateway, and sentences about what it will not remember.

    :param members: the servers of each model.
    :param backends: the backend of each model's REST calls.
    :param logged: whether each call is a line of the log, which shadow mode lives on.
    :param engine: what answers, of stores.ENGINES.
    :param wish_of_store: where nginx finds its Redis, checked by stores.store_wish.
    :param moving: the models with a roll-out under way, whose shares of calls a cache would change.
    """
    check_engine(engine, wish_of_store or {})
    found: list[Pin] = []
    models: list[CachedModel] = []
    said: list[str] = []
    for name, wish in wishes.items():
        if name not in members:
            continue
        if name in moving:
            said.append(f"cache of {name}: stands aside until the roll-out of {name} is over")
            continue
        some, words = pins(name, members[name], _watched(backends[name]))
        models.append(_model(name, wish, backends[name]))
        found += some
        said += words
    _check_asked(found)
    if not logged:
        said += [
            f"cache of {each['name']}: is in shadow mode, and gateway_log_calls is false, so nothing is counted"
            for each in models
            if each["shadow"]
        ]
    live = any(not each["shadow"] for each in models)
    spare = max(_LEAST_SPARE_MB, memory_mb // _SPARE_SHARE)
    place = store(wish_of_store or {})
    plan: CachePlan = {
        "live": live,
        "engine": engine,
        "store": place,
        "generation": _generation([each for each in models if not each["shadow"]], memory_mb, engine, place),
        "memory_mb": memory_mb,
        "spare_mb": spare,
        "unit_memory_mb": _NGINX_MB if engine == "nginx" else math.ceil(memory_mb * _ALLOCATOR) + spare + _PROGRAM_MB,
        "store_memory_mb": math.ceil(memory_mb * _FRAGMENTED) + _REDIS_MB,
        "models": models,
        "pins": found,
        "reasons": {**_REASONS, **(_NGINX_REASONS if engine == "nginx" else {})} if live else {},
    }
    return plan, said


def _check_asked(found: Sequence[Pin]) -> None:
    """Refuse more checks than a gateway should carry: each takes some 100 us of it, five times a second."""
    asked = sum(len(pin["servers"]) for pin in found)
    if asked > MOST_ASKED:
        raise WishError(
            "tfserving_models",
            f"has caches for which {asked} servers would be asked for their versions, and {MOST_ASKED} are the most",
            "remember fewer models, or fewer of their labels",
        )


def _generation(models: Sequence[CachedModel], *others: object) -> str:
    """Return a digest that stays the same while versions and hosts change, as the store knows none of them."""
    text = json.dumps([list(models), *others], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


def _watched(backend: Mapping[str, Any]) -> list[Watched]:
    return [{"name": each["name"], "endpoint": each["endpoint"]} for each in backend["servers"]]


def _model(name: str, wish: Mapping[str, Any], backend: Mapping[str, Any]) -> CachedModel:
    return {
        "name": name,
        "shadow": wish["shadow"],
        "ttl_s": wish["ttl_s"],
        "max_body_bytes": wish["max_body_kb"] * KIB,
        "max_answer_bytes": wish["max_answer_kb"] * KIB,
        "queue_ms": backend["queue_ms"],
        "server_ms": backend["server_ms"],
    }
