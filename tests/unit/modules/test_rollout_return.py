# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The module that takes a roll-out back on one host: record, share and servers, in this order, and what it refuses."""

from __future__ import annotations

import json

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.gateway import runtime
from ansible_collections.tfserving.fleet.plugins.module_utils.host import process as process_facts
from ansible_collections.tfserving.fleet.plugins.module_utils.models import rollout_record
from ansible_collections.tfserving.fleet.plugins.module_utils.serving import reload
from ansible_collections.tfserving.fleet.plugins.modules import rollout_return
from ansible_collections.tfserving.fleet.plugins.plugin_utils.rollout import course
from ansible_collections.tfserving.fleet.plugins.plugin_utils.rollout import state as states
from returning_host import ReturningHost
from running import run_module

AT = 2000.0


def state(generation=1, revision=1, stage="share", **changes):
    begun = states.begin(None, "ranker", 7, 8, [1, 100], 1000.0, False).to_json()
    return {**begun, "generation": generation, "revision": revision, "stage": stage, **changes}


def short(known):
    return {key: known[key] for key in ("generation", "old", "new")}


def taken_back(known):
    return rollout_record.taken_back(known, "wrong scores", AT)


class Worker:
    """HAProxy's map in the process."""

    def __init__(self):
        self.shares = {"ranker": "50"}
        self.is_deaf = False

    def ask(self, _socket, command):
        if self.is_deaf:
            raise runtime.SocketError("/run/haproxy/admin.sock: HAProxy does not answer (Connection refused)")
        verb, _map, _path, *pair = command.split(" ")
        if verb == "show":
            return "".join(f"0x1 {key} {value}\n" for key, value in self.shares.items())
        self.shares.update([pair])
        return ""


@pytest.fixture
def host(tmp_path, monkeypatch):
    monkeypatch.setattr(process_facts, "stranger_on_port", lambda *_arguments: "")
    monkeypatch.setattr(reload, "asked", lambda *_arguments: True)
    with ReturningHost(tmp_path) as made:
        monkeypatch.setattr(rollout_return, "runner", lambda _module: made.unit.run)
        yield made


@pytest.fixture
def worker(tmp_path, monkeypatch):
    (tmp_path / "shares.map").write_text("ranker 50\n")
    made = Worker()
    monkeypatch.setattr(runtime, "ask", made.ask)
    return made


@pytest.fixture
def run(host, tmp_path):
    """Run the module as the host would."""

    def call(**arguments):
        check = arguments.pop("check", False)
        given = {"model": "ranker", "reason": "wrong scores", "at": AT, "seconds": 0, **arguments}
        places = {"config_root": host.place.config, "state_path": host.place.trees, "path": str(tmp_path / "rollout")}
        return run_module(rollout_return, **places, **given, _ansible_check_mode=check)

    return call


@pytest.fixture
def kept(tmp_path):
    """Keep a state as the host's own record, and return what it has."""

    def keep(known=None):
        file = tmp_path / "rollout/ranker.json"
        if known is not None:
            file.parent.mkdir(exist_ok=True)
            file.write_text(json.dumps(known))
        return json.loads(file.read_text()) if file.exists() else None

    return keep


@pytest.mark.parametrize("stage", ["prepare", "canary", "share", "rest", "done"])
def test_a_host_that_decides_alone_takes_back_the_roll_out_that_it_knows(run, kept, host, stage):
    kept(state(3, 9, stage, held="too few calls"))
    answer = run()
    assert answer["changed"]
    assert answer["state"] == kept() == taken_back(state(3, 9, stage, held="too few calls"))
    assert (kept()["generation"], kept()["stage"], kept()["held"]) == (4, "reverting", "")
    assert kept()["reverted"] == {"8": {"reason": "wrong scores", "at": AT}}
    assert answer["instances"] == [
        {"name": "main", "answers": True, "words": "", "states": {"7": "AVAILABLE", "8": "END"}}
    ]
    assert host.present() == host.wanted(7)


def test_a_host_follows_what_others_have_decided(run, kept):
    kept(state(3, 9))
    decided = taken_back(state(3, 9))
    answer = run(decided=short(decided))
    # The state is known there.
    assert (answer["old"], answer["state"], kept()) == (7, None, decided)
    again = run(decided=short(decided))
    assert (again["changed"], kept()) == (False, decided)


def test_a_host_that_was_recorded_last_in_another_revision_follows_as_well(run, kept):
    kept(state(3, 4, "canary"))
    run(decided=short(taken_back(state(3, 9))))
    assert kept() == taken_back(state(3, 4, "canary"))


