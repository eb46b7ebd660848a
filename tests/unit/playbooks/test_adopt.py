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
