# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Gateways that run: HAProxy of Debian 12 and 13 with the files of a plan, in front of hosts on loopback."""

from __future__ import annotations

import base64
import contextlib
import json
import re
import socket
import time

import gateway_cases as cases
import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.load.stub_grpc import PREFACE, SETTINGS, frame
from ansible_collections.tfserving.fleet.plugins.plugin_utils.gateway import backends
from gateway_hosts import awaited, field, gateway, message, model_spec, predict
from haproxies import BOOKWORM, TRIXIE
from patience import LONG_S
from tls_pairs import pair

MODELS = ("dense", "ranker")
GRPC_CODES = {code: b"grpc-status" + bytes([len(str(code))]) + str(code).encode() for code in range(17)}


@pytest.fixture(scope="module", params=[BOOKWORM, TRIXIE])
def shared(request, tmp_path_factory):
    """Two hosts with two models on one port; gpu-3 has version 9 and the label canary of them as well."""
    some = [
        [cases.instance(models=MODELS, versions=[7])],
        [cases.instance(models=MODELS, versions=[7, 9], labels={"canary": 9})],
    ]
    keys = {
        "rollouts": {"ranker": {"canary": ["gpu-3"], "control": [], "permille": 0}},
        "gateway_tokens": {"alice": "a" * 20},
        "gateway_body_limit_mb": 1,
    }
    with gateway(tmp_path_factory.mktemp("gateway"), request.param, some, **keys) as running:
        running.settled()
        yield running


@pytest.fixture
def token():
    return {"authorization": f"Bearer {'a' * 20}"}


def hosts(running, token, count=8):
    """Return the hosts that answer REST calls for ranker."""
    return {running.rest("/v1/models/ranker:predict", **token)[1]["host"] for _ in range(count)}


def test_rest_calls_find_their_model_by_the_path(shared, token):
    for model in MODELS:
        status, answer = shared.rest(f"/v1/models/{model}:predict", **token)
        assert (status, answer["path"]) == (200, f"/v1/models/{model}:predict")
    status, answer = shared.rest("/v1/models/ranker/versions/7/metadata", None, **token)
    assert (status, answer["path"]) == (200, "/v1/models/ranker/versions/7/metadata")


def test_an_unknown_model_gets_the_servers_own_answer(shared, token):
    answer = shared.rest("/v1/models/unheard:predict", **token)
    assert answer == (404, {"error": "Servable not found for request: Latest(unheard)"})


@pytest.mark.parametrize("path", ["/monitoring/prometheus/metrics", "/v1/models/ranker:reload", "/v1/models/a/../b"])
def test_other_paths_end_at_the_gateway(shared, token, path):
    assert shared.rest(path, None, **token) == (404, {"error": "there is no such path"})


def test_calls_need_a_known_token(shared, token):
    refused = (401, {"error": "a valid bearer token is needed"})
    assert shared.rest("/v1/models/ranker:predict") == refused
    assert shared.rest("/v1/models/ranker:predict", authorization="Bearer " + "b" * 20) == refused
    assert GRPC_CODES[16] in shared.grpc(predict("ranker"))
    assert GRPC_CODES[0] in shared.grpc(predict("ranker"), **token)


def test_requests_beyond_the_limit_are_refused(shared, token):
    status, answer = shared.announced("/v1/models/ranker:predict", 1_100_000, **token)
    assert (status, answer["error"]) == (413, "the request is larger than 1048576 bytes")
    assert GRPC_CODES[8] in shared.grpc(predict("ranker", size=1_100_000)[:2000], **token)


@pytest.mark.parametrize("size", [10, 100_000])
def test_versions_and_labels_that_one_host_has_are_read_out_of_grpc_bodies(shared, token, size):
    for body in (predict("ranker", 9, size=size), predict("dense", label="canary", size=size)):
        assert all(b"gpu-3" in shared.grpc(body, **token) for _ in range(8))
    nested = message(field(1, field(1, model_spec("dense", 9)) + field(2, b"classify")))
    inference = "/tensorflow.serving.PredictionService/MultiInference"
    assert all(b"gpu-3" in shared.grpc(nested, inference, **token) for _ in range(8))


