# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""One call of the module gate: what it changes, what it refuses, and what it returns."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.gate import deed
from ansible_collections.tfserving.fleet.plugins.module_utils.gate import record as records
from gate_cases import Folder, record
from gate_host import GateHost
from patience import LONG_S

WISHES = {
    "instances": [], "state": "query", "reason": "driver 570", "by": "alice", "kind": "person", "run": "", "until_s": 0,
    "wait": True, "timeout_s": 60, "force": False,
}  # fmt: skip


@pytest.fixture
def host(tmp_path):
    with GateHost(tmp_path) as host:
        yield host


def call(host, check_mode=False, **wishes):
    return deed.carry_out(host.door, {**WISHES, **wishes}, check_mode)


def one(result):
    (instance,) = result["instances"]
    return instance


def test_a_host_without_gates_has_none_and_cannot_change_them(tmp_path):
    door = Folder(tmp_path).door()
    assert deed.carry_out(door, WISHES) == {"changed": False, "instances": [], "gateways": {}}
    with pytest.raises(RuntimeError) as refused:
        deed.carry_out(door, {**WISHES, "state": "closed"})
    remedy = "run the playbook site.yml first"
    assert str(refused.value) == f"{tmp_path}/gate.json: is missing, so this host has no gates; {remedy}"


def test_a_query_changes_nothing(host):
    with host.gateway():
        result = call(host)
    assert (result["changed"], one(result)["open"], one(result)["state"]) == (False, True, "open")
    assert list(result["gateways"]["edge-1"]["pairs"]) == ["rest_m/h1"]


def test_an_unknown_instance_is_refused(host):
    with pytest.raises(RuntimeError) as refused:
        call(host, instances=["other"])
    assert str(refused.value) == "instances: this host has no instance other; it has ranker"


def test_draining_waits_and_refuses_nobody_and_closing_does(host):
    with host.gateway():
        result = call(host, state="draining")
        assert (result["changed"], one(result)["state"], one(result)["by"]) == (True, "draining", "alice")
        assert one(result)["proven"] == ["every gateway has seen the closed gate", "no call was in flight"]
        assert host.refused == []
        result = call(host, state="closed")
        assert result["changed"]
        assert "new connections are refused" in one(result)["proven"]
        assert len(host.refused) == 1


def test_the_same_again_changes_nothing(host):
    with host.gateway():
        call(host, state="draining")
        assert not call(host, state="draining")["changed"]
        assert call(host, state="draining", reason="another")["changed"]
        call(host, state="open")
        assert not call(host, state="open")["changed"]


def test_nothing_begins_while_a_gateway_is_silent_unless_forced(host):
    with host.gateway():
        pass
    for pair in host.companion.pollers.gateways["edge-1"].pairs.values():
        pair.agent = pair.http = pair.last - 2 * LONG_S
    with pytest.raises(RuntimeError, match=r"edge-1 \(silent for"):
        call(host, state="draining")
    assert records.read("ranker", 0, host.folder.records) is None
    assert call(host, state="draining", force=True, wait=False)["changed"]
    assert records.read("ranker", 0, host.folder.records).state == "draining"


def test_check_mode_says_what_would_change_and_changes_nothing(host):
    with host.gateway():
        assert call(host, True, state="closed")["changed"]
        assert call(host)["instances"][0]["open"]
        call(host, state="closed")
        assert not call(host, True, state="closed")["changed"]
        assert call(host, True, state="open")["changed"]
        assert call(host)["instances"][0]["state"] == "closed"


def test_a_gate_can_be_closed_for_a_while(host):
    with host.gateway():
        instance = one(call(host, state="closed", until_s=100))
    # Nobody would take the refusal back when the time is over.
    assert host.refused == []
    assert 99 < instance["until"] - instance["since"] < 101


def test_a_run_neither_opens_nor_changes_what_a_person_closed(host):
    with host.gateway():
        call(host, state="closed")
        assert not call(host, state="open", kind="run")["changed"]
        assert not call(host, state="draining", kind="run", by="site.yml")["changed"]
        assert one(call(host))["by"] == "alice"
        assert one(call(host, state="open"))["open"]


def test_a_damaged_record_is_repaired_by_opening_as_a_person(host):
    host.door.set("ranker", record())
    with open(records.path_of("ranker", host.folder.records), "w") as file:
        file.write("{")
    assert one(call(host))["by"] == "nobody known"
    assert not call(host, state="open", kind="run")["changed"]
    assert one(call(host, state="open"))["open"]


def test_an_instance_that_does_not_come_back_fails(host):
    host.folder.runs("")
    with pytest.raises(RuntimeError) as refused:
        call(host, state="open", timeout_s=0.1)
    words = "instance ranker is not back: stopped: the server is not running after 0.1 s"
    assert str(refused.value) == words
    host.folder.runs("a")
