# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The plan of a gateway, from the plans of all serving hosts; each figure with its reason."""

from __future__ import annotations

import hashlib
import ipaddress
import json
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError, described

from ..cache import stores
from ..cache.plan import cache_plan, wished
from . import access, adopted, answers, backends, frontends, limits, routes, servers, version
from . import settings as gateway_settings
from .schema import Backend, FleetHost, GatewayPlan, Rollout

SCHEMA = 1
FOLDER = "etc/haproxy/tfserving"
DIGITS = 12

_GATEWAY = re.compile(r"[A-Za-z0-9._-]{1,200}")


def gateway_plan(
    fleet: Mapping[str, Any],
    given: Mapping[str, Any],
    package: str,
    gateway: str,
    gateways: int = 1,
    rollouts: Mapping[str, Rollout] | None = None,
    local_ports: Collection[int] = (),
    others: Mapping[int, str] | None = None,
    has_ipv6: bool = False,
    readers: Sequence[str] = (),
) -> GatewayPlan:
    """Return the plan of one gateway as plain data.

    :param fleet: the serving hosts by name, each as FleetHost says; plans may hold more than that.
    :param given: variables of the role gateway that differ from their defaults.
    :param package: the installed package's version, such as ``2.6.12-1+deb12u4``.
    :param gateway: the gateway's name, by which the gates know it.
    :param gateways: how many gateways share the servers.
    :param rollouts: the roll-outs under way, by model.
    :param local_ports: ports that servers of this host use.
    :param others: who else listens on this host, in words, by port.
    :param has_ipv6: whether the gateway is known by an address of IPv6.
    :param readers: the addresses and networks that read its metrics.
    :raises WishError: a wish is malformed (all reported at once), or cannot be granted.
    """
    check_name(gateway)
    settings = gateway_settings.complete(given)
    release = version.read(package)
    features, warnings = version.features(release, settings["gateway_grpc_mode"])
    mode = features["grpc_mode"]
    callers = access.access(settings, features, package)
    hosts = servers.checked(fleet)
    found = servers.read(hosts)
    servers.check_models(hosts)
    encrypted = access.check_encryption(found, settings)
    moving = dict(rollouts or {})
    models = backends.by_model(found)
    backends.check_rollouts(moving, models)
    olds = adopted.by_model(settings, hosts, found, moving, mode)
    moving |= adopted.moving(settings, olds)

    ports = frontends.grpc_ports(found, settings["gateway_grpc_ports"])
    entrances = [frontends.rest(settings), *frontends.grpc(ports, found, mode)]
    frontends.check_ports(entrances, settings["gateway_status_port"], local_ports, others or {})

    site = backends.Site(settings, max(1, gateways), moving)
    groups = {
        model: backends.groups(model, members, moving.get(model), olds.get(model, ()))
        for model, members in models.items()
    }
    protocols = ["rest"] if mode == "tcp" else ["rest", "grpc"]
    targets = [
        backends.backend(site, protocol, model, group)
        for protocol in protocols
        for model, some in groups.items()
        for group in some
    ]
    targets += _of_instances(site, found) if mode == "tcp" else []
    backends.check_names(targets)
    plain = {each["model"]: each for each in targets if each["name"] == f"rest_{each['model']}"}
    cache, uncached = cache_plan(
        wished(hosts),
        models,
        plain,
        moving,
        settings["gateway_cache_memory_mb"],
        bool(settings["gateway_log"]) and settings["gateway_log_calls"],
        settings["gateway_cache_engine"],
        settings["gateway_cache_store"],
    )
    following = backends.follow(targets)
    longest_s = max(each.fleet["longest_call_s"] for each in found)
    plan: GatewayPlan = {
        "schema": SCHEMA,
        "gateway": gateway,
        "generation": "",
        "version": package,
        "features": features,
        "tune": version.tuning(features),
        "bind": _bind(settings, has_ipv6, readers),
        "timeouts": _timeouts(settings, longest_s),
        "servers": _servers(settings, encrypted),
        "access": callers,
        "frontends": entrances,
        "backends": targets,
        "cache": cache,
        "arms": routes.arms(groups, protocols),
        "maps": routes.maps(groups, moving),
        "errors": answers.errors(),
        "methods": answers.methods(settings["gateway_grpc_methods"]),
        "sticky_header": settings["gateway_sticky_header"],
        "log": {"target": settings["gateway_log"], "calls": settings["gateway_log_calls"]},
        "exclude": [*_unneeded(settings), *stores.unneeded(cache)],
        "reasons": {**_REASONS, **({"servers.track": following} if following else {})},
        "warnings": [
            *warnings,
            *access.warnings(callers, mode),
            *routes.warnings(groups, moving, mode),
            *routes.unserved(_held(hosts), models),
            *uncached,
        ],
    }
    plan["generation"] = _generation(plan)
    return plan