def test_versions_and_labels_that_one_host_has_are_read_out_of_rest_paths(shared, token):
    for path in ("/v1/models/ranker/versions/9:predict", "/v1/models/dense/labels/canary:predict"):
        assert {shared.rest(path, **token)[1]["host"] for _ in range(8)} == {"gpu-3"}


def test_what_cannot_be_read_goes_to_the_first_model_of_the_port(shared, token):
    for body in (message(b"\x1f\x8b garbage", compressed=True), predict("unheard"), message(b"")):
        assert b"gpu-" in shared.grpc(body, **token)


def test_management_is_closed(shared, token):
    for method in (
        "/tensorflow.serving.ModelService/HandleReloadConfigRequest",
        "/tensorflow.ProfilerService/Profile",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    ):
        assert GRPC_CODES[7] in shared.grpc(predict("ranker"), method, **token)
    assert GRPC_CODES[12] in shared.grpc(predict("ranker"), "/tensorflow.serving.SessionService/SessionRun", **token)


def test_a_share_takes_effect_while_it_runs(shared, token):
    file = f"{shared.place}/etc/haproxy/tfserving/maps/shares.map"
    try:
        assert hosts(shared, token) == {"gpu-2"}
        shared.command(f"set map {file} ranker 1000")
        assert hosts(shared, token) == {"gpu-3"}
        assert b"gpu-3" in shared.grpc(predict("ranker"), **token)
        shared.command(f"set map {file} ranker 500")
        assert hosts(shared, token, 40) == {"gpu-2", "gpu-3"}
    finally:
        shared.command(f"set map {file} ranker 0")


def test_hosts_leave_whose_gate_closes_or_whose_model_loads(shared, token):
    def is_down(host):
        return lambda states: all(state.startswith("DOWN") for name, state in states.items() if host in name)

    file = f"{shared.place}/etc/haproxy/tfserving/maps/shares.map"
    shared.command(f"set map {file} ranker 1000")
    shared.hosts["gpu-3"].closed = "draining by alice: driver"
    try:
        shared.wait(is_down("gpu-3"))
        # An arm without a server gives its share back.
        assert hosts(shared, token) == {"gpu-2"}
        assert "alice" in shared.command("show stat")
        # A label that only this host has is answered by nobody.
        nobody = (503, {"error": "no server is ready for this model"})
        assert shared.rest("/v1/models/dense/labels/canary:predict", **token) == nobody
        assert GRPC_CODES[14] in shared.grpc(predict("dense", label="canary"), **token)
        shared.hosts["gpu-2"].state = "LOADING"
        shared.wait(is_down("gpu-2"))
        assert shared.rest("/v1/models/ranker:predict", **token) == nobody
    finally:
        shared.hosts["gpu-3"].closed, shared.hosts["gpu-2"].state = "", "AVAILABLE"
        shared.command(f"set map {file} ranker 0")
        shared.wait(lambda states: set(states.values()) == {"UP"})


def test_gates_hear_who_asks(shared, token):
    generation = shared.plan["generation"]
    assert f"gate ranker edge-1 rest_ranker/gpu-2.ranker {generation}" in shared.asked("gate")
    asked = f"GET /gate/ranker?gateway=edge-1&backend=grpc_dense&generation={generation}"
    awaited(lambda: asked in {line.rpartition(" ")[0] for line in shared.asked("GET")}, lambda: shared.asked("GET"))


def test_the_status_port_has_health_and_metrics(shared):
    port = shared.plan["bind"]["status_port"]
    assert shared.rest("/health", None, port)[0] == 200
    assert b"haproxy_server_status" in shared.rest("/metrics", None, port)[1]


