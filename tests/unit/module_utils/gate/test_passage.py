# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The gates of a host in the hands of a run."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.gate import record as records
from ansible_collections.tfserving.fleet.plugins.module_utils.gate.marks import ADMITTED
from ansible_collections.tfserving.fleet.plugins.module_utils.gate.passage import Passage
from gate_cases import Folder, record
from gate_host import GateHost
from patience import LONG_S

HOLDER = {"who": "alice@deploy1", "playbook": "site.yml", "run": "3f0c"}
MARK = "UnitFileState=static\nActiveState={active}\nMainPID=0\nEnvironment=TFSERVING_CONFIGURATION={mark}\n"


class Systemd:
    """systemctl in front of one unit."""

    def __init__(self, active="inactive", mark="new"):
        self.active, self.mark, self.deeds = active, mark, []

    def __call__(self, arguments):
        if arguments[1] == "show":
            return 0, MARK.format(active=self.active, mark=self.mark), ""
        self.deeds.append(" ".join(arguments[1:]))
        return 0, "", ""


def passage(door, **more):
    return Passage(door, HOLDER, now=lambda: 1795773600.0, **more)


@pytest.fixture
def host(tmp_path):
    with GateHost(tmp_path) as host:
        yield host


def held(host):
    return records.read("ranker", 0, host.folder.records)


def test_a_host_without_gates_lets_everything_happen(tmp_path):
    way = passage(Folder(tmp_path).door())
    way.hold("ranker")
    assert (way.leave("ranker"), way.back("ranker"), way.gates(), way.settle()) == ([], "", {}, "")
    way.forget("ranker")


def test_an_instance_leaves_on_behalf_of_the_run_and_comes_back(host):
    with host.gateway():
        way = passage(host.door)
        assert way.leave("ranker") == []
        assert held(host).words() == "closed by alice@deploy1: site.yml changes it since 2026-11-27T10:00Z"
        assert way.gates()["ranker"].startswith("closed by alice@deploy1")
        assert way.back("ranker") == ""
        assert held(host) is None
        assert way.gates() == {"ranker": ""}


def test_one_that_is_about_to_start_is_held_without_a_look_at_the_gateways(host):
    passage(host.door).hold("ranker")
    assert held(host).state == "closed"


def test_what_a_person_has_closed_stays_closed_and_is_no_problem(host):
    host.door.set("ranker", record())
    with host.gateway():
        way = passage(host.door)
        way.leave("ranker")
        assert way.back("ranker") == ""
    assert held(host).by == "alice"


def test_nothing_leaves_while_a_gateway_is_silent_unless_a_failed_run_is_taken_back(host):
    with host.gateway():
        pass
    for pair in host.companion.pollers.gateways["edge-1"].pairs.values():
        pair.agent = pair.http = pair.last - 2 * LONG_S
    with pytest.raises(RuntimeError, match="edge-1"):
        passage(host.door).leave("ranker")
    assert held(host) is None
    assert passage(host.door, forced=True).leave("ranker") != []


def test_callers_past_the_gateways_are_named(host):
    rest = host.server.port
    host.connections = f"0 0 10.0.0.1:{rest} 203.0.113.9:40000\n\t cubic lastsnd:90000 lastrcv:90000\n"
    with host.gateway():
        assert passage(host.door).leave("ranker") == ["203.0.113.9 call it past the gateways, and nobody told them"]


@pytest.mark.parametrize(
    ("active", "mark", "done", "deeds"),
    [
        ("inactive", "new", "started", ["reset-failed tfserving-gate.service", "start tfserving-gate.service"]),
        ("active", "new", "restarted", ["reset-failed tfserving-gate.service", "restart tfserving-gate.service"]),
        ("active", "", "", []),
    ],
)
def test_the_companion_runs_as_its_files_say(tmp_path, active, mark, done, deeds):
    folder = Folder(tmp_path)
    folder.write()
    systemd = Systemd(active, mark)
    way = passage(folder.door(systemd))
    assert (way.due(), systemd.deeds) == (done, [])
    assert way.settle() == done
    assert systemd.deeds == deeds


def test_a_companion_without_gates_is_stopped(tmp_path):
    systemd = Systemd("active")
    way = passage(Folder(tmp_path).door(systemd))
    assert (way.due(), systemd.deeds) == ("stopped", [])
    assert way.settle() == "stopped"
    assert systemd.deeds == ["stop tfserving-gate.service"]


def test_what_held_a_removed_instance_is_forgotten(host):
    way = passage(host.door)
    way.hold("ranker")
    host.folder.marks.drop("ranker", ADMITTED)
    way.forget("ranker")
    assert held(host) is None
