# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A take-over behind a gateway that runs: HAProxy of Debian 12 and 13, new instances and old servers on loopback."""

from __future__ import annotations

import gateway_cases as cases
import pytest
from gateway_hosts import gateway, predict
from haproxies import BOOKWORM, TRIXIE

NEW, OLD = {"gpu-2", "gpu-3"}, {"old-2", "old-3"}
PATHS = ("/v1/models/ranker:predict", "/v1/models/ranker/versions/7:predict")


@pytest.fixture(scope="module", params=[BOOKWORM, TRIXIE])
def shared(request, tmp_path_factory):
    """Two hosts, each with a new instance and an old server."""
    place = tmp_path_factory.mktemp("gateway")
    with gateway(place, request.param, [[cases.instance()]] * 2, has_olds=True) as running:
        running.settled()
        yield running


@pytest.fixture(autouse=True)
def mended(shared):
    yield
    share(shared, 0)
    for host in shared.hosts.values():
        host.closed, host.state = "", "AVAILABLE"
    shared.wait(lambda states: set(states.values()) == {"UP"})


def share(running, permille):
    running.command(f"set map {running.place}/etc/haproxy/tfserving/maps/shares.map ranker {permille}")


def answered(running, count=24):
    """Return who answers REST calls, half of which name the version, and gRPC calls, half of which do so too."""
    rest = {running.rest(PATHS[number % 2])[1]["host"] for number in range(count)}
    grpc = [running.grpc(predict("ranker", 7 * (number % 2))) for number in range(count)]
    return rest | {name for name in NEW | OLD if any(name.encode() in answer for answer in grpc)}


def test_without_a_share_the_old_servers_answer_everything(shared):
    assert answered(shared) == OLD


def test_a_share_reaches_both_and_the_whole_the_new_instances_alone(shared):
    share(shared, 500)
    assert answered(shared, 40) == NEW | OLD
    share(shared, 1000)
    assert answered(shared) == NEW


def test_an_old_server_is_out_while_its_model_is_not_available(shared):
    shared.hosts["old-2"].state = "LOADING"
    shared.wait(lambda states: states["rest_ranker_control/gpu-2.ranker.old"].startswith("DOWN"))
    shared.wait(lambda states: states["grpc_ranker_control/gpu-2.ranker.old"].startswith("DOWN"))
    assert answered(shared) == {"old-3"}


def test_the_gates_close_new_instances_alone(shared):
    share(shared, 1000)
    for name in NEW:
        shared.hosts[name].closed = "draining by alice: driver"
    shared.wait(lambda states: sum(state.startswith("DOWN") for state in states.values()) == 8)
    assert answered(shared) == OLD


def test_a_single_old_server_answers_where_nothing_else_is_up(shared):
    for name in ("old-3", *NEW):
        shared.hosts[name].state = "LOADING"
    shared.wait(lambda states: sum(state.startswith("DOWN") for state in states.values()) == 10)
    assert answered(shared) == {"old-2"}


def test_new_instances_answer_where_every_old_server_is_down(shared):
    for name in OLD:
        shared.hosts[name].state = "LOADING"
    shared.wait(lambda states: sum(state.startswith("DOWN") for state in states.values()) == 4)
    assert answered(shared) == NEW
