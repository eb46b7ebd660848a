# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Whether the other servers can carry the load while some leave."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, TypedDict

from ..phrases import counted, joined

PREFIXES = ("rest_", "grpc_")
# How the backends of a roll-out's arms end (backends.py).
ARMS = ("_canary", "_control")

# What the module gateway_state says of a gateway: its backends by name, each with its servers by name.
Backends = Mapping[str, Mapping[str, Any]]


class Limits(TypedDict):
    """What must be left: servers of each backend, and the share of their places that the load may take."""

    least_servers: int
    most_load: float


LIMITS: Limits = {"least_servers": 1, "most_load": 0.8}


def may_leave(
    gateways: Mapping[str, Backends],
    hosts: Collection[str],
    instances: Sequence[str] = (),
    models: Collection[str] = (),
    limits: Limits = LIMITS,
) -> list[str]:
    """Return why instances may not leave now, one sentence for each reason; an empty list if they may.

    Load is what the servers of a backend hold and what waits for them, as each gateway counts it for itself: every
    gateway has its own part of a server's places. A server that takes no calls already is no loss. Nor is an arm of a
    roll-out without servers, whose calls go to the model's other servers.

    :param gateways: what each gateway says of its backends.
    :param hosts: those whose instances leave.
    :param instances: the instances that leave one after another, on all of these hosts at a time; empty for all that
        the hosts have, at once.
    :param models: those that the gateways serve.
    """
    reasons: list[str] = []
    for leaving in [[name] for name in instances] or [[]]:
        for gateway, backends in gateways.items():
            for name, backend in _pools(backends, models).items():
                if name.startswith(PREFIXES):
                    reasons += _backend(f"{name} on {gateway}", backend, set(hosts), leaving, limits)
    return list(dict.fromkeys(reasons))


def served(fleet: Any) -> set[str]:
    """Return the models in what a gateway remembers of the serving hosts, which is a file that may be damaged."""
    hosts = [each for each in fleet.values() if isinstance(each, Mapping)] if isinstance(fleet, Mapping) else []
    instances = [each for host in hosts for each in _list(host.get("instances")) if isinstance(each, Mapping)]
    return {str(model) for each in instances for model in _list(each.get("models"))}


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else []


def _pools(backends: Backends, models: Collection[str]) -> dict[str, Mapping[str, Any]]:
    """Return the backends, each with the servers and calls of the arms that it stands in for."""
    found: dict[str, Mapping[str, Any]] = {}
    for name, backend in backends.items():
        whole = _whole(name, models)
        pool = whole if whole in backends else name
        found[pool] = _together(found[pool], backend) if pool in found else backend
    return found


def _whole(name: str, models: Collection[str]) -> str:
    """Return the backend of all calls of a model for that of an arm, else the same."""
    for prefix in PREFIXES:
        model = name.removeprefix(prefix)
        for end in ARMS:
            if model != name and model not in models and model.endswith(end) and model.removesuffix(end) in models:
                return prefix + model.removesuffix(end)
    return name


def _together(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    servers = {name: dict(server) for name, server in one["servers"].items()}
    for name, server in other["servers"].items():
        known = servers.get(name)
        if known is None or not _takes_calls(known):
            servers[name] = {**server, **_sums(known or {}, server)}
        else:
            servers[name] = {**known, **_sums(known, server)}
    return {"qcur": _count(one, "qcur") + _count(other, "qcur"), "servers": servers}


def _sums(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, int]:
    return {name: _count(one, name) + _count(other, name) for name in ("scur", "qcur")}


def unheard(gateways: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return which gateways do not say what their servers carry, one sentence for each.

    :param gateways: what the module gateway_state says of each.
    """
    return [
        f"{name} does not say what its servers carry ({'; '.join(map(str, seen.get('problems') or []))})"
        for name, seen in gateways.items()
        if seen.get("silent")
    ]


def _backend(
    where: str, backend: Mapping[str, Any], hosts: Collection[str], instances: Collection[str], limits: Limits
) -> Iterator[str]:
    up = {name: server for name, server in backend["servers"].items() if _takes_calls(server)}
    going = sorted(name for name in up if _leaves(name, hosts, instances))
    left = [server for name, server in up.items() if name not in going]
    if not going:
        return
    if len(left) < limits["least_servers"]:
        yield f"{where} would have {counted(len(left), 'server')} left without {joined(going)}"
        return
    load = _count(backend, "qcur") + sum(_count(server, "scur") + _count(server, "qcur") for server in up.values())
    places = [_count(server, "slim") for server in left]
    # A server without a limit takes any number of calls.
    if all(places) and load > sum(places) * limits["most_load"]:
        yield (
            f"{where} would have {counted(sum(places), 'place')} left without {joined(going)}, and"
            f" {counted(load, 'call')} would take more than {limits['most_load']:.0%} of them"
        )


def _leaves(server: str, hosts: Collection[str], instances: Collection[str]) -> bool:
    """Return whether a server leaves; its name ends in that of the instance, which has no dot."""
    host, _dot, instance = server.rpartition(".")
    return host in hosts and (not instances or instance in instances)


def _takes_calls(server: Mapping[str, Any]) -> bool:
    """Return whether a server takes new calls: ``UP``, ``UP 1/2`` and ``no check`` do."""
    return str(server.get("status")).startswith(("UP", "no check"))


def _count(figures: Mapping[str, Any], name: str) -> int:
    value = figures.get(name)
    return value if isinstance(value, int) else 0
