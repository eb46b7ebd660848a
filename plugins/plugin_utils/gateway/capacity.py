# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Whether the other servers can carry the load while some leave."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Pool:
    """A backend while some of its servers leave: those, the places of each of the others, and the calls for all."""

    going: Sequence[str]
    left: Mapping[str, int]
    load: int

    @property
    def strain(self) -> float:
        """Return the part of its servers' places that its calls take; a server without a limit takes any number."""
        return self.load / sum(self.left.values()) if self.left and all(self.left.values()) else 0.0


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
    gateway has its own part of a server's places. A server has these places once for all of its backends, those of
    both protocols and of each of its models. A server that takes no calls already is no loss. Nor is an arm of a
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
            pools = {
                f"{name} on {gateway}": _pool(backend, hosts, leaving)
                for name, backend in _pools(backends, models).items()
                if name.startswith(PREFIXES)
            }
            alone = [reason for name, pool in pools.items() for reason in _alone(name, pool, limits)]
            reasons += alone or _together_with_others(pools, limits)
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


def _pool(backend: Mapping[str, Any], hosts: Collection[str], instances: Collection[str]) -> Pool:
    up = {name: server for name, server in backend["servers"].items() if _takes_calls(server)}
    going = sorted(name for name in up if _leaves(name, hosts, instances))
    load = _count(backend, "qcur") + sum(_count(server, "scur") + _count(server, "qcur") for server in up.values())
    return Pool(going, {name: _count(server, "slim") for name, server in up.items() if name not in going}, load)


def _alone(where: str, pool: Pool, limits: Limits) -> Iterator[str]:
    """Say why a backend cannot do without those who leave, whatever its servers do for others."""
    if not pool.going:
        return
    if len(pool.left) < limits["least_servers"]:
        yield f"{where} would have {counted(len(pool.left), 'server')} left without {joined(pool.going)}"
    elif pool.strain > limits["most_load"]:
        yield (
            f"{where} would have {counted(sum(pool.left.values()), 'place')} left without {joined(pool.going)}, and"
            f" {counted(pool.load, 'call')} would take more than {limits['most_load']:.0%} of them"
        )


def _together_with_others(pools: Mapping[str, Pool], limits: Limits) -> Iterator[str]:
    """Say which server would have the least room for the calls of all of its backends, if that is too little."""
    losing = {name for pool in pools.values() if pool.going for name in pool.left}
    mine = {server: [name for name, pool in pools.items() if server in pool.left] for server in sorted(losing)}
    # Without the last digits, in which sums of parts differ from the whole.
    strains = {server: round(sum(pools[name].strain for name in names), 9) for server, names in mine.items()}
    worst = max(strains, key=lambda server: strains[server], default="")
    if not worst or strains[worst] <= limits["most_load"]:
        return
    busy = [name for name in mine[worst] if pools[name].strain]
    places = pools[busy[0]].left[worst]
    going = sorted({server for name in mine[worst] for server in pools[name].going})
    yield (
        f"{worst} would get {counted(math.ceil(round(strains[worst] * places, 6)), 'call')} of {joined(busy)} without"
        f" {joined(going)}, more than {limits['most_load']:.0%} of its {counted(places, 'place')}"
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
