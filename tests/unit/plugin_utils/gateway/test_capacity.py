# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Who may leave while others carry the load."""

from __future__ import annotations

import pytest
from ansible_collections.tfserving.fleet.plugins.plugin_utils.gateway.capacity import may_leave, served


def server(status="UP", scur=1, qcur=0, slim=10):
    return {"status": status, "scur": scur, "qcur": qcur, "slim": slim}


def backend(qcur=0, **servers):
    return {"qcur": qcur, "servers": {name.replace("_", "."): each for name, each in servers.items()}}


def gateway(**servers):
    return {"edge": {"rest_ranker": backend(**servers), "gate": backend(a_ranker=server())}}


def test_one_of_two_may_leave():
    assert may_leave(gateway(a_ranker=server(), b_ranker=server()), ["a"]) == []


def test_the_last_one_may_not():
    found = may_leave(gateway(a_ranker=server(), b_ranker=server("DOWN (agent)")), ["a"])
    assert found == ["rest_ranker on edge would have 0 servers left without a.ranker"]


def test_hosts_of_one_batch_leave_together():
    found = may_leave(gateway(a_ranker=server(), b_ranker=server()), ["a", "b"], ["ranker"])
    assert found == ["rest_ranker on edge would have 0 servers left without a.ranker and b.ranker"]


def test_instances_of_one_host_leave_one_after_another():
    two = gateway(a_first=server(), a_second=server())
    assert may_leave(two, ["a"], ["first", "second"]) == []
    assert may_leave(two, ["a"]) != []


def test_a_server_that_takes_no_calls_is_no_loss():
    assert may_leave(gateway(a_ranker=server("DOWN (agent)")), ["a"]) == []
    assert may_leave(gateway(a_ranker=server("MAINT")), ["a"]) == []


def test_a_host_that_no_gateway_knows_may_leave():
    assert may_leave(gateway(a_ranker=server()), ["c"]) == []


def test_a_host_with_dots_in_its_name_is_told_from_another():
    servers = {"gpu-1.example.com.ranker": server(), "gpu-2.example.com.ranker": server()}
    seen = {"edge": {"grpc_ranker": {"qcur": 0, "servers": servers}}}
    assert may_leave(seen, ["gpu-1.example.com"], ["ranker"]) == []
    assert may_leave(seen, ["gpu-1.example"], ["ranker"]) == []


@pytest.mark.parametrize(("scur", "qcur", "waiting"), [(5, 0, 0), (1, 4, 0), (1, 0, 8)])
def test_the_others_need_room_for_what_is_in_progress_and_for_what_waits(scur, qcur, waiting):
    busy = server(scur=scur, qcur=qcur)
    seen = gateway(qcur=waiting, a_ranker=busy, b_ranker=server(scur=4, slim=10))
    load = scur + qcur + waiting + 4
    assert may_leave(seen, ["a"]) == [
        f"rest_ranker on edge would have 10 places left without a.ranker, and {load} calls would take more than 80% of"
        " them"
    ]


def test_a_server_without_a_limit_has_room_for_all():
    assert may_leave(gateway(a_ranker=server(scur=900), b_ranker=server(slim=0)), ["a"]) == []


def test_a_server_has_room_once_for_all_of_its_backends():
    def seen(calls):
        both = backend(a_ranker=server(scur=calls), b_ranker=server(scur=calls))
        return {"edge": {"grpc_ranker": both, "rest_ranker": both}}

    assert may_leave(seen(2), ["a"]) == []
    assert may_leave(seen(3), ["a"]) == [
        "b.ranker would get 12 calls of grpc_ranker on edge and rest_ranker on edge without a.ranker, more than 80% of"
        " its 10 places"
    ]


def test_calls_of_a_model_go_to_all_of_its_servers_and_leave_each_a_part_of_its_room():
    ranker = backend(a_ranker=server(scur=3), b_ranker=server(scur=3), c_ranker=server(scur=4))
    alone = backend(c_ranker=server(scur=3))
    assert may_leave({"edge": {"rest_ranker": ranker, "rest_other": alone}}, ["a"]) == []
    alone = backend(c_ranker=server(scur=4))
    (reason,) = may_leave({"edge": {"rest_ranker": ranker, "rest_other": alone}}, ["a"])
    assert reason.startswith("c.ranker would get 9 calls of rest_ranker on edge and rest_other on edge without a")


def test_a_server_that_was_busy_before_and_gains_nothing_hinders_nobody():
    seen = {
        "edge": {
            "rest_ranker": backend(a_ranker=server(), b_ranker=server()),
            "rest_other": backend(c_other=server(scur=10)),
        }
    }
    assert may_leave(seen, ["a"]) == []


def test_every_gateway_is_judged_for_itself():
    seen = {
        "edge-1": {"rest_ranker": backend(a_ranker=server(), b_ranker=server())},
        "edge-2": {"rest_ranker": backend(a_ranker=server(), b_ranker=server("DOWN"))},
    }
    assert may_leave(seen, ["a"]) == ["rest_ranker on edge-2 would have 0 servers left without a.ranker"]


def test_a_backend_without_servers_hinders_nobody():
    assert may_leave({"edge": {"rest_ranker": {"servers": {}}}}, ["a"]) == []


# --- arms of a roll-out ---------------------------------------------------------------------------------------------


def arms(**others):
    """Return what a gateway says of two hosts, one in each arm, and of further backends."""
    control = backend(b_ranker=server(scur=2))
    return {"edge": {"rest_ranker": control, "rest_ranker_canary": backend(a_ranker=server(scur=3)), **others}}


def test_the_only_host_of_an_arm_may_leave_as_its_calls_go_to_the_others():
    assert may_leave(arms(), ["a"], models=["ranker"]) == []
    assert may_leave(arms(), ["a"]) == ["rest_ranker_canary on edge would have 0 servers left without a.ranker"]


def test_the_hosts_of_both_arms_may_not():
    found = may_leave(arms(), ["a", "b"], models=["ranker"])
    assert found == ["rest_ranker on edge would have 0 servers left without a.ranker and b.ranker"]


def test_the_others_need_room_for_the_calls_of_the_arms_as_well():
    control = backend(b_ranker=server(scur=3))
    seen = arms(rest_ranker_control=control)
    assert may_leave(seen, ["a"], models=["ranker"]) == []
    seen["edge"]["rest_ranker_canary"] = backend(qcur=1, a_ranker=server(scur=3))
    (reason,) = may_leave(seen, ["a"], models=["ranker"])
    assert reason.startswith("rest_ranker on edge would have 10 places left without a.ranker, and 9 calls would take")


def test_a_model_whose_name_ends_like_an_arm_is_none():
    found = may_leave(arms(), ["a"], models=["ranker", "ranker_canary"])
    assert found == ["rest_ranker_canary on edge would have 0 servers left without a.ranker"]


@pytest.mark.parametrize("fleet", [None, [], {"a": 1}, {"a": {"instances": 1}}, {"a": {"instances": [{"models": 1}]}}])
def test_a_damaged_memory_of_the_fleet_names_no_models(fleet):
    assert served(fleet) == set()


def test_the_models_are_those_that_the_gateway_remembers():
    assert served({"a": {"instances": [{"models": ["x"]}, {"models": ["y", "x"]}]}, "b": {}}) == {"x", "y"}
