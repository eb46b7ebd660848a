# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The gates of a host out of its files and of looks at its servers."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.gate import record as records
from ansible_collections.tfserving.fleet.plugins.module_utils.gate.config import Watched
from ansible_collections.tfserving.fleet.plugins.module_utils.gate.health import Look
from ansible_collections.tfserving.fleet.plugins.module_utils.gate.marks import ADMITTED, LEAVING
from gate_cases import Folder, record, specific


class Servers:
    """What each look finds, by models."""

    def __init__(self):
        self.states = {"m": {7: "AVAILABLE"}}
        self.problem = ""
        self.before = lambda: None

    def ask(self, _port, _models, now):
        self.before()
        return Look(now, self.problem) if self.problem else Look(now, states=self.states)


@pytest.fixture
def folder(tmp_path):
    folder = Folder(tmp_path)
    folder.write()
    return folder


@pytest.fixture
def servers():
    return Servers()


@pytest.fixture
def gates(folder, servers):
    return folder.gates(Watched(folder.path), ask=servers.ask)


def look(gates, now=None):
    import time

    for instance in gates.config.instances.values():
        gates.look(instance, time.monotonic() if now is None else now)
    return gates.judgement("ranker")


def test_a_server_that_does_not_run_is_stopped(gates):
    assert look(gates).words == "stopped: the server is not running"


def test_a_new_process_starts_closed_and_opens_once_it_is_proven_and_admitted(folder, gates, servers):
    folder.runs("a")
    assert gates.judgement("ranker").words == "starting: not looked at yet"
    servers.states = {"m": {7: "LOADING"}}
    assert look(gates).words == "starting: model m version 7 is LOADING"
    servers.states = {"m": {7: "AVAILABLE"}}
    assert look(gates).words == "starting: not admitted yet"
    folder.marks.put("ranker", ADMITTED)
    assert gates.judgement("ranker").open


def test_a_crash_closes_until_the_next_process_is_admitted(folder, gates):
    folder.runs("a")
    folder.marks.put("ranker", ADMITTED)
    assert look(gates).open
    folder.runs("b")
    assert gates.judgement("ranker").words == "starting: not looked at yet"
    assert look(gates).words == "starting: not admitted yet"
    folder.marks.put("ranker", ADMITTED)
    assert gates.judgement("ranker").open


def test_a_process_that_leaves_is_closed_and_its_successor_is_not_leaving(folder, gates):
    folder.runs("a")
    folder.marks.put("ranker", ADMITTED)
    look(gates)
    folder.marks.put("ranker", LEAVING)
    assert gates.judgement("ranker").words == "leaving: the server is about to stop"
    folder.runs("b")
    folder.marks.put("ranker", ADMITTED)
    assert look(gates).open


def test_a_record_closes_at_once_and_its_end_opens(folder, gates):
    folder.runs("a")
    folder.marks.put("ranker", ADMITTED)
    look(gates)
    records.write("ranker", record(), folder.records)
    assert gates.judgement("ranker").state == "draining"
    records.write("ranker", record(until=1.0), folder.records)
    assert gates.judgement("ranker").open


def test_a_look_during_which_the_process_changed_is_no_look(folder, gates, servers):
    folder.runs("a")
    servers.before = lambda: folder.runs("b")
    look(gates)
    servers.before = lambda: None
    assert gates.judgement("ranker").words == "starting: not looked at yet"


def test_an_instance_that_the_plan_does_not_know_is_closed(gates):
    assert gates.judgement("other").words == "unknown: no such instance on this host"


def test_a_companion_that_is_started_anew_amid_a_swap_closes_nothing(folder, gates, servers):
    folder.runs("a")
    folder.marks.put("ranker", ADMITTED)
    assert look(gates).open
    folder.write(models={"m": specific(8)})
    servers.states = {"m": {7: "AVAILABLE", 8: "LOADING"}}
    assert look(gates).open
    # A process whose memory nobody kept could not know that 7 was enough.
    assert look(folder.gates(Watched(folder.path), ask=servers.ask)).open
    stranger = folder.gates(Watched(folder.path), ask=servers.ask)
    stranger.memory = ""
    assert look(stranger).words == "unwell: model m version 8 is LOADING"


def test_memory_of_another_process_or_damaged_memory_is_none(folder, gates, servers):
    folder.runs("a")
    folder.marks.put("ranker", ADMITTED)
    look(gates)
    servers.states = {"m": {8: "AVAILABLE"}}
    folder.runs("b")
    folder.marks.put("ranker", ADMITTED)
    assert not look(folder.gates(Watched(folder.path), ask=servers.ask)).open
    folder.runs("a")
    (folder.memory / "ranker.json").write_text('{"invocation": 5}')
    folder.marks.put("ranker", ADMITTED)
    assert not look(folder.gates(Watched(folder.path), ask=servers.ask)).open


def test_the_page_says_everything(folder, gates):
    folder.runs("a")
    look(gates)
    records.write("ranker", record(), folder.records)
    found = gates.page()["ranker"]
    assert (found["open"], found["state"], found["invocation"]) == (False, "draining", "a")
    assert found["record"]["by"] == "alice"
    assert found["health"] == {"problem": "", "models": {"m": {7: "AVAILABLE"}}}


def test_each_instance_has_its_own_gate(folder, gates):
    folder.write(names=["ranker", "other"])
    folder.runs("a")
    folder.runs("b", "other")
    for name in ("ranker", "other"):
        folder.marks.put(name, ADMITTED)
    look(gates)
    records.write("other", record(), folder.records)
    assert gates.judgement("ranker").open
    assert not gates.judgement("other").open
