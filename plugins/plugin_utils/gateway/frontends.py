# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The ports that callers use."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError

from ..phrases import joined
from .schema import Frontend
from .servers import Serving

PORTS = "gateway_grpc_ports"
# Between the gRPC port of an instance and that of the gateway for it: a gateway may be a serving host itself.
DISTANCE = 1000
LARGEST_PORT = 65_535


def grpc_ports(found: Sequence[Serving], wished: Mapping[str, int]) -> dict[str, int]:
    """Return the gateway's gRPC port for each instance, or raise WishError."""
    own: dict[str, set[int]] = {}
    for serving in found:
        own.setdefault(serving.instance["name"], set()).add(serving.instance["ports"]["grpc"])
    for name in wished:
        if name not in own:
            raise WishError(f"{PORTS}.{name}", "is an instance that no host has", f"there are {joined(sorted(own))}")
    return {name: wished.get(name) or _default(name, ports) for name, ports in sorted(own.items())}


def _default(name: str, ports: Collection[int]) -> int:
    if len(ports) > 1:
        shown = joined([str(port) for port in sorted(ports)])
        raise WishError(f"{PORTS}.{name}", f"is not set, and hosts use {shown} for it", "set the gateway's port")
    port = min(ports) + DISTANCE
    if port > LARGEST_PORT:
        raise WishError(f"{PORTS}.{name}", f"would be {port}, which is no port", "set the gateway's port")
    return port


def rest(settings: Mapping[str, Any]) -> Frontend:
    """Return the port of REST, where the path names the model."""
    port = settings["gateway_rest_port"]
    return {"name": "in_rest", "protocol": "rest", "port": port, "default_model": "", "default_backend": ""}


def grpc(ports: Mapping[str, int], found: Sequence[Serving], mode: str) -> list[Frontend]:
    """Return the gRPC ports, or raise WishError.

    A call whose body names no model that is known goes to the first model of its port.
    """
    sharing: dict[int, list[str]] = {}
    for name, port in ports.items():
        sharing.setdefault(port, []).append(name)
    if mode == "tcp":
        _refuse_mixing(ports, found, sharing)
    first: dict[str, str] = {}
    for serving in found:
        first.setdefault(serving.instance["name"], serving.instance["models"][0])
    return [_grpc(port, names[0], first[names[0]], mode) for port, names in sorted(sharing.items())]


def _grpc(port: int, instance: str, model: str, mode: str) -> Frontend:
    tcp = mode == "tcp"
    return {
        "name": f"in_grpc_{port}",
        "protocol": "tcp" if tcp else "grpc",
        "port": port,
        "default_model": model,
        "default_backend": f"grpc_tcp_{instance}" if tcp else f"grpc_{model}",
    }


def _refuse_mixing(ports: Mapping[str, int], found: Sequence[Serving], sharing: Mapping[int, Sequence[str]]) -> None:
    """Refuse what only the bodies of calls could tell apart, which nobody reads where connections are passed on."""
    for port, names in sharing.items():
        if len(names) > 1:
            problem = f"gives {joined(names)} the port {port}, and with gateway_grpc_mode tcp nothing tells them apart"
            raise WishError(PORTS, problem, "give each a port of its own, or choose another mode")
    where: dict[str, set[str]] = {}
    for serving in found:
        for model in serving.instance["models"]:
            where.setdefault(model, set()).add(serving.instance["name"])
    for model, having in where.items():
        used = sorted({(ports[name], name) for name in having})
        if len(used) > 1:
            shown = joined([f"{name} (port {port})" for port, name in used])
            problem = f"leads to {model} by {shown}, and with gateway_grpc_mode tcp each reaches only its own hosts"
            raise WishError(PORTS, problem, "give the instances that serve it one name, or choose another mode")


def check_wished(settings: Mapping[str, Any]) -> None:
    """Refuse a port that the role's variables give twice, whatever the hosts serve."""
    wished = [_grpc(port, "", "", "") for port in sorted(set(settings["gateway_grpc_ports"].values()))]
    check_ports([rest(settings), *wished], settings["gateway_status_port"], (), {})


def check_ports(
    frontends: Sequence[Frontend], status_port: int, local: Collection[int], others: Mapping[int, str]
) -> None:
    """Refuse a port that is used twice, by a server on this host, or by anybody else there.

    HAProxy shares a port with whoever else listens at it, so half of the calls would go astray without a word.
    """
    used: dict[int, str] = {status_port: "the status page"}
    for each in frontends:
        what = "REST" if each["protocol"] == "rest" else "gRPC"
        path = "gateway_rest_port" if each["protocol"] == "rest" else PORTS
        port = each["port"]
        if port in used:
            raise WishError(path, f"gives {what} the port {port}, as {used[port]} has it", "choose another port")
        used[port] = what
    for port in sorted({*used} & {*local}):
        problem = f"uses the port {port} for {used[port]}, and a server of this host has it"
        raise WishError("gateway", problem, "choose another port for one of them")
    for port in sorted({*used} & {*others}):
        problem = f"uses the port {port} for {used[port]}, and {others[port]} listens there on this host"
        raise WishError("gateway", problem, "stop that one, or choose another port")
