# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A gateway that runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.gateway import runtime
from patience import LONG_S
from ports import free_port
from running_gateway import Gateway

CONFIG = """\
global
    stats socket unix@{socket} level admin mode 600
    description tfserving-fleet generation GENERATION
defaults
    mode http
    timeout connect 1s
    timeout client 5s
    timeout server 5s
frontend rest
    bind 127.0.0.1:PORT
    http-request set-header x-share %[path,map_str_int({folder}/canary.map,0)]
    default_backend rest_ranker
backend rest_ranker
    server edge-ranker 127.0.0.1:1 check disabled
    server other-ranker 127.0.0.1:1
"""
MAP = "# The shares of canaries.\nranker 0\nwide 50\n"


class Place:
    """Gateways to be started, and what their configuration is."""

    def __init__(self, folder) -> None:
        self.folder = folder
        self.port = free_port()
        self.map = folder / "canary.map"
        self.map.write_text(MAP)
        self.started: list[Gateway] = []

    def config(self, generation: str) -> str:
        return CONFIG.replace("GENERATION", generation).replace("PORT", str(self.port))

    def start(self, generation: str = "abc") -> Gateway:
        self.started.append(Gateway(self.folder, self.config(generation)))
        return self.started[-1]


@pytest.fixture
def place(tmp_path_factory, monkeypatch) -> Iterator[Place]:
    # A master that reloads is away for as long as the machine takes.
    monkeypatch.setattr(runtime, "_AWAY_S", LONG_S)
    # The path of a UNIX socket has at most 107 characters.
    place = Place(tmp_path_factory.mktemp("gw"))
    yield place
    for each in place.started:
        each.stop()


@pytest.fixture
def gateway(place) -> Gateway:
    return place.start()


@pytest.fixture
def start(place) -> Callable[[str], Gateway]:
    return place.start