def check_name(gateway: str) -> None:
    """Refuse the name of a gateway that HAProxy cannot hold."""
    if not _GATEWAY.fullmatch(gateway):
        raise WishError(
            "groups['tfserving_gateways']", f"names {described(gateway)}, which HAProxy cannot hold", "rename it"
        )


_REASONS = {
    "timeouts.stop_s": "an old process ends after a reload when its calls have, and a call may take that long",
    "servers.balance": "random(2) keeps to the weights and to who is idle; leastconn forgets weights when few call",
    "servers.retries": "a prediction changes nothing, so another server may answer it; not more often, since a request"
    " that kills its server kills the next one too",
    "servers.slowstart_s": "caches of a server that comes back are cold",
}


def _of_instances(site: backends.Site, found: Sequence[servers.Serving]) -> list[Backend]:
    members: dict[str, list[servers.Serving]] = {}
    for serving in found:
        members.setdefault(serving.instance["name"], []).append(serving)
    return [backends.of_instance(site, name, some) for name, some in sorted(members.items())]


def _bind(settings: Mapping[str, Any], has_ipv6: bool, readers: Sequence[str]) -> dict[str, Any]:
    address = settings["gateway_address"]
    # For HAProxy, * is every address of IPv4 alone.
    everywhere = ["*", "[::]"] if has_ipv6 else ["*"]
    status = settings["gateway_status_address"]
    # An address that somebody has chosen is where the metrics are; on loopback nobody else could read them.
    is_local = bool(status) and ipaddress.ip_address(status).is_loopback
    return {
        "addresses": [_bracketed(address)] if address else everywhere,
        "status_address": _bracketed(settings["gateway_status_address"]) or "*",
        "status_port": settings["gateway_status_port"],
        "readers": {"addresses": everywhere, "sources": list(readers)} if readers and is_local else {},
        "max_connections": settings["gateway_max_connections"],
        "threads": settings["gateway_threads"],
    }


def _bracketed(address: str) -> str:
    """Return an address as HAProxy takes it: what stands behind the last colon is a port otherwise."""
    return f"[{address}]" if ":" in address else address


def _timeouts(settings: Mapping[str, Any], longest_s: float) -> dict[str, int]:
    wait_ms = limits.server_ms(longest_s, settings["gateway_margin_s"])[0]
    idle_ms = settings["gateway_idle_timeout_s"] * 1000
    return {
        "connect_ms": settings["gateway_connect_timeout_ms"],
        "client_ms": max(idle_ms, wait_ms),
        "idle_ms": idle_ms,
        "stop_s": limits.stop_s(longest_s, settings["gateway_margin_s"]),
    }


def _servers(settings: Mapping[str, Any], encrypted: bool) -> dict[str, Any]:
    return {
        "balance": settings["gateway_balance"],
        "retries": settings["gateway_retries"],
        "slowstart_s": settings["gateway_slowstart_s"],
        "source": _bracketed(settings["gateway_source_address"]),
        "tls": encrypted,
        "certificate": bool(settings["gateway_server_certificate"]),
    }


# Files that only some gateways need, by the variable that they are made from.
_OPTIONAL = {
    "tls.pem": "gateway_tls_certificate",
    "client-ca.pem": "gateway_tls_client_ca",
    "client-names.lst": "gateway_tls_client_names",
    "tokens.map": "gateway_tokens",
    "jwt.pem": "gateway_jwt",
    "server-ca.pem": "gateway_server_ca",
    "server.pem": "gateway_server_certificate",
}


def _unneeded(settings: Mapping[str, Any]) -> list[str]:
    return [f"{FOLDER}/{file}" for file, name in _OPTIONAL.items() if not settings[name]]


def _held(fleet: Mapping[str, FleetHost]) -> dict[str, list[str]]:
    held: dict[str, list[str]] = {}
    for host, entry in fleet.items():
        for model in entry["models"]:
            held.setdefault(model["name"], []).append(host)
    return held


def _generation(plan: GatewayPlan) -> str:
    """Return a digest of the plan that stays the same while only shares change, as those need no new process."""
    lasting = {**plan, "maps": {**plan["maps"], "shares": {}}, "warnings": []}
    return hashlib.sha256(json.dumps(lasting, sort_keys=True).encode()).hexdigest()[:DIGITS]
