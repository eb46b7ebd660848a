# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a run asks the gateways before it stops an instance, and what it does with the answer."""

from __future__ import annotations

import pytest
import yaml
from playbook_place import Place
from repository import REPOSITORY


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


UP = {"status": "UP", "scur": 0, "qcur": 0, "slim": 10}
ALONE = {"rest_ranker": {"qcur": 0, "servers": {"gpu-a.ranker": UP}}}
TWO = {"rest_ranker": {"qcur": 0, "servers": {"gpu-a.ranker": UP, "gpu-b.ranker": UP}}}


def judge(place, backends, **more):
    place.inventory({"tfserving": {"gpu-a": {}}})
    arguments = {"gateways": [{"item": "edge-1", "backends": backends}], "hosts": ["gpu-a"], **more}
    place.playbook({"name": "Judge", "tfserving.fleet.gateway_capacity": arguments})
    return place.run("play.yml")


def test_a_fleet_without_gateways_is_asked_nothing(place):
    place.inventory({"tfserving": {"gpu-a": {}}})
    role = {"name": "tfserving.fleet.fleet", "tasks_from": "capacity.yml"}
    place.playbook({"name": "Check", "ansible.builtin.include_role": role})
    status, output = place.run("play.yml")
    assert status == 0, output
    assert "failed=0" in output


def test_others_that_carry_the_traffic_are_enough(place):
    status, output = judge(place, TWO)
    assert status == 0, output


def test_the_last_server_of_a_model_is_refused_with_the_way_out(place):
    status, output = judge(place, ALONE)
    assert status != 0
    assert (
        "fleet_allow_outage: is false, and rest_ranker on edge-1 would have 0 servers left without gpu-a.ranker;"
        " add a host, wait for less traffic, or add -e fleet_allow_outage=true"
    ) in output


def test_an_outage_that_is_allowed_is_warned_of(place):
    status, output = judge(place, ALONE, allow_outage=True)
    assert status == 0, output
    assert "rest_ranker on edge-1 would have 0 servers left without gpu-a.ranker" in output


def test_a_gateway_that_has_nothing_yet_hinders_nobody(place):
    status, output = judge(place, {})
    assert status == 0, output


def test_a_gateway_that_does_not_answer_lets_nobody_go(place):
    silent = {"item": "edge-1", "silent": True, "backends": {}, "problems": ["/run/a.sock: HAProxy does not answer"]}
    status, output = judge(place, {}, gateways=[silent])
    assert status != 0
    assert (
        "fleet_allow_outage: is false, and edge-1 does not say what its servers carry (/run/a.sock: HAProxy does not"
        " answer); restart haproxy.service there, or add -e fleet_allow_outage=true"
    ) in output
    status, output = judge(place, {}, gateways=[silent], allow_outage=True)
    assert status == 0, output
    assert "edge-1 does not say what its servers carry" in output


def test_only_the_instances_that_leave_are_judged(place):
    assert judge(place, ALONE, instances=["digits"])[0] == 0
    assert judge(place, ALONE, instances=["ranker"])[0] != 0


@pytest.mark.parametrize(
    ("variables", "leaving"),
    [
        ({}, "gpu-a gpu-b"),
        ({"fleet_turn": {"leaving": ["gpu-a", "gpu-b", "gpu-z"]}}, "gpu-a gpu-b gpu-z"),
        ({"fleet_turn": {}, "fleet_leaving_hosts": ["gpu-b"]}, "gpu-b"),
    ],
)
def test_those_that_leave_are_the_batch_or_in_a_run_in_slices_all_that_are_out(place, variables, leaving):
    (check,) = yaml.safe_load((REPOSITORY / "roles/fleet/tasks/capacity.yml").read_text())
    (judged,) = [task for task in check["block"] if "tfserving.fleet.gateway_capacity" in task]
    hosts = judged["tfserving.fleet.gateway_capacity"]["hosts"]
    place.inventory({"tfserving": {"gpu-a": {}, "gpu-b": {}}}, **variables)
    place.playbook(
        {"ansible.builtin.debug": {"msg": "leaving: {{ leaving | join(' ') }}."}, "vars": {"leaving": hosts}}
    )
    status, output = place.run("play.yml")
    assert status == 0, output
    assert f"leaving: {leaving}." in output
