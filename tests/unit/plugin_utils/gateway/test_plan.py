# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""The plan of a gateway: who answers what, with which figures and why, and what is refused."""

from __future__ import annotations

import json

import pytest
import yaml
from ansible_collections.tfserving.fleet.plugins.plugin_utils.gateway import settings, version
from gateway_cases import backend, fleet, host, instance, planned, refusal
from haproxies import BOOKWORM, JAMMY, TRIXIE
from repository import REPOSITORY

PEM = "-----BEGIN CERTIFICATE-----\n"
ROLLOUT = {"canary": ["gpu-1"], "control": ["gpu-2"], "permille": 50}


def names(found):
    return [each["name"] for each in found["servers"]]


def warned(plan, word):
    return [each for each in plan["warnings"] if word in each]


def test_the_defaults_are_those_of_the_role():
    text = (REPOSITORY / "roles/gateway/defaults/main.yml").read_text()
    ours = {name: value for name, value in yaml.safe_load(text).items() if name in settings.DEFAULTS}
    assert ours == settings.DEFAULTS


def test_each_model_has_a_backend_for_each_protocol_with_all_hosts_that_serve_it():
    plan = planned({"a": host(1, instance(models=["dense", "ranker"])), "b": host(2)})
    assert [each["name"] for each in plan["backends"]] == ["rest_dense", "rest_ranker", "grpc_dense", "grpc_ranker"]
    assert names(backend(plan, "rest_ranker")) == ["a.ranker", "b.ranker"]
    assert names(backend(plan, "grpc_dense")) == ["a.ranker"]
    assert backend(plan, "grpc_dense")["servers"][0]["endpoint"] == "10.0.0.1:8500"
    assert backend(plan, "rest_dense")["servers"][0]["endpoint"] == "10.0.0.1:8501"


def test_the_plan_is_plain_data_and_the_same_each_time():
    plan = planned(rollouts={"ranker": ROLLOUT})
    assert json.loads(json.dumps(plan)) == plan
    assert plan == planned(dict(reversed(fleet().items())), rollouts={"ranker": ROLLOUT})


def test_a_share_changes_no_generation_and_anything_else_does():
    def generation(permille=50, **keys):
        return planned(rollouts={"ranker": {**ROLLOUT, "permille": permille}}, **keys)["generation"]

    assert generation() == generation(900)
    assert (
        len({generation(), generation(gateway="edge-2"), generation(gateway_retries=1), planned()["generation"]}) == 4
    )


def test_a_server_gets_what_its_batches_hold_and_one_more_divided_by_the_gateways():
    server = backend(planned(gateways=2), "rest_ranker")["servers"][0]
    assert server["maxconn"] == 32 * 5 / 2
    assert server["reason"] == "4 batches of 32 that run, and one that forms; 160 from 2 gateways"
    cut = {"max_batch_size": 700, "max_execution_batch_size": 32, "enable_large_batch_splitting": True}
    cut = fleet(1, instance(batching={**cut, "num_batch_threads": 4}))
    assert backend(planned(cut, gateways=2), "rest_ranker")["servers"][0] == server
    plain = {"hosts": fleet(1, instance(batching=None))}
    assert backend(planned(plain["hosts"]), "rest_ranker")["servers"][0]["maxconn"] == 32
    wished = backend(planned(gateway_maxconn={"ranker": 7}, gateways=3), "grpc_ranker")["servers"][0]
    assert (wished["maxconn"], wished["reason"]) == (3, "gateway_maxconn.ranker; 7 from 3 gateways")


def test_calls_wait_for_a_share_of_the_objective_and_servers_get_longer_than_the_longest_call():
    plan = planned(fleet(2, longest_call_s=40), gateway_queue_share=0.25)
    found = backend(plan, "rest_ranker")
    assert (found["queue_ms"], found["server_ms"]) == (25, 45_000)
    assert found["reasons"]["queue_ms"].startswith("25% of the objective of 100 ms")
    assert plan["timeouts"]["stop_s"] == 75


