# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Types of the gateway's plan, all of it plain JSON data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

from ..cache.schema import CachePlan


class FleetHost(TypedDict):
    """A serving host, as the gateway knows it: its address, its gate, and what of its plan concerns callers."""

    address: str
    gate_port: int
    longest_call_s: float
    instances: list[Mapping[str, Any]]
    models: list[Mapping[str, Any]]


class Rollout(TypedDict):
    """A roll-out of one model: the hosts of both arms, and the share of calls that each of them gets."""

    canary: list[str]
    control: list[str]
    permille: int


class Features(TypedDict):
    """What the installed HAProxy knows, and how it carries gRPC."""

    jwt: bool
    backend_streams: bool
    grpc_mode: str


class Setting(TypedDict):
    """A setting of HAProxy's global section and its reason."""

    name: str
    value: str
    reason: str


class Server(TypedDict):
    """A server of a backend. ``maxconn`` counts calls of this gateway; ``track`` is who is checked in its place."""

    name: str
    host: str
    instance: str
    endpoint: str
    rest_port: int
    maxconn: int
    track: str
    reason: str


class Backend(TypedDict):
    """The servers that answer one kind of calls. ``arm`` is canary, control, version, label or empty.

    ``gate_port`` is 0 for old servers, which have no gate.
    """

    name: str
    protocol: str
    model: str
    arm: str
    gate_port: int
    checks: list[str]
    queue_ms: int
    server_ms: int
    servers: list[Server]
    reasons: dict[str, str]


class Frontend(TypedDict):
    """A port that callers use."""

    name: str
    protocol: str
    port: int
    default_model: str
    default_backend: str


class Arm(TypedDict):
    """The backend of one arm of a roll-out, and that of all calls in neither arm.

    ``is_old``: old servers beside the new instances, which answer all calls that are not the canary's while ``least``
    of them are up.
    """

    protocol: str
    model: str
    arm: str
    backend: str
    others: str
    is_old: bool
    least: int


class Maps(TypedDict):
    """The content of the maps: the models, the ends of backends' names by version or label, and the shares."""

    models: list[str]
    routes: dict[str, str]
    shares: dict[str, int]


class Error(TypedDict):
    """An answer of the gateway itself to a gRPC call: ``name`` of its file, and gRPC's status with its text."""

    name: str
    code: int
    status: int
    text: str


class Access(TypedDict):
    """Who may call. No secret is in it."""

    tls: bool
    client_certificates: bool
    client_names: list[str]
    tokens: bool
    jwt: dict[str, str]
    rate: dict[str, Any]
    body_bytes: int


class GatewayPlan(TypedDict):
    """The plan of one gateway."""

    schema: int
    gateway: str
    generation: str
    version: str
    features: Features
    tune: list[Setting]
    bind: dict[str, Any]
    timeouts: dict[str, int]
    servers: dict[str, Any]
    access: Access
    frontends: list[Frontend]
    backends: list[Backend]
    cache: CachePlan
    arms: list[Arm]
    maps: Maps
    errors: list[Error]
    methods: list[str]
    sticky_header: str
    log: dict[str, Any]
    exclude: list[str]
    reasons: dict[str, str]
    warnings: list[str]
