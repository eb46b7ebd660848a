# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The action gathers plans of this run, of records and of the gateway's memory, and the variables of the role."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from ansible_collections.tfserving.fleet.plugins.plugin_utils.rollout.state import begin
from playbook_place import Place
from tls_pairs import DAY, NOW, pair

INSTANCE = {
    "name": "ranker",
    "models": ["ranker"],
    "ports": {"grpc": 8500, "rest": 8501},
    "threads": {"grpc": 9, "rest": 9},
    "batching": None,
    "objective_p99_ms": 50,
    "model_config": {"model_config_list": {"config": [{"name": "ranker"}]}},
    "flags": {},
}
PLAN = {"instances": [INSTANCE], "models": [{"name": "ranker", "versions": [7]}]}
KNOWN = {"gate_port": 8490, "longest_call_s": 30, "address": "10.0.0.3", **PLAN}


@pytest.fixture
def place(tmp_path):
    place = Place(tmp_path)
    place.inventory(
        {
            "tfserving": {
                "gpu-1": {"tfserving_plan": PLAN, "tfserving_address": "10.0.0.1"},
                "gpu-2": {"tfserving_address": "10.0.0.2", "tfserving_longest_call_s": 45},
                "gpu-3": {"tfserving_address": "10.0.0.9"},
            },
            "tfserving_gateways": {
                "edge-1": {"gateway_rest_port": "{{ 8000 + 88 }}", "tfserving_address": "10.0.0.5"},
                "edge-2": {"tfserving_address": "10.0.0.6"},
            },
        }
    )
    return place


def planned(place, **arguments):
    arguments = {"version": "2.6.12-1+deb12u4", "records": {"gpu-2": PLAN}, "known": {"gpu-3": KNOWN}, **arguments}
    out = place.folder / "planned.json"
    place.playbook(
        {"tfserving.fleet.gateway_plan": arguments, "register": "planned"},
        {"ansible.builtin.copy": {"content": "{{ planned | to_json }}", "dest": str(out)}},
        hosts="edge-1",
    )
    code, output = place.run("play.yml")
    return json.loads(out.read_text()) if code == 0 else output


def test_a_gateway_is_planned_from_all_hosts_and_its_own_variables(place):
    found = planned(place)
    servers = {each["name"]: each for backend in found["plan"]["backends"] for each in backend["servers"]}
    assert sorted(servers) == ["gpu-1.ranker", "gpu-2.ranker", "gpu-3.ranker"]
    assert {name: each["address"] for name, each in found["fleet"].items()} == {
        "gpu-1": "10.0.0.1",
        "gpu-2": "10.0.0.2",
        "gpu-3": "10.0.0.3",
    }
    assert found["fleet"]["gpu-2"]["longest_call_s"] == 45
    assert sorted(found["ports"]) == [8088, 8404, 9500]
    assert "tune.h2.max-concurrent-streams 1" in found["tune"]
    assert found["plan"]["gateway"] == "edge-1"
    assert found["plan"]["warnings"][0].startswith("gpu-3 cannot be reached")
    assert found["vrrp"] == []


def test_a_gateway_that_is_known_by_an_address_of_ipv6_listens_there_too(place):
    hosts = {"gpu-1": {"tfserving_plan": PLAN, "tfserving_address": "fd00::1"}}
    place.inventory({"tfserving": hosts, "tfserving_gateways": {"edge-1": {"tfserving_address": "fd00::5"}}})
    assert planned(place)["plan"]["bind"]["addresses"] == ["*", "[::]"]


def test_a_roll_out_has_its_shares_in_the_map(place):
    rollouts = {"ranker": {"canary": ["gpu-1"], "control": ["gpu-2"], "permille": 50}}
    found = planned(place, rollouts=rollouts)
    assert found["shares"] == {"/etc/haproxy/tfserving/maps/shares.map": {"ranker": 50}}


def test_old_servers_get_what_the_share_of_an_adoption_leaves_them(place):
    old = {"host": "gpu-1", "instance": "ranker", "ports": {"grpc": 9000, "rest": 9001}, "models": {"ranker": [7]}}
    place.inventory(
        {
            "tfserving": {"gpu-1": {"tfserving_plan": PLAN, "tfserving_address": "10.0.0.1"}},
            "tfserving_gateways": {"edge-1": {"tfserving_address": "10.0.0.5"}},
        },
        gateway_adopted=[old],
        adopt_applied=25,
        gateway_adopted_share="{{ adopt_applied }}",
    )
    found = planned(place)
    assert found["shares"] == {"/etc/haproxy/tfserving/maps/shares.map": {"ranker": 250}}
    arms = {each["name"]: [server["endpoint"] for server in each["servers"]] for each in found["plan"]["backends"]}
    assert (arms["rest_ranker_control"], arms["grpc_ranker_control"]) == (["10.0.0.1:9001"], ["10.0.0.1:9000"])


