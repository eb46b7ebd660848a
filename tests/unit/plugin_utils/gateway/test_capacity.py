# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Whether servers may leave: the others must be there, and must be able to carry the load."""

from __future__ import annotations

from ansible_collections.tfserving.fleet.plugins.plugin_utils.gateway.capacity import may_leave


def row(server, current=0, status="UP", limit=10, backend="rest_ranker", waiting=0):
    return {
        "pxname": backend,
        "svname": server,
        "status": status,
        "scur": str(current),
        "qcur": str(waiting),
        "slim": str(limit) if limit else "",
    }


def test_a_server_may_leave_while_the_others_carry_its_load():
    assert may_leave({"edge-1": [row("a", 4), row("b", 4), row("BACKEND", 8)]}, ["a"]) == []


def test_the_last_server_may_not_leave():
    rows = [row("a"), row("b", status="DOWN (agent)"), row("FRONTEND", backend="in_rest")]
    assert may_leave({"edge-1": rows}, ["a"]) == [
        "rest_ranker on edge-1: 0 servers would be left without a, and at least 1 must be"
    ]


def test_load_that_does_not_fit_into_the_other_servers_keeps_it():
    assert may_leave({"edge-1": [row("a", 5), row("b", 4)]}, ["a"]) == [
        "rest_ranker on edge-1: 9 calls would meet 10 places of 1 server without a, and at most 80% of them may be"
        " taken"
    ]


def test_calls_that_wait_are_load():
    rows = [row("a", 4), row("b", 4), row("BACKEND", 8, waiting=3)]
    assert len(may_leave({"edge-1": rows}, ["a"])) == 1


def test_servers_that_take_no_calls_may_leave_and_are_of_no_help():
    rows = [row("a", status="DRAIN"), row("b"), row("c", status="MAINT")]
    assert may_leave({"edge-1": rows}, ["a"]) == []
    assert may_leave({"edge-1": rows}, ["b"]) != []


def test_every_gateway_and_backend_is_asked():
    rows = {"edge-1": [row("a"), row("b")], "edge-2": [row("a", backend="grpc_ranker")]}
    assert [each.split(":")[0] for each in may_leave(rows, ["a"])] == ["grpc_ranker on edge-2"]


def test_servers_without_a_limit_take_any_load():
    assert may_leave({"edge-1": [row("a", 500), row("b", limit=0)]}, ["a"]) == []


def test_a_server_that_comes_up_counts():
    assert may_leave({"edge-1": [row("a"), row("b", status="UP 1/2")]}, ["a"]) == []


def test_more_servers_may_be_asked_for():
    limits = {"least_servers": 2, "most_load": 1.0}
    assert may_leave({"edge-1": [row("a"), row("b")]}, ["a"], limits) == [
        "rest_ranker on edge-1: 1 server would be left without a, and at least 2 must be"
    ]
