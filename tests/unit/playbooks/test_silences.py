# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The silences of roll-outs, with a stand-in for amtool on a monitoring host."""

from __future__ import annotations

import json
import os

import pytest
import yaml
from amtool_double import Amtool
from playbook_place import DEAD
from rollout_place import RolloutPlace


class Watched(RolloutPlace):
    """A fleet with a monitoring host, and perhaps a second one that is down."""

    def watched_by(self, **hosts: dict) -> None:
        inventory = yaml.safe_load((self.folder / "hosts.yml").read_text())
        inventory["all"]["children"]["tfserving_monitoring"] = {"hosts": hosts}
        (self.folder / "hosts.yml").write_text(yaml.safe_dump(inventory))


@pytest.fixture
def amtool(tmp_path, monkeypatch):
    found = Amtool(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{found.folder}:{os.environ['PATH']}")
    return found


@pytest.fixture
def place(tmp_path):
    made = Watched(tmp_path / "fleet") if (tmp_path / "fleet").mkdir() is None else None
    made.watched_by(eye={})
    return made


def of(silence: dict) -> dict[str, str]:
    return {each["name"]: each["value"] for each in silence["matchers"]}


def test_a_roll_out_and_its_way_back_are_silenced_from_before_hosts_are_touched_to_the_end(place, amtool):
    code, output = place.roll()
    assert code == 0, output
    of_model, of_instances = amtool.silences()
    assert of(of_model) == {"alertname": "VersionSkew", "model": "ranker"}
    assert (of(of_instances)["host"], of(of_instances)["serving_instance"]) == ("h1|h2", "ranker")
    assert [each["status"]["state"] for each in amtool.silences()] == ["expired", "expired"]
    code, output = place.roll("rollback")
    assert code == 0, output
    assert len(amtool.silences()) > 2
    assert of(amtool.silences()[-1]) == {"alertname": "VersionSkew", "model": "ranker"}
    assert {each["status"]["state"] for each in amtool.silences()} == {"expired"}


def test_a_roll_out_that_is_taken_back_is_no_longer_silenced(place, amtool):
    place.verdicts(p5="fail")
    code, _output = place.roll()
    assert code != 0
    assert {each["status"]["state"] for each in amtool.silences()} == {"expired"}


def test_a_roll_out_that_fails_before_its_steps_leaves_silences_that_end_by_themselves(place, amtool):
    code, _output = place.roll("rollout", "-e", json.dumps({"fails": "host_plan", "failing": ["h1"]}))
    assert code != 0
    assert all(each["endsAt"] for each in amtool.silences())


def test_an_alertmanager_that_does_not_answer_stops_no_roll_out(place, amtool):
    amtool.answers(1, err="amtool: error: connection refused")
    code, output = place.roll()
    assert code == 0, output
    assert "alerts are not silenced as planned: amtool silence query failed: connection refused" in output
    assert place.served() == {"h1": [8], "h2": [8]}


def test_a_monitoring_host_that_is_down_stops_no_roll_out_and_the_other_one_is_asked(place, amtool):
    place.watched_by(dead=DEAD, eye={})
    code, output = place.roll()
    assert code == 0, output
    assert place.served() == {"h1": [8], "h2": [8]}
    assert len(amtool.silences()) == 2