def test_all_models_of_an_instance_are_asked_for_until_they_are_too_many():
    found = backend(planned(fleet(1, instance(models=["dense", "ranker"]))), "rest_ranker")
    assert found["checks"] == ["/v1/models/ranker", "/v1/models/dense"]
    many = [f"m{number}" for number in range(9)]
    found = backend(planned(fleet(1, instance(models=many))), "rest_m3")
    assert len(found["checks"]) == 8
    assert found["reasons"]["checks"] == "the gate answers for every model of the instance, and for m8 alone"


def test_an_instance_is_checked_once_where_checks_would_be_too_many():
    def followed(count):
        plan = planned(fleet(count, instance(models=["dense", "ranker"])))
        tracks = {each["name"]: {server["track"] for server in each["servers"]} for each in plan["backends"]}
        return tracks, plan["reasons"].get("servers.track")

    tracks, reason = followed(100)
    assert (set.union(*tracks.values()), reason) == ({""}, None)
    tracks, reason = followed(101)
    assert tracks["rest_dense"] == {""}
    assert tracks["grpc_ranker"] == {f"rest_dense/gpu-{number}.ranker" for number in range(1, 102)}
    assert reason.startswith("checks of 404 servers")


def test_a_version_is_checked_by_itself_in_any_case():
    hosts = {**fleet(250), "odd": host(251, instance(versions=[7, 8]))}
    plan = planned(hosts)
    assert backend(plan, "grpc_ranker_v8")["servers"][0]["track"] == ""
    assert backend(plan, "grpc_ranker")["servers"][0]["track"] == "rest_ranker/gpu-1.ranker"


def test_a_roll_out_divides_the_hosts_into_arms():
    plan = planned(fleet(4), rollouts={"ranker": ROLLOUT})
    for protocol in ("rest", "grpc"):
        assert names(backend(plan, f"{protocol}_ranker")) == ["gpu-3.ranker", "gpu-4.ranker"]
        assert names(backend(plan, f"{protocol}_ranker_canary")) == ["gpu-1.ranker"]
        assert names(backend(plan, f"{protocol}_ranker_control")) == ["gpu-2.ranker"]
    assert plan["maps"]["shares"] == {"ranker": 50}
    assert plan["warnings"] == []


def test_a_roll_out_that_takes_all_hosts_leaves_the_control_arm_to_the_others():
    plan = planned(fleet(2), rollouts={"ranker": ROLLOUT})
    assert names(backend(plan, "rest_ranker")) == ["gpu-2.ranker"]
    alone = planned(fleet(1), rollouts={"ranker": {**ROLLOUT, "control": []}})
    assert names(backend(alone, "rest_ranker")) == ["gpu-1.ranker"]
    assert warned(alone, "no host is left for a control arm")


def test_a_share_above_half_says_what_is_left_for_the_control():
    plan = planned(fleet(3), rollouts={"ranker": {**ROLLOUT, "permille": 700}})
    assert warned(plan, "the control arm gets 300 of 1000 calls")


def test_versions_and_labels_that_some_hosts_lack_have_backends_of_their_own():
    plan = planned({"a": host(1), "b": host(2, instance(versions=[7, 8], labels={"new": 8}))})
    assert plan["maps"]["routes"] == {"ranker/versions/8": "_v8", "ranker/labels/new": "_label_new"}
    found = backend(plan, "grpc_ranker_v8")
    assert (names(found), found["checks"]) == (["b.ranker"], ["/v1/models/ranker/versions/8"])
    assert names(backend(plan, "rest_ranker_label_new")) == ["b.ranker"]


@pytest.mark.parametrize(
    ("policy", "versions"), [({"all": {}}, {3, 6, 7}), ({"latest": {"num_versions": 2}}, {6, 7}), ({}, {7})]
)
def test_versions_follow_the_servers_policy(policy, versions):
    config = {"model_config_list": {"config": [{"name": "ranker", "model_version_policy": policy}]}}
    odd = host(2, instance(model_config=config), models=[{"name": "ranker", "versions": [7, 3, 6]}])
    plan = planned({"a": host(1, instance(versions=[1])), "b": odd})
    assert {int(key.rpartition("/")[2]) for key in plan["maps"]["routes"]} == versions | {1}