def test_the_process_tells_its_generation(shared):
    assert f"description: generation {shared.plan['generation']}\n" in shared.command("show info")


def test_a_limit_of_calls_is_no_reason_to_send_them_again(tmp_path):
    limit = {"requests": 3, "period_s": 86400}
    with gateway(tmp_path, BOOKWORM, [[cases.instance()]], gateway_rate_limit=limit) as running:
        running.settled()
        statuses = [running.rest("/v1/models/ranker:predict")[0] for _ in range(4)]
        assert statuses == [200, 200, 200, 429]
        assert GRPC_CODES[8] in running.grpc(predict("ranker"))


def test_connections_are_passed_on_whole_where_the_user_says_so(tmp_path):
    with gateway(tmp_path, BOOKWORM, [[cases.instance()]], gateway_grpc_mode="tcp") as running:
        running.settled()
        assert b"gpu-2" in running.grpc(predict("ranker"))


@pytest.mark.parametrize(("names", "passed"), [(["gpu-1"], True), (["others"], False)])
def test_certificates_of_other_names_open_no_connection_that_is_passed_on_whole(tmp_path, names, passed):
    certificate, private = pair()
    settings = {
        "gateway_grpc_mode": "tcp",
        "gateway_tls_certificate": certificate,
        "gateway_tls_key": private,
        "gateway_tls_client_ca": certificate,
        "gateway_tls_client_names": names,
    }
    with gateway(tmp_path, BOOKWORM, [[cases.instance()]], **settings) as running:
        running.settled()
        (tmp_path / "own.pem").write_text(certificate + private)
        running.context.load_cert_chain(tmp_path / "own.pem")
        running.context.set_alpn_protocols(["h2"])
        answer = b""
        with socket.create_connection(("127.0.0.1", running.grpc_port), LONG_S) as plain, contextlib.suppress(OSError):
            line = running.context.wrap_socket(plain)
            line.sendall(PREFACE + frame(SETTINGS, 0, 0, b""))
            answer = line.recv(1)
        assert bool(answer) == passed