def test_a_host_of_which_nothing_is_known_ends_the_run_with_a_sentence(place):
    output = planned(place, known={})
    assert "groups['tfserving']: gpu-3 cannot be reached, and this gateway has no record of it; run again" in output
    assert "Traceback" not in output


@pytest.mark.parametrize(
    ("host", "variables", "sentence"),
    [
        (
            "gpu-3",
            {"tfserving_address": "gpu-3.example.com"},
            "tfserving_address: is 'gpu-3.example.com' for the host gpu-3, which is no IP address;"
            " set it, for that host, to the address that gateways reach it at",
        ),
        (
            "gpu-3",
            {"tfserving_address": "127.0.0.1"},
            "tfserving_address: is 127.0.0.1 for the host gpu-3, where its gate cannot refuse calls;"
            " set it, for that host, to the address that gateways reach it at",
        ),
    ],
)
def test_an_address_that_gateways_cannot_use_is_refused_before_anything_is_planned(place, host, variables, sentence):
    place.inventory({"tfserving": {host: variables}, "tfserving_gateways": {"edge-1": {}}})
    place.playbook({"tfserving.fleet.gateway_plan": {"only_check": True}}, hosts="edge-1")
    code, output = place.run("play.yml")
    assert code != 0
    assert sentence in output


def checked(place, edge=None, **serving):
    """Return what the check before a run says of a gateway with these variables, and of two hosts with these models."""
    hosts = {
        name: {"tfserving_address": f"10.0.0.{at}", **({"tfserving_models": models} if models else {})}
        for at, (name, models) in enumerate((serving or {"gpu_1": None}).items(), 1)
    }
    place.inventory({"tfserving": hosts, "tfserving_gateways": {"edge-1": edge or {}}})
    place.playbook({"tfserving.fleet.gateway_plan": {"only_check": True}}, hosts="edge-1")
    code, output = place.run("play.yml")
    assert code != 0
    return output


def test_a_variable_of_the_gateway_is_refused_before_anything_is_planned(place):
    assert "gateway_rest_port: is the number 0" in checked(place, {"gateway_rest_port": 0})


def test_a_name_or_a_moving_address_that_cannot_be_used_is_refused_before_anything_is_planned(place):
    vip = {"address": "10.0.0.9", "interface": "eth0"}
    edge = {"tfserving_address": "10.0.0.250", "gateway_vips": [vip]}
    assert "gateway_vips[0].address: is the string '10.0.0.9'; give an address and its" in checked(place, edge)
    assert "gateway_vips: is no list of mappings; give each" in checked(
        place, {**edge, "gateway_vips": ["10.0.0.9/24"]}
    )
    place.inventory({"tfserving": {"gpu~1": {"tfserving_address": "10.0.0.1"}}, "tfserving_gateways": {"edge-1": {}}})
    code, output = place.run("play.yml")
    assert code != 0
    assert "groups['tfserving']: names a host" in output
    assert "which HAProxy cannot hold; rename it" in output


@pytest.mark.parametrize(
    ("edge", "sentence"),
    [
        ({"gateway_rest_port": 8404}, "gateway_rest_port: gives REST the port 8404, as the status page has it"),
        ({"gateway_grpc_ports": {"ranker": 8080}}, "gateway_grpc_ports: gives gRPC the port 8080, as REST has it"),
        (
            {"gateway_grpc_mode": "tcp", "gateway_tokens": {"web": "w" * 16}},
            "gateway_tokens: is set, and with gateway_grpc_mode tcp nobody reads the tokens of gRPC calls",
        ),
    ],
)
def test_variables_that_contradict_each_other_are_refused_before_anything_is_planned(place, edge, sentence):
    assert sentence in checked(place, edge)


def test_gates_at_different_ports_are_refused_before_anything_is_planned(place):
    hosts = {
        "gpu-1": {"tfserving_address": "10.0.0.1"},
        "gpu-2": {"tfserving_address": "10.0.0.2", "tfserving_gate_port": "8491"},
    }
    place.inventory({"tfserving": hosts, "tfserving_gateways": {"edge-1": {}}})
    place.playbook({"tfserving.fleet.gateway_plan": {"only_check": True}}, hosts="edge-1")
    code, output = place.run("play.yml")
    assert code != 0
    assert "tfserving_gate_port: is 8490 and 8491 on different hosts; use one port on all hosts" in output


def test_a_certificate_that_has_ended_is_refused_before_anything_is_planned(place):
    certificate, key = pair(NOW - 3 * DAY, NOW - DAY)
    output = checked(place, {"gateway_tls_certificate": certificate, "gateway_tls_key": key})
    assert f"gateway_tls_certificate: expired on {NOW - DAY:%Y-%m-%d}; renew it" in output


