# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The companion on its port: two protocols, many callers, and those who mean no good."""

from __future__ import annotations

import json
import select
import socket
import time

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.gate import companion as companions
from ansible_collections.tfserving.fleet.plugins.module_utils.gate import health
from ansible_collections.tfserving.fleet.plugins.module_utils.gate import record as records
from ansible_collections.tfserving.fleet.plugins.module_utils.gate.config import Watched
from ansible_collections.tfserving.fleet.plugins.module_utils.gate.health import Look
from ansible_collections.tfserving.fleet.plugins.module_utils.gate.marks import ADMITTED
from gate_cases import Folder, record
from patience import LONG_S


def well(_port, _models, now):
    return Look(now, states={"m": {7: "AVAILABLE"}})


class Place:
    """A companion whose loop turns only while somebody waits for an answer."""

    def __init__(self, root):
        self.folder = Folder(root)
        self.folder.write()
        self.folder.runs("a")
        self.folder.marks.put("ranker", ADMITTED)
        gates = self.folder.gates(Watched(self.folder.path), ask=well)
        gates.look(gates.config.instances["ranker"], time.monotonic())
        self.wire = companions.listener(0)
        self.port = self.wire.getsockname()[1]
        self.ticks = 0
        self.companion = companions.Companion(gates, self.wire, self._tick)
        self.open = []

    def _tick(self):
        self.ticks += 1

    def call(self, data=b"", address="127.0.0.1"):
        """Connect and send."""
        wire = socket.create_connection((address, self.port))
        self.open.append(wire)
        wire.sendall(data)
        return wire

    def heard(self, wire):
        """Turn the loop until the connection ends; return what was said on it."""
        said = b""
        while True:
            while not select.select([wire], [], [], 0)[0]:
                self.companion.step()
            try:
                chunk = wire.recv(65536)
            except ConnectionResetError:
                return said
            if not chunk:
                return said
            said += chunk

    def ask(self, data, address="127.0.0.1"):
        return self.heard(self.call(data, address))

    def close(self):
        self.folder.write(names=[])  # ends the thread that looks at the server
        for wire in [*self.open, self.wire]:
            wire.close()


@pytest.fixture
def place(tmp_path, monkeypatch):
    # No machine reaches these, however long it stands still.
    monkeypatch.setattr(companions, "CALL_S", LONG_S)
    monkeypatch.setattr(health, "OLDEST_S", LONG_S)
    place = Place(tmp_path)
    yield place
    place.close()


AGENT = b"gate ranker edge-1 rest_m/h1-ranker g1\n"
HTTP = b"GET /gate/ranker?gateway=edge-1&backend=rest_m&generation=g1 HTTP/1.0\r\nHost: check\r\n\r\n"


def test_both_protocols_are_answered_on_one_port(place):
    assert place.ask(AGENT) == b"up 100%\n"
    assert place.ask(HTTP).startswith(b"HTTP/1.1 200 OK\r\n")
    records.write("ranker", record(), place.folder.records)
    words = b"draining by alice: driver 570 since 2026-11-27T10:00Z\n"
    assert place.ask(AGENT) == b"down #" + words
    answer = place.ask(HTTP)
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert answer.endswith(b"\r\n\r\n" + words)


def test_a_damaged_record_fails_closed(place):
    records.write("ranker", record(), place.folder.records)
    with open(records.path_of("ranker", place.folder.records), "w") as file:
        file.write("{")
    assert place.ask(AGENT).startswith(b"down #closed by nobody known: ")
    assert b" 503 " in place.ask(HTTP)


def test_an_unknown_instance_is_down_and_not_found(place):
    assert place.ask(b"gate other edge-1 rest_m/h1 g1\n") == b"down #unknown: no such instance on this host\n"
    assert place.ask(b"GET /gate/other HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 404 ")


def test_the_page_knows_who_asked(place):
    place.ask(AGENT)
    place.ask(HTTP)
    head, _, body = place.ask(b"GET /gate HTTP/1.1\r\nHost: x\r\n\r\n").partition(b"\r\n\r\n")
    assert b"Content-Type: application/json" in head
    found = json.loads(body)
    assert found["expected"] == ["edge-1"]
    assert found["instances"]["ranker"]["open"] is True
    pair = found["gateways"]["edge-1"]["pairs"]["rest_m/h1-ranker"]
    assert (pair["address"], pair["agent_open"], pair["opens"]) == ("127.0.0.1", True, 1)


def test_a_head_is_answered_without_a_body_and_other_pages_are_not_there(place):
    assert place.ask(b"HEAD /gate/ranker HTTP/1.1\r\n\r\n").endswith(b"\r\n\r\n")
    assert place.ask(b"GET / HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 404 ")
    assert place.ask(b"POST /gate HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 400 ")
    assert place.ask(b"GET /gate HTTP/1.0\n\n").startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "garbage", [b"\0\0\0\n", b"gate\n", b"\n", b"SSH-2.0-x\r\n", b"\x16\x03\x01\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]
)
def test_what_is_no_question_gets_no_answer(place, garbage):
    assert place.ask(garbage) == b""


def test_an_endless_line_and_an_endless_head_are_cut_off(place):
    assert place.ask(b"g" * 5000) == b""
    assert place.ask(b"GET /gate HTTP/1.1\r\n" + b"X: y\r\n" * 2000) == b""
    assert place.companion.calls == {}


def test_a_question_in_small_pieces_is_understood(place):
    wire = place.call()
    for letter in AGENT:
        wire.sendall(bytes([letter]))
        place.companion.next_tick = 0.0
        place.companion.step()
    assert place.heard(wire) == b"up 100%\n"


def test_who_sends_slowly_is_cut_off_when_the_time_is_over(place):
    wire = place.call(b"gate ran")
    while not place.companion.calls:
        place.companion.step()
    (call,) = place.companion.calls.values()
    assert call.answer is None
    call.end = 0.0
    assert place.heard(wire) == b""


def test_who_holds_connections_open_takes_nobodys_place(place, monkeypatch):
    monkeypatch.setattr(companions, "MOST_CALLS", 4)
    silent = [place.call(b"gate") for _number in range(10)]
    assert place.ask(AGENT) == b"up 100%\n"
    assert len(place.companion.calls) <= 4
    assert place.heard(silent[0]) == b""


def test_who_hangs_up_first_harms_nobody(place):
    for data in (b"", b"gate ranker", AGENT):
        place.call(data).close()
    assert place.ask(AGENT) == b"up 100%\n"
    assert place.companion.calls == {}


def test_a_caller_of_ipv4_has_its_own_address(place):
    place.ask(AGENT)
    assert [one.address for one in place.companion.pollers.gateways["edge-1"].pairs.values()] == ["127.0.0.1"]


def test_it_looks_around_while_nobody_asks(place):
    before = place.ticks
    while place.ticks == before:
        place.companion.step()


def test_another_port_in_the_plan_ends_it(place):
    place.folder.write(port=8491)
    place.companion.serve(8490)


def test_a_plan_that_changes_is_answered_for_without_a_restart(place):
    assert place.ask(b"gate other edge-1 rest_m/h1 g1\n").startswith(b"down #unknown")
    place.folder.write(names=["ranker", "other"])
    assert place.ask(b"gate other edge-1 rest_m/h1 g1\n") == b"down #stopped: the server is not running\n"