def test_each_instance_has_a_port_and_several_may_share_one():
    two = [instance("left", ["dense"]), instance("right", ports={"grpc": 8510, "rest": 8511})]
    plan = planned(fleet(1, *two))
    assert [(each["port"], each["default_backend"]) for each in plan["frontends"][1:]] == [
        (9500, "grpc_dense"),
        (9510, "grpc_ranker"),
    ]
    (only,) = planned(fleet(1, *two), gateway_grpc_ports={"left": 700, "right": 700})["frontends"][1:]
    assert (only["port"], only["default_model"]) == (700, "dense")


def test_a_model_that_nobody_serves_is_a_warning():
    hosts = {"a": host(1, models=[{"name": "ranker", "versions": [7]}, {"name": "unused", "versions": [1]}])}
    (warning,) = planned(hosts)["warnings"]
    assert warning == "unused: no instance serves it (a hold it), so calls for it are answered 404"


@pytest.mark.parametrize(
    ("package", "sound"),
    [
        (BOOKWORM, False),
        ("2.6.17-1", True),
        ("2.7.20-1", False),
        (JAMMY, False),
        ("2.4.30-0ubuntu0.22.04.4", True),
        ("2.8.5-1ubuntu3", False),
        ("1:2.8.30-0ubuntu0.24.04.2", True),
        ("2.9.1-1", False),
        (TRIXIE, True),
        ("3.2.1-1~bpo13+1", True),
    ],
)
def test_releases_that_lose_large_grpc_replies_get_the_remedy(package, sound):
    plan = planned(package=package)
    assert plan["features"]["grpc_mode"] == ("parallel_streams" if sound else "serial_streams")
    assert bool(warned(plan, "haproxy#2388")) != sound
    assert any(each["value"] == "1" for each in plan["tune"]) != sound


def test_the_remedy_is_the_narrowest_that_the_release_has():
    def names(package, mode):
        return [each["name"] for each in planned(package=package, gateway_grpc_mode=mode)["tune"][1:]]

    assert names(BOOKWORM, "serial_streams") == ["tune.h2.max-concurrent-streams"]
    assert names("2.8.5-1", "serial_streams") == ["tune.h2.be.max-concurrent-streams"]
    assert names(BOOKWORM, "parallel_streams") == []
    assert names(TRIXIE, "parallel_streams") == ["tune.h2.be.max-concurrent-streams"]


def test_a_user_who_chose_the_remedy_is_not_warned():
    assert planned(package=BOOKWORM, gateway_grpc_mode="serial_streams")["warnings"] == []
    assert warned(planned(package=BOOKWORM, gateway_grpc_mode="parallel_streams"), "unless the probe")
    assert warned(planned(package=BOOKWORM, gateway_grpc_mode="tcp"), "management methods are open")


def test_tokens_without_encryption_are_a_warning():
    assert warned(planned(gateway_tokens={"alice": "a" * 16}), "for all to read")


