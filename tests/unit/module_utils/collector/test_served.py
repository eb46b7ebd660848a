# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""States of versions and gates, from the companion or else from the server, and versions on disk."""

from __future__ import annotations

import json
import os
import socket
import threading

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.collector import gate, models, sizes
from ansible_collections.tfserving.fleet.plugins.module_utils.collector.host import PartError
from ansible_collections.tfserving.fleet.plugins.module_utils.gate import record as records
from ansible_collections.tfserving.fleet.plugins.module_utils.gate.config import Watched
from ansible_collections.tfserving.fleet.plugins.module_utils.gate.health import Look
from collected_host import CollectedHost, instance
from gate_cases import Folder, record
from ports import free_port
from serving_double import FakeServer, Model

RECORD = {"kind": "person", "state": "closed"}


class Companion(threading.Thread):
    """A port that gives one answer to each who asks, and ends."""

    def __init__(self, answer):
        super().__init__(daemon=True)
        self.answer = answer
        self.wire = socket.create_server(("127.0.0.1", 0))
        self.port = self.wire.getsockname()[1]
        self.questions = []
        self.start()

    def run(self):
        while True:
            try:
                call, _peer = self.wire.accept()
            except OSError:
                return
            with call:
                self.questions.append(call.recv(1000))
                call.sendall(self.answer)


def page(is_open=True, state="open", record=None, states=None):
    told = {"open": is_open, "state": state, "words": "", "record": record, "invocation": "a"}
    told["health"] = {"problem": "", "models": {"m": states or {"7": "AVAILABLE", "6": "END"}}}
    body = json.dumps({"schema": 1, "instances": {"ranker": told}, "expected": []}).encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n" + body


@pytest.fixture
def place(tmp_path):
    place = CollectedHost(tmp_path)
    place.serve()
    return place


@pytest.fixture
def companion(place):
    opened = []

    def answer(content):
        opened.append(Companion(content))
        place.plan(gate={"port": opened[-1].port})
        return opened[-1]

    yield answer
    for each in opened:
        each.wire.close()


def state(version, word):
    return f'tfserving_model_state{{serving_instance="ranker",model="m",version="{version}",state="{word}"}} 1'


WANTED = 'tfserving_model_wanted{serving_instance="ranker",model="m",version="7"} 1'


def test_states_come_from_the_companion_in_one_question(place, companion):
    asked = companion(page())
    host = place.host()
    assert sum(each.name == "tfserving_model_state" for each in models.read(host)) == 2
    list(gate.read(host))
    assert asked.questions == [b"GET /gate HTTP/1.0\r\n\r\n"]
    assert place.read(models) == [state("7", "AVAILABLE"), state("6", "END"), WANTED]


@pytest.mark.parametrize(
    ("closed", "kind"),
    [({"state": "closed", "record": RECORD}, "person"), ({"state": "starting", "record": None}, "starting")],
)
def test_a_closed_gate_is_told_with_who_or_what_holds_it(place, companion, closed, kind):
    companion(page(is_open=False, **closed))
    assert place.read(gate) == [
        'tfserving_gate_open{serving_instance="ranker"} 0',
        f'tfserving_gate_info{{serving_instance="ranker",kind="{kind}"}} 1',
    ]


def test_an_open_gate_has_no_holder(place, companion):
    companion(page())
    assert place.read(gate) == ['tfserving_gate_open{serving_instance="ranker"} 1']


def test_the_page_of_the_companion_is_understood(place, companion, tmp_path):
    (tmp_path / "gates").mkdir()
    folder = Folder(tmp_path / "gates")
    folder.write()
    folder.runs("a")
    look = Look(0.0, states={"m": {7: "AVAILABLE", 8: "LOADING"}})
    gates = folder.gates(Watched(folder.path), ask=lambda _port, _models, _now: look)
    gates.look(gates.config.instances["ranker"], 0.0)
    records.write("ranker", record(kind="run"), folder.records)
    companion(b"HTTP/1.1 200 OK\r\n\r\n" + json.dumps({"instances": gates.page()}).encode())
    assert place.read(models) == [state("8", "LOADING"), state("7", "AVAILABLE"), WANTED]
    assert place.read(gate)[1] == 'tfserving_gate_info{serving_instance="ranker",kind="run"} 1'


@pytest.mark.parametrize(
    "answer",
    [b"", b"HTTP/1.1 200 OK\r\n\r\n{", b"HTTP/1.1 200 OK\r\n\r\n[1]", b"HTTP/1.1 503 No\r\n\r\n{}", b"\xff" * 99],
)
def test_a_companion_that_answers_nonsense_is_a_failure_that_keeps_what_is_wanted(place, companion, answer):
    port = companion(answer).port
    words = f"the companion of the gates does not answer on port {port}; see tfserving-gate.service"
    samples = models.read(place.host())
    assert next(samples).name == "tfserving_model_wanted"
    with pytest.raises(PartError, match=words):
        next(samples)
    place.plan(gate={"port": free_port()})
    with pytest.raises(PartError, match="does not answer"):
        place.read(gate)


def test_without_gates_the_server_is_asked_once_in_five_minutes(place):
    with FakeServer(m=Model({7: "AVAILABLE"})) as server:
        place.plan(instance(ports={"grpc": 1, "rest": server.port}))
        first = place.read(models)
        assert state("7", "AVAILABLE") in first
    # It is gone, and nobody asks it.
    place.now += 299
    assert place.read(models) == first
    place.now += 1
    with pytest.raises(PartError, match="ranker does not tell the states of its models"):
        place.read(models)


def test_sizes_are_those_of_the_files_and_measured_once(place, monkeypatch):
    place.plan()
    place.write("var/lib/tfserving/models/m/7/saved_model.pb", "x" * 100)
    place.write("var/lib/tfserving/models/m/7/variables/data", "x" * 900)
    place.write("var/lib/tfserving/models/m/.incoming-8/data", "x")
    os.symlink("/etc", place.root / "var/lib/tfserving/models/m/7/link")
    host = place.host()
    assert sizes.of(host) == {"m/7": 1000}
    host.state.save()
    monkeypatch.setattr(sizes, "_size", lambda path: pytest.fail("it was measured again"))
    assert sizes.of(place.host()) == {"m/7": 1000}


def test_a_version_of_more_files_than_are_counted_has_no_size(place, monkeypatch):
    place.plan()
    monkeypatch.setattr(sizes, "MOST_ENTRIES", 1)
    place.write("var/lib/tfserving/models/m/7/a", "x")
    place.write("var/lib/tfserving/models/m/7/b", "x")
    assert sizes.of(place.host()) == {}


def test_a_policy_without_numbers_wants_no_version():
    config = [{"name": "m", "model_version_policy": {"latest": {"num_versions": 1}}}, {"name": "n"}]
    assert list(models.wanted(instance(model_config={"model_config_list": {"config": config}}))) == []
