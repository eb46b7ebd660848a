# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The gates of a host as those use them who disturb what serves."""

from __future__ import annotations

import re
import time

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.gate import door as doors
from ansible_collections.tfserving.fleet.plugins.module_utils.gate import pollers
from ansible_collections.tfserving.fleet.plugins.module_utils.gate import record as records
from ansible_collections.tfserving.fleet.plugins.module_utils.gate.marks import ADMITTED, LEAVING, REFUSED
from gate_cases import Folder, record
from gate_host import GateHost
from patience import LONG_S


@pytest.fixture
def host(tmp_path):
    with GateHost(tmp_path) as host:
        yield host


def test_a_host_without_the_file_has_no_gates(tmp_path):
    folder = Folder(tmp_path)
    assert not folder.door().present
    folder.write()
    assert folder.door().present
    assert folder.door().names == ["ranker"]


def test_a_file_that_cannot_be_used_is_one_sentence(tmp_path):
    folder = Folder(tmp_path)
    folder.write(schema=2)
    with pytest.raises(RuntimeError, match="does not describe the gates of a host"):
        folder.door().check()


def test_nothing_is_expected_where_the_plan_has_no_gateways(tmp_path):
    with GateHost(tmp_path, gateways=[], companion=False) as host:
        host.door.check()


def test_a_change_does_not_begin_while_a_gateway_is_silent(host):
    with host.gateway():
        host.door.check()
    # It has asked, and does so no more.
    for pair in host.companion.pollers.gateways["edge-1"].pairs.values():
        pair.agent = pair.http = pair.last - 2 * LONG_S
    with pytest.raises(RuntimeError) as refused:
        host.door.check()
    assert re.fullmatch(
        r"gateways have stopped asking for the gates of this host: edge-1 \(silent for \d+ s\);"
        r" repair them, or take those that are gone out of the inventory",
        str(refused.value),
    )


def test_a_gateway_that_has_never_asked_is_waited_for_only_while_the_companion_is_young(host, monkeypatch):
    pauses = []

    def grow_old(seconds):
        if seconds == doors.PAUSE_S:  # others pause as well
            pauses.append(seconds)
            host.companion.pollers.began -= 2 * LONG_S

    monkeypatch.setattr(doors.time, "sleep", grow_old)
    host.companion.pollers.began = time.monotonic()
    host.door.check()
    assert len(pauses) == 1
    host.door.check()
    assert len(pauses) == 1


def test_a_change_does_not_begin_without_a_companion(tmp_path, monkeypatch):
    with GateHost(tmp_path, companion=False) as host, monkeypatch.context() as hurried:
        hurried.setattr(doors.told, "PAGE_S", 0.0)
        hurried.setattr(pollers, "SILENT_S", 0.0)
        with pytest.raises(RuntimeError) as refused:
            host.door.check()
        sentence = f"nobody answers on port {host.port} for the gates of this host; look at tfserving-gate.service"
        assert str(refused.value) == sentence
        (seen,) = host.door.seen()
        assert (seen.open, seen.words) == (False, "unknown: the companion does not answer for it")
        assert host.door.gateways() == {}


def test_leaving_with_a_record_closes_waits_and_refuses(host):
    with host.gateway():
        (left,) = host.door.leave(["ranker"], record(kind="run"))
        assert left.unproven == ()
        assert left.proven[0] == "every gateway has seen the closed gate"
        assert host.door.seen()[0].words == record().words()
        assert b"down #draining by alice" in host.ask(b"gate ranker x a/b g\n")
    grpc, rest = host.folder.marks.of("ranker", REFUSED).split()
    assert f"{{ {', '.join(sorted([grpc, rest], key=int))} }}" in host.refused[-1]
    assert int(rest) == host.server.port


def test_leaving_without_a_record_is_about_the_present_process(host):
    with host.gateway():
        (left,) = host.door.leave(["ranker"], None)
        assert left.unproven == ()
        assert host.door.seen()[0].state == "leaving"
    assert records.read("ranker", 0, host.folder.records) is None
    host.folder.runs("b")
    assert host.folder.marks.of("ranker", LEAVING) == "a"


def test_direct_callers_are_named(host):
    quiet = "\n\t cubic lastsnd:99000 lastrcv:99000"
    port = host.server.port
    host.connections = f"0 0 10.0.0.1:{port} 10.0.0.9:5{quiet}\n0 0 127.0.0.1:{port} 127.0.0.1:6{quiet}\n"
    with host.gateway():
        assert host.door.leave(["ranker"], record())[0].direct_callers == ("10.0.0.9",)


