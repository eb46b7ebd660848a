# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Golden requests from a gateway: its own HTTP/2, without grpcio, against grpc's server, in plain text and over TLS."""

from __future__ import annotations

import subprocess

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.gateway import golden_answers, unary
from ansible_collections.tfserving.fleet.plugins.module_utils.gateway.golden_answers import Server, Wish
from ansible_collections.tfserving.fleet.plugins.module_utils.gateway.unary import StatusError, Target
from ansible_collections.tfserving.fleet.plugins.module_utils.load import messages
from ansible_collections.tfserving.fleet.plugins.module_utils.load.messages import Tensor
from patience import LONG_S

RIGHT = {"name": "two", "line": 1, "inputs": {"x": [1.0, 2.0]}, "expect": {"y": [3.5, 4.0]}, "rtol": 1e-3, "atol": 1e-5}
REFUSED = {"name": "text", "line": 2, "inputs": {"x": ["a"]}, "must_fail": True}
SHAPES = {"name": "rows", "line": 3, "instances": [{"x": 4.0}], "shape": {"y": [1]}, "dtype": {"y": "DT_FLOAT"}}
MOST = 16 << 20


def at(server, **more):
    return Server("h1.plus", "127.0.0.1", server.rest_port, server.grpc_port, **more)


def answered(server, *asked, before=None, new=3, old=1, **more):
    wish = Wish("plus", new, old, asked, "golden.jsonl", **more)
    return wish, golden_answers.ask(wish, at(server, encrypts="authority" in more), before)


def test_a_version_is_proven_over_both_protocols_and_compared_with_the_one_before(server):
    wish, found = answered(server, RIGHT, REFUSED, SHAPES, before=at(server))
    assert (found.wrong, found.unproven, found.over, found.notes) == ([], "", ["REST", "gRPC"], [])
    assert golden_answers.text(wish, [found]).splitlines() == [
        "plus 3 on h1.plus, 3 golden requests over REST and gRPC: all as expected",
        "  against 1 on the same requests:",
        "    y: max abs 2, max rel 0.571 at two y[0] (1.5 and 3.5); 3 of 3 values differ",
    ]
    (difference,) = found.to_json()["differences"]
    assert (difference["output"], difference["max_abs"], found.compared) == ("y", 2.0, 2)


def test_a_wrong_version_is_told_with_both_protocols(server):
    wish, found = answered(server, RIGHT, new=2)
    assert found.wrong == [
        "golden request 'two' (golden.jsonl:1) over REST and gRPC: y[0] is 2.5, expected 3.5 (1 apart, 0.00351 allowed;"
        " 2 of 2 values differ)"
    ]
    assert golden_answers.verdict(wish, [found])["wrong"].startswith("plus 2 answers wrongly: golden request 'two'")


def test_a_version_that_is_not_there_is_wrong_and_one_before_that_is_not_there_is_not(server):
    assert "version 9 does not serve" in answered(server, RIGHT, new=9)[1].wrong[0]
    _wish, found = answered(server, RIGHT, before=at(server), old=9)
    assert (found.wrong, found.compared) == ([], 0)
    assert found.notes[0].startswith("not compared with 9: ")


@pytest.mark.parametrize("count", [1, 100_000])
def test_messages_larger_than_windows_and_frames_arrive(server, count):
    given = {"x": Tensor("DT_FLOAT", (count,), [float(each % 100) for each in range(count)])}
    body = messages.encode_request("plus", "serving_default", given, 3)
    reply = unary.call(Target("127.0.0.1", server.grpc_port), golden_answers.METHOD, body, LONG_S, MOST)
    assert messages.decode_response(reply)["y"].values == [each / 2 + 3 for each in given["x"].values]


def test_a_refusal_keeps_its_status_and_words(server):
    body = messages.encode_request("none", "", {})
    with pytest.raises(StatusError, match=r"^NOT_FOUND: Servable not found for request: Latest\(none\)$") as caught:
        unary.call(Target("127.0.0.1", server.grpc_port), golden_answers.METHOD, body, LONG_S, MOST)
    assert caught.value.code == 5


def test_an_answer_beyond_the_limit_is_given_up(server):
    given = {"x": Tensor("DT_FLOAT", (10_000,), [0.0] * 10_000)}
    body = messages.encode_request("plus", "", given)
    with pytest.raises(unary.CallError, match=r"^sends more than 1 KiB$"):
        unary.call(Target("127.0.0.1", server.grpc_port), golden_answers.METHOD, body, LONG_S, 1024)


@pytest.fixture
def tls(start, tmp_path, models):
    """Return a server whose gRPC takes TLS and asks callers for a certificate, and the files that it accepts."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=elsewhere",
         "-keyout", "key.pem", "-out", "cert.pem"],
        cwd=tmp_path, check=True, capture_output=True,
    )  # fmt: skip
    key, cert = ((tmp_path / name).read_text() for name in ("key.pem", "cert.pem"))
    (tmp_path / "pair.pem").write_text(cert + key)
    texts = {"server_key": key, "server_cert": cert, "custom_ca": cert}
    config = "".join('{}: "{}" '.format(name, text.replace("\n", "\\n")) for name, text in texts.items())
    (tmp_path / "ssl.config").write_text(f"{config} client_verify: true")
    started = start("--model_name=plus", f"--model_base_path={models}/plus", f"--ssl_config_file={tmp_path}/ssl.config")
    return started, {"authority": str(tmp_path / "cert.pem"), "certificate": str(tmp_path / "pair.pem")}


def test_tls_is_spoken_with_the_gateways_own_certificate(tls):
    server, files = tls
    _wish, found = answered(server, RIGHT, **files)
    assert (found.wrong, found.over, found.notes) == ([], ["REST", "gRPC"], [])


def test_where_tls_cannot_be_spoken_rest_alone_counts_and_the_reason_is_told(tls, tmp_path):
    server, files = tls
    for given, words in (
        ({**files, "authority": "/nowhere"}, "takes only TLS, and /nowhere or "),
        ({**files, "certificate": "/nowhere"}, ""),
    ):
        wish, found = answered(server, RIGHT, **given)
        assert (found.wrong, found.unproven, found.over) == ([], "", ["REST"])
        place = f"REST alone counts, since 127.0.0.1 port {server.grpc_port} {words}"
        assert found.notes[0].startswith(place), found.notes
        assert "1 golden request over REST: all as expected" in golden_answers.text(wish, [found])