def test_two_models_of_one_name_are_refused_before_anything_is_planned(place):
    models = [
        [{"name": "ranker", "version": 7, "source": {"type": "path", "uri": "/srv/r.tgz", "sha256": digit * 64}}]
        for digit in "ab"
    ]
    sentence = "tfserving_models: has version 7 of ranker with one sha256 on gpu_1 and another on gpu_2"
    assert sentence in checked(place, gpu_1=models[0], gpu_2=models[1])


def test_a_damaged_record_of_the_fleet_is_one_sentence(place):
    lacking = [{key: value for key, value in INSTANCE.items() if key != "models"}]
    output = planned(place, known={"gpu-3": {**KNOWN, "instances": lacking}})
    assert "plan of gpu-3.instances[0].models: is nothing" in output
    assert "Traceback" not in output


def test_a_port_that_somebody_else_has_is_refused(place):
    output = planned(place, others={"8088": "process 12 (nginx)"})
    assert "gateway: uses the port 8088 for REST, and process 12 (nginx) listens there on this host" in output


def test_a_gateway_keeps_the_shares_that_it_has_recorded(place):
    state = begin(None, "ranker", 7, 8, [25, 100], 1.0, False)
    moving = replace(state, stage="share", ready=0, arms={"canary": ("gpu-1",), "control": ("gpu-3", "gone")})
    found = planned(place, states={"ranker": moving.to_json()})
    arms = {each["name"]: [server["name"] for server in each["servers"]] for each in found["plan"]["backends"]}
    assert arms["rest_ranker_canary"] == ["gpu-1.ranker"]
    assert arms["rest_ranker_control"] == ["gpu-3.ranker"]
    assert found["shares"] == {"/etc/haproxy/tfserving/maps/shares.map": {"ranker": 250}}
    ended = planned(place, states={"ranker": replace(moving, stage="done").to_json()})
    assert "rest_ranker_canary" not in {each["name"] for each in ended["plan"]["backends"]}


def test_a_gateway_that_is_new_or_was_down_goes_by_what_serving_hosts_know_of_a_roll_out(place):
    moving = replace(begin(None, "ranker", 7, 8, [1, 100], 1.0, False), stage="share", ready=0, revision=5)
    moving = replace(moving, arms={"canary": ("gpu-1",), "control": ("gpu-3",)})
    hosts = {
        "gpu-1": {"tfserving_plan": PLAN, "tfserving_address": "10.0.0.1"},
        "gpu-2": {"serving_rollouts": {"states": {"ranker": moving.to_json()}}, "tfserving_address": "10.0.0.2"},
        "gpu-3": {"serving_rollouts": {"states": {"ranker": {"schema": 1}}}, "tfserving_address": "10.0.0.3"},
    }
    place.inventory({"tfserving": hosts, "tfserving_gateways": {"edge-1": {"tfserving_address": "10.0.0.5"}}})
    new = planned(place)
    arms = {each["name"]: [server["name"] for server in each["servers"]] for each in new["plan"]["backends"]}
    assert arms["rest_ranker"] == ["gpu-2.ranker"]
    assert arms["rest_ranker_canary"] == ["gpu-1.ranker"]
    assert new["shares"] == {"/etc/haproxy/tfserving/maps/shares.map": {"ranker": 10}}
    # One that was down has an older record; a newer one of its own counts.
    stale = replace(moving, revision=2, ready=1, step=1)
    assert planned(place, states={"ranker": stale.to_json()})["shares"] == new["shares"]
    back = replace(moving, generation=2, revision=1, stage="reverting", is_share_zero=True)
    zero = planned(place, states={"ranker": back.to_json()})
    assert zero["shares"] == {"/etc/haproxy/tfserving/maps/shares.map": {"ranker": 0}}


def test_what_a_playbook_says_of_a_share_comes_before_the_record(place):
    state = replace(begin(None, "ranker", 7, 8, [25, 100], 1.0, False), stage="share", ready=0)
    moving = replace(state, arms={"canary": ("gpu-1",), "control": ("gpu-3",)})
    given = {"ranker": {"canary": ["gpu-2"], "control": ["gpu-3"], "permille": 0}}
    found = planned(place, states={"ranker": moving.to_json()}, rollouts=given)
    assert found["shares"] == {"/etc/haproxy/tfserving/maps/shares.map": {"ranker": 0}}


def test_a_damaged_record_of_a_roll_out_is_one_sentence(place):
    broken = {**begin(None, "ranker", 7, 8, [25, 100], 1.0, False).to_json(), "steps": []}
    output = planned(place, states={"ranker": broken})
    assert (
        "/var/lib/tfserving-fleet/rollout/ranker.json: is damaged on this gateway (the state of a roll-out has"
        in output
    )
