# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Types of the cache in a gateway's plan, all of it plain JSON data."""

from __future__ import annotations

from typing import TypedDict


class CachedModel(TypedDict):
    """A model whose answers are remembered, or in shadow mode would be."""

    name: str
    shadow: bool
    ttl_s: int
    max_body_bytes: int
    max_answer_bytes: int
    queue_ms: int
    server_ms: int


class Watched(TypedDict):
    """A server whose page tells whether it answers by another version than the planned one."""

    name: str
    endpoint: str


class Pin(TypedDict):
    """One way to call a model, and the version that every server of the plan answers it by.

    ``asked`` is what HAProxy reads in the path: ``ranker/``, ``ranker/versions/7`` or ``ranker/labels/stable``.
    ``backend`` has the ``servers`` up that were seen with another version on the page ``path``, whose text ``moved``
    fits then; it is empty for a call that names its version itself.
    """

    asked: str
    model: str
    version: int
    backend: str
    path: str
    moved: str
    servers: list[Watched]


class Store(TypedDict):
    """The Redis that nginx keeps answers in, without its secrets. ``name`` is in its certificate, empty without TLS."""

    address: str
    port: int
    name: str
    user: str
    prefix: str
    own_ca: bool
    has_password: bool
    is_local: bool


class CachePlan(TypedDict):
    """The cache of a gateway. ``live`` is whether any model's answers are kept, and so whether there is a store.

    ``generation`` is a digest of what the store itself is told.
    """

    live: bool
    engine: str
    store: Store
    generation: str
    memory_mb: int
    spare_mb: int
    unit_memory_mb: int
    store_memory_mb: int
    models: list[CachedModel]
    pins: list[Pin]
    reasons: dict[str, str]