def test_an_instance_that_nobody_knows_does_not_hold_up_the_others(host):
    with host.gateway():
        assert [left.name for left in host.door.leave(["ranker", "gone"], record())] == ["ranker"]


def test_back_takes_away_what_a_run_put_there_and_waits_for_the_gateways(host):
    with host.gateway():
        host.door.leave(["ranker"], record(kind="run"))
        host.folder.runs("b")
        host.gates.look(host.gates.config.instances["ranker"], 0.0)
        (seen,) = host.door.back(["ranker"])
    assert (seen.open, seen.problem) == (True, "")
    marks = host.folder.marks
    assert (marks.of("ranker", ADMITTED), marks.of("ranker", LEAVING), marks.of("ranker", REFUSED)) == ("b", "", "")
    assert "delete element" in host.refused[-1]


def test_back_after_a_change_of_mind_opens_the_process_that_was_leaving(host):
    with host.gateway():
        host.door.leave(["ranker"], None)
        assert host.door.back(["ranker"])[0].open


@pytest.mark.parametrize(("kind", "opens"), [("run", False), ("rollout", False), ("person", True)])
def test_back_leaves_the_records_of_those_further_up(host, kind, opens):
    host.door.set("ranker", record())
    (seen,) = host.door.back(["ranker"], kind)
    # What a person closed stays closed, and that is no problem of the run's.
    assert (seen.open, seen.problem) == (opens, "")


def test_back_says_what_it_waited_for_in_vain(tmp_path):
    with GateHost(tmp_path, models={"m": {"specific": {"versions": [8]}}}) as host:
        (seen,) = host.door.back(["ranker"], timeout_s=0.1)
        assert seen.problem == "unwell: model m version 8 is not known to the server"
        assert host.door.back(["ranker"], wait=False)[0].problem == ""


def test_back_names_gateways_that_have_not_seen_the_open_gate(host):
    host.ask(b"GET /gate/ranker?gateway=edge-1&backend=rest_m&generation=g HTTP/1.0\r\n\r\n")
    (seen,) = host.door.back(["ranker"], timeout_s=0.1)
    assert seen.problem == "it is open, but edge-1 rest_m/ranker have not seen that yet"


def test_a_process_is_admitted_once(host):
    assert not host.door.admit("ranker")
    host.folder.runs("b")
    host.folder.marks.write("ranker", REFUSED, "7500 7501")
    assert host.door.admit("ranker")
    # The ports of the process before, which the plan may have changed, are lifted as well.
    assert "7500, 7501" in host.refused[-1]
    assert not host.door.admit("ranker")
    host.folder.runs("")
    assert not host.door.admit("ranker")


def test_a_process_that_leaves_is_not_admitted(host):
    host.folder.runs("b")
    host.folder.marks.put("ranker", LEAVING)
    assert not host.door.admit("ranker")
    assert host.refused == []


def test_a_run_does_not_overwrite_what_a_person_closed(host):
    host.door.set("ranker", record())
    host.door.set("ranker", record(kind="run", by="site.yml"))
    assert records.read("ranker", 0, host.folder.records).by == "alice"
    host.door.set("ranker", record(kind="person", by="bob"))
    assert records.read("ranker", 0, host.folder.records).by == "bob"


def test_a_record_that_is_there_keeps_its_time(host):
    host.door.set("ranker", record(since=5.0))
    host.door.set("ranker", record(since=9.0))
    assert records.read("ranker", 0, host.folder.records).since == 5.0


def test_what_is_no_page_of_a_companion_is_none(host):
    host.folder.write(port=host.server.port, rest=host.server.port)
    assert host.door.seen()[0].state == "unknown"
    host.folder.write(port=host.port, **host.more)


def test_what_a_person_closed_stays_refused_over_restarts_and_what_a_run_closed_does_not(host):
    with host.gateway():
        host.door.leave(["ranker"], record(state="closed"))
        host.folder.runs("b")
        assert host.door.admit("ranker")
        assert host.folder.marks.of("ranker", REFUSED) != ""
        host.door.back(["ranker"], wait=False)
        assert host.folder.marks.of("ranker", REFUSED) != ""
        host.door.back(["ranker"], "person", wait=False)
        assert host.folder.marks.of("ranker", REFUSED) == ""


def test_a_server_whose_callers_are_refused_is_not_open(host):
    host.folder.marks.write("ranker", REFUSED, "8500 8501")
    (seen,) = host.door.seen()
    assert seen.words == "leaving: new connections are refused until somebody opens the gate"
