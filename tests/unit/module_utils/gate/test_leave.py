# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The order of leaving: what is waited for, what not, and what is said of the rest."""

from __future__ import annotations

from ansible_collections.tfserving.fleet.plugins.module_utils.gate import leave as leaving
from ansible_collections.tfserving.fleet.plugins.module_utils.gate.config import Instance
from gate_cases import RANKER, FakeHost, config, poll

EDGE = [(poll(), "10.0.0.7"), (poll(backend="grpc_m"), "10.0.0.7")]
OTHER = Instance("other", 9501, 9500, {})


def left(host, *instances, refuse=True, **more):
    return leaving.leave(instances or [RANKER], config(*instances, **more), host, refuse)


def test_the_whole_order():
    host = FakeHost(EDGE)
    (found,) = left(host)
    assert host.deeds == ["close ranker", "look", "refuse ranker", "look"]
    assert found.proven == (
        "every gateway has seen the closed gate",
        "no call was in flight",
        "new connections are refused",
        "no call was in flight after new connections were refused",
    )
    assert (found.unproven, found.direct_callers) == ((), ())
    # The next poll, and a moment for what was decided before it.
    assert 0.5 <= found.waited_s < 1.0


def test_calls_in_flight_are_waited_for():
    host = FakeHost(EDGE, calls=[("10.0.0.7", 1004.0)])
    (found,) = left(host)
    # The call ends after 4 s, and has to be quiet for the longest call and half a second.
    assert 6.5 <= found.waited_s < 7.0
    assert found.unproven == ()


def test_time_that_runs_out_is_told_and_holds_up_nobody():
    host = FakeHost(EDGE, calls=[("10.0.0.7", 9999.0)])
    (found,) = left(host, drain_timeout_s=20.0)
    assert 20.0 <= found.waited_s < 20.5
    words = "calls of 10.0.0.7 may have been in flight when the time was over"
    assert found.unproven == (words, words)
    # It is refused nonetheless: calls that come now would be lost.
    assert host.refused


def test_a_server_that_is_dead_is_not_waited_for():
    host = FakeHost(EDGE, calls=[("10.0.0.7", 9999.0)], listens=False)
    (found,) = left(host)
    assert (found.proven, found.waited_s) == (("the server takes no connections",), 0)
    assert not host.refused


def test_where_nobody_is_expected_and_nobody_asks_nothing_is_waited_for():
    host = FakeHost(calls=[("10.0.0.9", 9999.0)])
    (found,) = left(host, gateways=())
    assert (found.proven, found.waited_s) == (("no gateway is expected, and none asks for it",), 0)
    assert host.deeds == ["close ranker"]


def test_a_balancer_that_nobody_expects_is_waited_for_while_it_asks():
    host = FakeHost(EDGE)
    (found,) = left(host, gateways=())
    assert found.proven[0] == "every gateway has seen the closed gate"
    assert host.refused


def test_a_gateway_that_went_silent_is_named_and_not_waited_for():
    host = FakeHost(EDGE)
    host.asks = EDGE[:1]
    host.sleep(3.4)
    (found,) = left(host, gateways=["edge-1", "edge-2"])
    assert found.unproven == ("edge-1 grpc_m/h1-ranker do not ask for the gate",)
    assert found.waited_s < 1.0


def test_a_pair_that_asks_and_is_told_nothing_in_time_is_named():
    host = FakeHost(EDGE)
    host.close = lambda _name: 0.0  # the companion never sees the closed gate
    host.deeds.append("close ranker")
    (found,) = left(host, drain_timeout_s=5.0)
    assert found.unproven == ("edge-1 rest_m/h1-ranker, edge-1 grpc_m/h1-ranker have not seen the closed gate in time",)


def test_a_dead_companion_is_given_the_time_of_the_gateways_own_checks():
    host = FakeHost(page=False)
    (found,) = left(host)
    assert found.unproven == (
        "nobody knows which gateways have seen the closed gate, as its companion does not answer",
    )
    assert 3.0 <= found.waited_s < 3.5
    # Nobody is known then, so nobody is called a stranger.
    assert found.direct_callers == ()
    assert host.refused


def test_a_companion_that_dies_on_the_way_is_noticed():
    host = FakeHost(EDGE)
    pages = iter([host.page(), None])
    host.page = lambda: next(pages, None)
    assert "its companion does not answer" in left(host)[0].unproven[0]


def test_callers_that_use_no_gateway_are_named():
    host = FakeHost(EDGE, calls=[("10.0.0.7", 990.0), ("10.0.0.9", 990.0), ("192.0.2.1", 990.0)])
    (found,) = left(host)
    assert found.direct_callers == ("10.0.0.9", "192.0.2.1")
    assert found.unproven == ()


def test_what_is_drained_refuses_nobody():
    host = FakeHost(EDGE)
    (found,) = left(host, refuse=False)
    assert host.deeds == ["close ranker", "look"]
    assert found.proven == ("every gateway has seen the closed gate", "no call was in flight")


def test_instances_leave_side_by_side():
    host = FakeHost([*EDGE, (poll(instance="other", backend="rest_n"), "10.0.0.7")], calls=[("10.0.0.7", 1003.0)])
    found = left(host, RANKER, OTHER)
    assert [one.name for one in found] == ["ranker", "other"]
    assert host.deeds == ["close ranker", "close other", "look", "refuse ranker", "refuse other", "look"]
    assert all(one.waited_s < 6.5 and not one.unproven for one in found)


def test_connections_count_for_the_instance_that_has_the_port():
    host = FakeHost([*EDGE, (poll(instance="other"), "10.0.0.7")], calls=[("10.0.0.7", 9999.0)])
    first, second = left(host, RANKER, OTHER, drain_timeout_s=5.0)
    assert "calls of 10.0.0.7" in first.unproven[0]
    assert second.unproven == ()


def test_a_kernel_that_cannot_be_asked_is_said_and_new_connections_are_refused_all_the_same():
    host = FakeHost(EDGE)
    host.unable = "ss cannot list the connections (x); install iproute2"
    (found,) = left(host)
    assert found.unproven == (host.unable, host.unable)
    assert host.refused


def test_a_refusal_that_fails_is_said():
    host = FakeHost(EDGE)

    def refuse(_instance):
        raise RuntimeError("nft is missing")

    host.refuse = refuse
    (found,) = left(host)
    assert found.unproven == ("nft is missing",)
    assert found.proven[-1] == "no call was in flight"


def test_a_gate_that_cannot_be_closed_is_said():
    host = FakeHost(EDGE)

    def close(name):
        host.deeds.append(f"close {name}")
        raise OSError(28, "No space left on device", "/run/x")

    host.close = close
    (found,) = left(host, drain_timeout_s=2.0)
    assert found.unproven[0] == "the gate could not be closed (No space left on device); look at /run/x"


def test_a_gate_that_has_been_closed_for_long_is_not_waited_for_again():
    host = FakeHost(EDGE)
    host.close("ranker")
    host.sleep(2.0)
    host.close = lambda _name: 2.0
    (found,) = left(host)
    assert found.unproven == ()
    assert found.waited_s <= 0.2


def test_many_names_are_cut():
    host = FakeHost([(poll(backend=f"rest_{number}"), "10.0.0.7") for number in range(12)])
    host.close = lambda _name: 0.0
    host.deeds.append("close ranker")
    (found,) = left(host, drain_timeout_s=1.0)
    assert "and 4 more have not seen the closed gate in time" in found.unproven[0]
