# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""How adopt.yml and the take-over refuse: in one sentence, before any host is asked."""

from __future__ import annotations

import json

import pytest
from playbook_place import DEAD, Place
from repository import REPOSITORY

PLAYBOOKS = REPOSITORY / "playbooks"


@pytest.fixture
def place(tmp_path):
    made = Place(tmp_path)
    made.inventory({"tfserving": {"a1": DEAD}})
    return made


def test_a_folder_that_exists_is_refused_before_a_host_is_asked(place):
    (place.folder / "adopted").mkdir()
    code, output = place.run(str(PLAYBOOKS / "adopt.yml"))
    assert code != 0
    assert f"adopt_dir: {place.folder / 'adopted'} exists already; move it away, or name another place" in output
    assert "UNREACHABLE" not in output


def test_an_adoption_of_hosts_that_do_not_answer_writes_nothing(place):
    code, output = place.run(str(PLAYBOOKS / "adopt.yml"))
    assert code != 0
    assert "no host of this run can be reached" in output
    assert not (place.folder / "adopted").exists()


@pytest.mark.parametrize("state", ["stopped", "started"])
def test_a_take_over_without_an_adoption_is_refused(place, state):
    place.inventory({"tfserving": {"a1": {}}})
    survey = {"schema": 1, "host": "a1", "servers": [], "launchers": [], "unread": []}
    place.playbook({"tfserving.fleet.adopt_takeover": {"folder": "none", "survey": survey, "state": state}})
    code, output = place.run("play.yml")
    assert code != 0
    assert "cannot be read" in output
    assert "give the folder that adopt.yml wrote" in output


def adopted_share(place, share):
    folder = place.folder / "adopted" / "beside" / "group_vars" / "tfserving_gateways"
    folder.mkdir(parents=True)
    (folder / "share.yml").write_text(f"gateway_adopted_share: {share}\n")


def test_a_share_without_gateways_is_refused(place):
    place.inventory({"tfserving": {"a1": {}}})
    adopted_share(place, 0)
    code, output = place.run(str(PLAYBOOKS / "adopt_share.yml"))
    assert code != 0
    assert "gateway_adopted: is empty, so gateways know no old server; run with the beside of the adoption" in output


OLD = {"host": "a1", "instance": "r", "ports": {"grpc": 9000, "rest": 9001}, "models": {"r": [7]}}


def test_a_gateway_whose_calls_nobody_can_count_is_refused(place):
    place.inventory({"tfserving_gateways": {"a1": {"gateway_log_calls": False}}})
    adopted_share(place, 0)
    course = {"part": "course", "folder": "adopted", "adopted": [OLD]}
    place.playbook({"tfserving.fleet.adopt_share": course})
    code, output = place.run("play.yml")
    assert code != 0
    assert "gateway_log_calls: is false for a1, and steps are judged by the calls in its journal" in output


def test_a_step_is_looked_at_until_it_is_decided_and_a_failed_one_ends_the_run(place):
    """The tasks of a step, with a gateway that cannot count in place of a real one."""
    place.inventory({"tfserving_gateways": {"a1": {}}})
    adopted_share(place, 5)
    rules = {"progress_deadline": "1s", "min_healthy_time": "0s", "interval": "1s", "auto_revert": False}
    course = {"part": "course", "folder": "adopted", "adopted": [OLD], "rules": rules}
    look = {"ansible.builtin.include_tasks": str(PLAYBOOKS / "tasks/adopt_share_look.yml")}
    place.playbook(
        {"tfserving.fleet.adopt_share": course, "register": "adopt_course"},
        {**look, "vars": {"adopt_seen": {}, "adopt_rollout": rules}},
        {"ansible.builtin.debug": {"msg": "ended {{ adopt_watch.outcome }}"}},
    )
    code, output = place.run("play.yml")
    assert code == 0, output
    assert "the new instances get 5 % of the calls now, then 5 %, 25 %, 50 % and 100 %" in output
    assert "gateway a1 does not answer" in output
    assert output.count("TASK [Compare the calls of both arms]") == 2
    assert "ended held" in output


def test_surveys_of_hosts_become_a_folder(place):
    place.inventory({"tfserving": {"a1": {}}})
    survey = {"schema": 1, "host": "a1", "servers": [], "launchers": [], "unread": [{"source": "x", "why": "y"}]}
    facts = {"adopt_survey": survey, "adopt_topology": {"gpus": []}}
    place.playbook(
        {"ansible.builtin.set_fact": facts},
        {"tfserving.fleet.adopt": {"folder": "adopted", "hosts": ["a1"]}, "run_once": True},
    )
    code, output = place.run("play.yml")
    assert code == 0, output
    assert "0 servers on 1 host: 0 wrong, 0 without effect, 0 risky" in output
    document = json.loads((place.folder / "adopted" / "adopt.json").read_text())
    assert document["unread"] == [{"host": "a1", "source": "x", "why": "y"}]
