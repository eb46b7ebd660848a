# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Old servers behind a gateway: which calls go to them, how they are checked, and what is refused."""

from __future__ import annotations

import gateway_cases as cases
import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.errors import WishError
from ansible_collections.tfserving.fleet.plugins.plugin_utils.gateway import adopted
from ansible_collections.tfserving.fleet.plugins.plugin_utils.wishes import policy, read

CONFIG = "etc/haproxy/haproxy.cfg"
MOVING = {"ranker": {"canary": ["gpu-1"], "control": ["gpu-2"], "permille": 50}}


def old(host="gpu-1", grpc=9000, rest=9001, **keys):
    ports = {"grpc": grpc, "rest": rest}
    return {"host": host, "instance": "ranker", "ports": ports, "models": {"ranker": [7]}, "tls": False, **keys}


def planned(*olds, share=0, hosts=None, **keys):
    return cases.planned(hosts, gateway_adopted=list(olds), gateway_adopted_share=share, **keys)


def refusal(*olds, hosts=None, **keys):
    return cases.refusal(hosts, gateway_adopted=list(olds), **keys)


def test_the_old_servers_answer_what_the_share_leaves_them():
    plan = planned(old("gpu-1"), old("gpu-2"), share=25)
    for protocol, port in (("rest", 9001), ("grpc", 9000)):
        control, canary = (cases.backend(plan, f"{protocol}_ranker_{arm}") for arm in ("control", "canary"))
        assert [each["endpoint"] for each in control["servers"]] == [f"10.0.0.1:{port}", f"10.0.0.2:{port}"]
        assert [each["name"] for each in control["servers"]] == ["gpu-1.ranker.old", "gpu-2.ranker.old"]
        assert [each["name"] for each in canary["servers"]] == ["gpu-1.ranker", "gpu-2.ranker"]
        assert control["queue_ms"] == canary["queue_ms"]
    assert plan["maps"]["shares"] == {"ranker": 250}


def test_an_old_server_is_checked_by_the_state_of_its_versions_alone():
    plan = planned(old(models={"ranker": [7, 8]}), hosts=cases.fleet(1, cases.instance(versions=[7, 8])))
    backend = cases.backend(plan, "rest_ranker_control")
    assert backend["checks"] == ["/v1/models/ranker/versions/7", "/v1/models/ranker/versions/8"]
    text = cases.files(plan)[CONFIG].partition("\nbackend rest_ranker_control ")[2].partition("\nbackend ")[0]
    assert not [word for word in ("gate_port", "agent-check", "/gate/", "8490") if word in text]
    assert text.count("http-check expect rstring") == 2


@pytest.mark.parametrize(("count", "least"), [(1, 1), (2, 1), (3, 2), (10, 5)])
def test_less_than_half_of_the_old_servers_get_no_calls(count, least):
    hosts = cases.fleet(count)
    plan = planned(*(old(host) for host in hosts), hosts=hosts)
    assert {each["least"] for each in plan["arms"] if each["is_old"]} == {least}
    assert f"{{ nbsrv(rest_ranker_control) ge {least} }}" in cases.files(plan)[CONFIG]


def test_a_share_is_changed_without_another_process():
    first, second = (planned(old(), share=share) for share in (5, 50))
    assert first["generation"] == second["generation"]
    assert (first["maps"]["shares"], second["maps"]["shares"]) == ({"ranker": 50}, {"ranker": 500})


def test_with_all_calls_at_the_new_instances_the_gateway_knows_no_old_server():
    assert {**planned(old(), share=100), "generation": ""} == {**cases.planned(), "generation": ""}


def test_a_model_that_no_old_server_has_goes_its_usual_way():
    two = cases.fleet(1, cases.instance(models=["ranker", "dense"]))
    plan = planned(old(), hosts=two, share=10)
    assert {each["model"] for each in plan["arms"]} == {"ranker"}
    assert plan["maps"]["shares"] == {"dense": 0, "ranker": 100}


