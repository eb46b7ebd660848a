# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""An instance leaves the traffic before it is disturbed, and comes back once it is proven."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.serving.conductor import UnprovenError
from ansible_collections.tfserving.fleet.plugins.module_utils.serving.traffic import Traffic
from conducted_host import conductor
from ports import free_port


class Told(Traffic):
    """Traffic that is noted among the deeds of the host; ``refusal`` is raised instead of leaving."""

    def __init__(self, deeds, refusal="", problem="", remarks=()):
        self.deeds, self.refusal, self.problem, self.remarks = deeds, refusal, problem, remarks

    def settle(self):
        return "restarted"

    def gates(self):
        return {"a": "closed by alice"}

    def hold(self, name):
        self.deeds.append(f"hold {name}")

    def leave(self, name):
        if self.refusal:
            raise RuntimeError(self.refusal)
        self.deeds.append(f"leave {name}")
        return list(self.remarks)

    def back(self, name):
        self.deeds.append(f"back {name}")
        return self.problem

    def forget(self, name):
        self.deeds.append(f"forget {name}")


def running(host, **ports):
    instances = [host.lay_down(name, f"{name}-1", port, port + 1) for name, port in ports.items()]
    conductor(host, instances=instances).conduct()
    host.deeds.clear()
    return instances


def test_a_new_instance_gets_no_traffic_before_it_is_proven(host):
    instance = host.lay_down("a", "a-1", free_port())
    conductor(host, Told(host.deeds), instances=[instance]).conduct()
    assert host.deeds == ["enable a", "hold a", "start a", "back a"]


def test_a_restarted_instance_leaves_first_and_the_next_one_waits_until_it_is_back(host):
    one, two = free_port(), free_port()
    running(host, a=one, b=two)
    changed = [host.lay_down("a", "a-2", one, one + 1), host.lay_down("b", "b-2", two, two + 1)]
    conductor(host, Told(host.deeds), instances=changed).conduct()
    assert host.deeds == ["leave a", "restart a", "back a", "leave b", "restart b", "back b"]


def test_one_that_runs_as_planned_is_let_in_in_case_a_dead_run_has_closed_its_gate(host):
    instances = running(host, a=free_port())
    result = conductor(host, Told(host.deeds), instances=instances).conduct()
    assert host.deeds == ["back a"]
    assert result["gate"] == ["restarted"]


def test_a_removed_instance_leaves_before_it_goes(host):
    instances = running(host, a=free_port(), b=free_port())
    host.remove_files("b")
    conductor(host, Told(host.deeds), instances=instances[:1]).conduct()
    assert host.deeds == ["leave b", "disable b", "forget b", "back a"]


def test_instances_that_swap_their_ports_leave_before_one_is_stopped(host):
    one, two = free_port(), free_port()
    running(host, a=one, b=two)
    swapped = [host.lay_down("a", "a-2", two), host.lay_down("b", "b-2", one)]
    conductor(host, Told(host.deeds), instances=swapped).conduct()
    assert host.deeds[:3] == ["leave a", "stop a", "leave b"]


def test_nothing_is_stopped_where_nothing_may_be_disturbed(host):
    port = free_port()
    running(host, a=port)
    changed = [host.lay_down("a", "a-2", port)]
    with pytest.raises(RuntimeError, match="edge-1 has not asked for 9 s"):
        conductor(host, Told(host.deeds, refusal="edge-1 has not asked for 9 s"), instances=changed).conduct()
    assert host.deeds == []


def test_one_that_does_not_run_is_started_whatever_the_gateways_do(host):
    instance = host.lay_down("a", "a-1", free_port())
    conductor(host, Told(host.deeds, refusal="edge-1 has not asked for 9 s"), instances=[instance]).conduct()
    assert host.deeds == ["enable a", "hold a", "start a", "back a"]


def test_one_that_serves_and_gets_no_traffic_ends_the_run(host):
    instances = running(host, a=free_port())
    with pytest.raises(UnprovenError) as failed:
        conductor(host, Told(host.deeds, problem="edge-1 does not see it"), instances=instances).conduct()
    assert failed.value.result["msg"] == "instance a serves, but gets no traffic: edge-1 does not see it"


def test_what_could_not_be_proven_on_the_way_is_said(host):
    port = free_port()
    running(host, a=port)
    traffic = Told(host.deeds, remarks=["10.0.0.9 calls it past the gateways"])
    result = conductor(host, traffic, instances=[host.lay_down("a", "a-2", port)]).conduct()
    assert result["remarks"] == ["instance a: 10.0.0.9 calls it past the gateways"]


def test_a_taken_back_instance_leaves_and_comes_back_too(host):
    port = free_port()
    running(host, a=port)
    host.lay_down("a", "a-2", port)
    conductor(host, Told(host.deeds), state="restored", touched=["a"]).conduct()
    assert host.deeds == ["leave a", "restart a", "back a"]


def test_the_status_names_the_state_of_the_gate(host):
    instances = running(host, a=free_port())
    (found,) = conductor(host, Told(host.deeds), instances=instances).conduct()["status"]["instances"]
    assert found["gate"] == "closed by alice"


def test_what_would_be_stopped_is_named_where_nothing_may_be_stopped(host):
    one, two, three = free_port(), free_port(), free_port()
    running(host, a=one, b=two, c=three)
    host.remove_files("b")
    changed = [host.lay_down("a", "a-2", one, one + 1), host.lay_down("c", "c-1", three, three + 1)]
    result = conductor(host, Told(host.deeds), instances=changed, may_stop=False).conduct()
    assert (result["waiting"], result["changed"], host.deeds) == (["a", "b"], True, [])


def test_what_only_has_to_be_started_does_not_wait(host):
    instance = host.lay_down("a", "a-1", free_port())
    result = conductor(host, Told(host.deeds), instances=[instance], may_stop=False).conduct()
    assert "waiting" not in result
    assert host.deeds == ["enable a", "hold a", "start a", "back a"]