def web_token(key, **claims):
    """Return a JSON web token signed by an elliptic key."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, utils

    def encoded(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=")

    signed = b".".join(encoded(json.dumps(part).encode()) for part in ({"alg": "ES256"}, claims))
    r, s = utils.decode_dss_signature(key.sign(signed, ec.ECDSA(hashes.SHA256())))
    return (signed + b"." + encoded(r.to_bytes(32, "big") + s.to_bytes(32, "big"))).decode()


@pytest.mark.parametrize("package", [BOOKWORM, TRIXIE])
def test_web_tokens_and_client_certificates_are_proven(tmp_path, package):
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    certificate, private = pair()
    key, other = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    settings = {
        "gateway_jwt": {"algorithm": "ES256", "key": public, "issuer": "https://issuer.example/", "audience": "fleet"},
        "gateway_tls_certificate": certificate,
        "gateway_tls_key": private,
        "gateway_tls_client_ca": certificate,
        "gateway_tls_client_names": ["gpu-1"],
        "gateway_log": "stdout",
    }
    good = {"iss": "https://issuer.example/", "aud": "fleet", "sub": "alice b", "exp": int(time.time()) + 9999}
    with gateway(tmp_path, package, [[cases.instance()]], **settings) as running:
        running.settled()
        (tmp_path / "own.pem").write_text(certificate + private)

        def status(signer=key, **claims):
            bearer = {"authorization": f"Bearer {web_token(signer, **{**good, **claims})}"}
            return running.rest("/v1/models/ranker:predict", **bearer)[0]

        with pytest.raises(OSError, match=r"(?i)certificate.required|reset|broken pipe|eof"):
            status()
        running.context.load_cert_chain(tmp_path / "own.pem")
        assert status() == 200
        assert status(other) == 401
        assert [status(**{name: value}) for name, value in (("iss", "me"), ("aud", "you"), ("exp", 1))] == [401] * 3
        assert running.rest("/v1/models/ranker:predict")[0] == 401
        running.says("caller=alice%20b model=ranker")


@pytest.mark.parametrize("package", [BOOKWORM, TRIXIE])
def test_callers_whom_nothing_names_are_limited_as_others_are(tmp_path, package):
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    settings = {
        "gateway_jwt": {"algorithm": "ES256", "key": public},
        "gateway_rate_limit": {"requests": 2, "period_s": 86400, "by": "caller"},
    }
    with gateway(tmp_path, package, [[cases.instance()]], **settings) as running:
        running.settled()

        def statuses(**claims):
            bearer = f"Bearer {web_token(key, exp=int(time.time()) + 9999, **claims)}"
            return [running.rest("/v1/models/ranker:predict", authorization=bearer)[0] for _ in range(3)]

        assert statuses() == [200, 200, 429]
        assert statuses(sub="alice") == [200, 200, 429]


def test_calls_of_one_user_meet_one_version_and_the_log_names_the_arm(tmp_path):
    some = [[cases.instance()], [cases.instance()]]
    rollouts = {"ranker": {"canary": ["gpu-2"], "control": ["gpu-3"], "permille": 500}}
    keys = {"rollouts": rollouts, "gateway_sticky_header": "x-user", "gateway_log": "stdout"}
    with gateway(tmp_path, TRIXIE, some, **keys) as running:
        running.settled()
        met = {
            user: {running.rest("/v1/models/ranker:predict", **{"x-user": user})[1]["host"] for _ in range(3)}
            for user in map(str, range(10))
        }
        assert {len(each) for each in met.values()} == {1}
        assert set.union(*met.values()) == {"gpu-2", "gpu-3"}
        running.grpc(predict("ranker", 7), **{"x-user": "1"})
        running.grpc(predict("ranker"), "/tensorflow.ProfilerService/Profile")
        # Longer than HAProxy's usual lines, and whole all the same.
        odd = "&" * 128
        running.rest(f"/v1/models/{odd}/labels/{odd}:{'&' * 32}")
        running.says(f"model={'%26' * 128} version=- label={'%26' * 128} call={'%26' * 32} arm=- ")
        awaited(lambda: re.search(r"call=(%26)+ arm=- .* out=[0-9]+\n", running.said()), running.said)
        for part in (
            "protocol=rest from=127.0.0.1 caller=- model=ranker version=- label=- call=predict arm=canary",
            "arm=control backend=rest_ranker_control server=gpu-3.ranker status=200",
            "model=ranker version=7 label=- call=Predict arm=named backend=grpc_ranker server=gpu-3.ranker",
            "status=200 grpc=7 end=",
        ):
            running.says(part)


@pytest.mark.parametrize("package", [BOOKWORM, TRIXIE])
def test_servers_that_follow_another_close_and_open_with_it(tmp_path, package, monkeypatch):
    monkeypatch.setattr(backends, "MOST_CHECKS", 0)
    some = [[cases.instance("left", MODELS)], [cases.instance("right", MODELS)]]
    with gateway(tmp_path, package, some) as running:
        running.settled()
        running.hosts["gpu-2"].closed = "for a test"
        running.wait(lambda states: all(s.startswith("DOWN") for name, s in states.items() if "gpu-2" in name))
        assert all(b"gpu-3" in running.grpc(predict("ranker")) for _ in range(8))
        running.hosts["gpu-2"].closed = ""
        running.wait(lambda states: set(states.values()) == {"UP"})
        assert running.pairs() == {"rest_dense/gpu-2.left", "rest_dense/gpu-3.right"}
        # Each server asks for the gate of its own instance.
        gates = {"GET /gate/left", "GET /gate/right"}
        awaited(
            lambda: {line.partition("?")[0] for line in running.asked("GET")} == gates, lambda: running.asked("GET")
        )