def test_a_host_that_was_down_follows_the_newest_roll_out_and_not_its_own(run, kept):
    # It has been through 6 -> 7 alone, and 7 is what it is to serve.
    own = {**state(1, 9, "done"), "old": 6, "new": 7}
    kept(own)
    answer = run(decided=short(taken_back(state(3))))
    # Its record gets the whole state later.
    assert (answer["old"], answer["state"], kept()) == (7, None, own)
    assert answer["instances"][0]["answers"]


def test_a_host_without_a_record_follows_the_others(run, kept, host):
    answer = run(decided=short(taken_back(state(3))))
    assert (answer["old"], kept(), host.present()) == (7, None, host.wanted(7))


def test_a_host_that_knows_a_newer_generation_takes_that_one_back(run, kept):
    kept(state(9, 4))
    answer = run(decided=short(taken_back(state(3))))
    assert answer["state"] == kept() == taken_back(state(9, 4))


def test_a_host_that_knows_a_newer_way_back_keeps_it(run, kept):
    kept(state(9, 4, "reverted"))
    answer = run(decided=short(taken_back(state(3))))
    assert answer["state"] == kept() == state(9, 4, "reverted")


def test_twice_in_a_row_stays_with_the_version_before(run, kept, host):
    kept(state(3))
    run()
    again = run(reason="another reason")
    assert again["instances"][0]["answers"]
    assert (kept()["generation"], kept()["reason"], host.present()) == (5, "wrong scores", host.wanted(7))


def test_a_call_that_was_killed_after_the_record_is_made_good_by_the_next(run, kept, worker, host, tmp_path):
    decided = taken_back(state(3))
    kept(decided)
    answer = run(decided=short(decided), shares=str(tmp_path / "shares.map"))
    assert (answer["changed"], answer["share"], worker.shares) == (True, True, {"ranker": "0"})
    assert host.present() == host.wanted(7)


def test_a_host_without_a_roll_out_is_left_alone(run, kept, host):
    before = host.present()
    answer = run()
    assert (answer["changed"], answer["state"], answer["instances"], kept()) == (False, None, [], None)
    assert host.present() == before


def test_a_roll_out_that_began_in_between_is_left_alone(run, kept, host, monkeypatch):
    before = host.present()
    kept(state(3))
    monkeypatch.setattr(rollout_record, "write", lambda *_arguments: (state(9), False))
    assert (run()["old"], run()["state"]) == (None, None)
    assert host.present() == before


def test_a_gateway_gets_the_share_zero_and_no_server_is_touched(run, kept, worker, host, tmp_path):
    kept(state(3))
    before = host.present()
    answer = run(shares=str(tmp_path / "shares.map"), serves=False)
    assert (answer["share"], answer["instances"], worker.shares) == (True, [], {"ranker": "0"})
    assert (tmp_path / "shares.map").read_text() == "ranker 0\n"
    assert host.present() == before


def test_a_gateway_that_does_not_answer_keeps_no_server_on_the_bad_version(run, kept, worker, host, tmp_path):
    kept(state(3))
    worker.is_deaf = True
    answer = run(shares=str(tmp_path / "shares.map"))
    assert answer["failed"]
    assert answer["msg"] == "/run/haproxy/admin.sock: HAProxy does not answer (Connection refused)"
    assert answer["instances"][0]["answers"]
    assert host.present() == host.wanted(7)


def test_check_mode_says_what_would_be_and_changes_nothing(run, kept, worker, host, tmp_path):
    before = host.present()
    kept(state(3))
    answer = run(check=True, shares=str(tmp_path / "shares.map"))
    assert (answer["changed"], answer["state"]) == (True, taken_back(state(3)))
    assert (kept(), worker.shares, host.present()) == (state(3), {"ranker": "50"}, before)


@pytest.mark.parametrize("content", ["{", json.dumps({**state(), "old": 0}), json.dumps({**state(), "new": "8"})])
def test_a_damaged_record_is_refused_before_anything_is_changed(run, kept, host, tmp_path, content):
    kept({})
    (tmp_path / "rollout/ranker.json").write_text(content)
    before = host.present()
    answer = run()
    assert answer["failed"]
    assert "ranker.json: is damaged; move it away and run again; with it goes what it says of" in answer["msg"]
    assert host.present() == before
    assert (tmp_path / "rollout/ranker.json").read_text() == content


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"model": "../etc"}, "rollouts: '../etc' cannot be a model; use letters, digits, '_', '-' and '.'"),
        ({"decided": {"old": 7}}, "missing required arguments: generation, new found in decided"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(run, wrong, sentence):
    assert run(**wrong)["msg"] == sentence


def test_the_controller_and_the_hosts_take_back_alike():
    known = states.from_json(state(3, 9, "rest", evidence={"since": 1.0}))
    assert course.taken_back("ranker", known, "wrong scores", AT).to_json() == taken_back(known.to_json())