REFUSED = {
    "gateway: uses the port 8501 for REST, and a server of this host has it; choose another port for one of them": {
        "gateway_rest_port": 8501,
        "local_ports": [8500, 8501],
    },
    "gateway: uses the port 8080 for REST, and process 12 (nginx) listens there on this host; stop that one, or choose"
    " another port": {"others": {8080: "process 12 (nginx)", 22: "process 1 (sshd)"}},
    "tfserving_models: has version 7 of ranker with one sha256 on gpu-1 and another on gpu-2; rename one of the models,"
    " or correct its source": {
        "hosts": {
            name: host(at, models=[{"name": "ranker", "versions": [6, 7], "sha256": {"6": "aa", "7": digest}}])
            for at, (name, digest) in enumerate({"gpu-1": "aa", "gpu-2": "bb"}.items(), 1)
        },
    },
    "gateway_rest_port: gives REST the port 8404, as the status page has it; choose another port": {
        "gateway_rest_port": 8404,
    },
    "gateway_grpc_ports: gives gRPC the port 8080, as REST has it; choose another port": {
        "gateway_grpc_ports": {"ranker": 8080},
    },
    "gateway_grpc_ports.wide: is an instance that no host has; there are ranker": {"gateway_grpc_ports": {"wide": 1}},
    "gateway_grpc_ports.ranker: is not set, and hosts use 8500 and 8600 for it; set the gateway's port": {
        "hosts": {"a": host(1), "b": host(2, instance(ports={"grpc": 8600, "rest": 8501}))},
    },
    "gateway_grpc_ports.ranker: would be 66000, which is no port; set the gateway's port": {
        "hosts": fleet(1, instance(ports={"grpc": 65000, "rest": 8501})),
    },
    "gateway_grpc_ports: gives left and right the port 9500, and with gateway_grpc_mode tcp nothing tells them apart;"
    " give each a port of its own, or choose another mode": {
        "hosts": fleet(1, instance("left"), instance("right", ["dense"])),
        "gateway_grpc_mode": "tcp",
    },
    "gateway_grpc_ports: leads to ranker by left (port 700) and right (port 9500), and with gateway_grpc_mode tcp each"
    " reaches only its own hosts; give the instances that serve it one name, or choose another mode": {
        "hosts": {"a": host(1, instance("left")), "b": host(2, instance("right"))},
        "gateway_grpc_ports": {"left": 700},
        "gateway_grpc_mode": "tcp",
    },
    "groups['tfserving']: has no host with an instance; add serving hosts, or run site.yml on them first": {
        "hosts": {}
    },
    "groups['tfserving']: names a host a string, which HAProxy cannot hold; rename it": {
        "hosts": {"gpu 1, left": host(1)}
    },
    "groups['tfserving_gateways']: names the string '', which HAProxy cannot hold; rename it": {"gateway": ""},
    "tfserving_address: is 127.0.0.1 for the host gpu-1, where its gate cannot refuse calls; set it, for that host, to"
    " the address that gateways reach it at": {"hosts": fleet(1, address="127.0.0.1")},
    "tfserving_address: is 'gpu-1' for the host gpu-1, which is no IP address; set it, for that host, to the address"
    " that gateways reach it at": {"hosts": fleet(1, address="gpu-1")},
    "tfserving_gate_port: is 8490 and 8491 on different hosts; use one port on all hosts": {
        "hosts": {"a": host(1), "b": host(2, gate_port=8491)},
    },
    "tfserving_models: has ranker and ranker_canary, whose calls would both go to the backend rest_ranker_canary;"
    " rename one of the models": {
        "hosts": fleet(2, instance(models=["ranker", "ranker_canary"])),
        "rollouts": {"ranker": ROLLOUT},
    },
    "rollouts.wide: is a model that no host serves; the models are ranker": {"rollouts": {"wide": ROLLOUT}},
    "rollouts.ranker.control: names gpu-2, which does not serve it; leave it out": {
        "hosts": fleet(1),
        "rollouts": {"ranker": ROLLOUT},
    },
    "rollouts.ranker: has gpu-1 in both arms; leave each host in one of them": {
        "rollouts": {"ranker": {**ROLLOUT, "control": ["gpu-1"]}},
    },
    "rollouts.ranker.permille: is 1001; give a number from 0 to 1000": {
        "rollouts": {"ranker": {**ROLLOUT, "permille": 1001}},
    },
    "gateway_grpc_mode: is refuse, and with HAProxy 2.6.12 concurrent gRPC calls fail when replies are about 12 KB or"
    " larger (haproxy#2388); install a release with the fix, or set it to auto, serial_streams or tcp": {
        "package": BOOKWORM,
        "gateway_grpc_mode": "refuse",
    },
    "haproxy: is 2.2.9, and the gateway needs 2.4 or newer; use a newer system": {"package": "2.2.9-2+deb11u6"},
    "haproxy: has the version 'newest', which cannot be read; install a release of it": {"package": "newest"},
    f"gateway_jwt: is set, and HAProxy {JAMMY} does not know JSON web tokens; use gateway_tokens or"
    " gateway_tls_client_ca, or HAProxy 2.6 or newer": {
        "package": JAMMY,
        "gateway_jwt": {"algorithm": "RS256", "key": PEM},
    },
    "gateway_tokens: is set, and with gateway_grpc_mode tcp nobody reads the tokens of gRPC calls; use"
    " gateway_tls_client_ca, or choose another mode": {
        "gateway_tokens": {"alice": "a" * 16},
        "gateway_grpc_mode": "tcp",
    },
    "gateway_tls_key: is empty and gateway_tls_certificate is set; set both, or leave both out": {
        "gateway_tls_certificate": PEM,
    },
    "gateway_tls_certificate: is empty and gateway_tls_key is set; set both, or leave both out": {
        "gateway_tls_key": PEM,
    },
    "gateway_tls_client_ca: is set and gateway_tls_certificate is not; set both, or leave both out": {
        "gateway_tls_client_ca": PEM,
    },
    "gateway_tls_client_names: is set and gateway_tls_client_ca is not; set both, or leave both out": {
        "gateway_tls_client_names": ["alice"],
    },
    "gateway_tls_certificate: is a string, not PEM text; begin it with its -----BEGIN line": {
        "gateway_tls_certificate": "/etc/ssl/x.pem",
        "gateway_tls_key": PEM,
    },
    "gateway_server_ca: is empty, and the servers' gRPC takes only TLS; give the authority of"
    " tfserving_tls_certificate": {"hosts": fleet(1, instance(flags={"ssl_config_file": "x"}))},
    "tfserving_tls_certificate: is set for a.ranker and not for all servers; set it for all hosts of the gateway, or"
    " for none": {"hosts": {"a": host(1, instance(flags={"ssl_config_file": "x"})), "b": host(2)}},
    "gateway_tokens.alice: is a string that HAProxy cannot hold; give a token of 16 to 512 letters, digits and . _ ~ +"
    " / = -": {"gateway_tokens": {"alice": "secret"}},
    "gateway_tokens: gives two callers the same token; give each its own": {
        "gateway_tokens": {"alice": "a" * 16, "bob": "a" * 16},
    },
    "gateway_jwt.key: is missing; set it, or leave out gateway_jwt": {"gateway_jwt": {"algorithm": "RS256"}},
    "gateway_rate_limit.requests: is missing; say how many calls one caller may send in a period": {
        "gateway_rate_limit": {"period_s": 5},
    },
    "gateway_rate_limit.by: is caller, and nothing tells callers apart; set gateway_tokens, gateway_jwt or"
    " gateway_tls_client_ca, or limit by source": {"gateway_rate_limit": {"requests": 5, "by": "caller"}},
    "gateway_address: is the string 'edge'; give an IP address, or leave it empty": {"gateway_address": "edge"},
    "gateway_balance: is the string 'leastcon'; did you mean 'leastconn'?": {"gateway_balance": "leastcon"},
    "gateway_tls_client_names[0]: is a string that HAProxy cannot hold; give a common name of letters, digits and . _ :"
    " / @ + = ~ * -": {"gateway_tls_client_names": ["a\n    stats enable"]},
    "gateway_sticky_header: is a string that HAProxy cannot hold; give the name of a header": {
        "gateway_sticky_header": "x) -m found",
    },
    "gateway_grpc_methods[0]: is a string that HAProxy cannot hold; give a path such as /package.Service/Method": {
        "gateway_grpc_methods": ["Predict"],
    },
    "gateway_log: is a string that HAProxy cannot hold; give a socket's path, HOST:PORT, stdout, stderr or nothing": {
        "gateway_log": "/dev/log local7",
    },
    "plan of gpu-1.instances[0].name: is a string, which cannot be a name; use letters, digits, '-' and '_', beginning"
    " with a letter or digit": {"hosts": fleet(1, {**instance(), "name": "a\n    stats enable"})},
    "plan of gpu-1.instances[0].batching.max_batch_size: is nothing; give a whole number from 1 to 1000000": {
        "hosts": fleet(1, instance(batching={"num_batch_threads": 1})),
    },
    "plan of gpu-1.instances: is a mapping; run site.yml on this host again": {"hosts": fleet(1, instances={})},
    "plan of a: is nothing; give a mapping of names to values": {"hosts": {"a": None}},
    "gateway.gateway_unknown: is not a key of the gateway": {"gateway_unknown": 1},
}


@pytest.mark.parametrize("sentence", REFUSED)
def test_what_cannot_be_is_refused_in_one_sentence(sentence):
    keys = dict(REFUSED[sentence])
    said = refusal(keys.pop("hosts", None), keys.pop("package", TRIXIE), **keys)
    assert said.startswith(sentence) if "unknown" in sentence else said == sentence


def test_several_wrong_settings_are_reported_together():
    assert "and 1 more" in refusal(gateway_rest_port=0, gateway_retries=99)


def test_modes_are_those_of_the_setting():
    assert set(version.MODES) == {"auto", "parallel_streams", "serial_streams", "tcp", "refuse"}