def test_many_old_servers_are_still_checked_for_their_own_model():
    both = {"dense": [7], "ranker": [7]}
    hosts = cases.fleet(60, cases.instance(models=["dense", "ranker"]))
    plan = planned(*(old(host, models=both) for host in hosts), hosts=hosts)
    controls = [each for each in plan["backends"] if each["arm"] == "control"]
    assert len(controls) == 4
    assert {server["track"] for each in controls for server in each["servers"]} == {""}


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        (
            old(models={"rankr": [7]}),
            "gateway_adopted[0].models.rankr: is no model of gpu-1.ranker, which replaces the old server; adopt the",
        ),
        (old(models={}), "gateway_adopted[0].models: is empty, so no call could go to it; adopt the hosts again"),
        (
            old(models={"ranker": [6, 7]}),
            "gateway_adopted[0].models.ranker: is 6 and 7, and gpu-1.ranker serves 7; have the inventory name",
        ),
        (
            old(grpc=8500),
            "gateway_adopted[0].ports: names 8500, which is a port of the instance ranker on gpu-1; run with the",
        ),
        (old(rest=8490), "gateway_adopted[0].ports: names 8490, which is the port of the gate; adopt the hosts again"),
        (old(grpc=9001), "gateway_adopted[0].ports: names 9001 on gpu-1, as gateway_adopted[0].ports does; give each"),
        (
            old(ports={"grpc": 9000}),
            "gateway_adopted[0].ports.rest: is missing, and gateways need both ports; leave it",
        ),
        (old("gpu-9"), "gateway_adopted[0]: stands beside ranker on gpu-9, which does not serve; run site.yml on the"),
        (
            old(tls=True),
            "gateway_adopted[0].tls: takes only TLS on gRPC, and gpu-1.ranker, which replaces it, takes none",
        ),
        (old(host=""), "gateway_adopted[0].host: is "),
        ({"host": "gpu-1"}, "gateway_adopted[0].instance: is missing; adopt the hosts again, or leave it out"),
        ("gpu-1", "gateway_adopted[0]: is a string; give an old server as a mapping with"),
    ],
)
def test_an_old_server_that_could_not_stand_in_is_refused(entry, says):
    assert refusal(entry).startswith(says)


def wished(versions=(7,), **ports):
    instances = [{"name": "ranker", "models": ["ranker"], **({"ports": ports} if ports else {})}]
    source = {"type": "path", "uri": "/srv/ranker/{version}", "remote": True}
    models = [{"name": "ranker", "versions": list(versions), "source": source}]
    return {"gpu-1": read.read(instances, models, policy.complete(None))}


def check(entry, share=0, **keys):
    settings = {"gateway_adopted": [entry], "gateway_adopted_share": share}
    adopted.check_wished(settings, wished(**keys))


def test_what_the_inventory_grants_passes_before_a_host_is_touched():
    check(old())
    check(old("gone"), share=100)


@pytest.mark.parametrize(
    ("entry", "keys", "says"),
    [
        (old("gpu-9"), {}, "gateway_adopted[0]: stands beside ranker on gpu-9, which the inventory does not have; run"),
        (old(instance="other"), {}, "gateway_adopted[0]: stands beside other on gpu-1, which the inventory does not"),
        (
            old(),
            {"grpc": 9000},
            "gateway_adopted[0].ports: names 9000, which is a port of the instance ranker on gpu-1",
        ),
        (
            old(models={"dense": [7]}),
            {},
            "gateway_adopted[0].models.dense: is no model of gpu-1.ranker, which replaces",
        ),
        (old(), {"versions": [8]}, "gateway_adopted[0].models.ranker: is 7, and the inventory lacks 7; have the"),
    ],
)
def test_what_the_inventory_cannot_grant_is_refused_before_a_host_is_touched(entry, keys, says):
    with pytest.raises(WishError) as caught:
        check(entry, **keys)
    assert str(caught.value).startswith(says)


def test_two_old_servers_on_one_port_are_refused():
    assert refusal(old(), old()) == (
        "gateway_adopted[1].ports: names 9000 on gpu-1, as gateway_adopted[0].ports does; give each server its own"
        " ports"
    )


def test_a_model_that_is_called_by_labels_is_refused():
    labelled = cases.fleet(1, cases.instance(labels={"stable": 7}))
    assert refusal(old(), hosts=labelled) == (
        "gateway_adopted[0].models.ranker: is served with the label stable, which an old server cannot be asked for;"
        " move its callers by hand, and leave the model out"
    )


def test_hosts_with_different_versions_are_refused():
    apart = {"gpu-1": cases.host(1), "gpu-2": cases.host(2, cases.instance(versions=[6]))}
    assert refusal(old(), hosts=apart) == (
        "gateway_adopted: has ranker, of which gpu-2.ranker serves other versions than gpu-1.ranker; take the hosts"
        " over one after another: leave the others out"
    )


def test_a_model_whose_roll_out_is_under_way_is_refused():
    assert refusal(old(), rollouts=MOVING).startswith(
        "gateway_adopted[0].models.ranker: is a model whose roll-out is under way; finish it, or take it back"
    )


def test_connections_that_are_passed_on_whole_are_refused():
    assert refusal(old(), gateway_grpc_mode="tcp").startswith(
        "gateway_adopted: is set, and with gateway_grpc_mode tcp connections are passed on whole, so no share"
    )


@pytest.mark.parametrize("share", [-1, 101, "half", True])
def test_a_share_that_is_no_percentage_is_refused(share):
    assert refusal(gateway_adopted_share=share).startswith("gateway_adopted_share: is ")
