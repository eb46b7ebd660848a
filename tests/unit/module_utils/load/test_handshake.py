# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""One handshake tells whose certificate is at fault, against gRPC's own server, before any load is sent."""

from __future__ import annotations

import socket
import ssl
import threading
from concurrent import futures
from contextlib import contextmanager, suppress

import grpc
import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.load import handshake, look
from certificates import self_signed

SERVER, SERVER_KEY = self_signed("ranker.example")
CALLER, CALLER_KEY = self_signed("caller")


@contextmanager
def secured(client_ca=None):
    """Run a server with a certificate, which may ask its callers for theirs; give its port."""
    server = grpc.server(futures.ThreadPoolExecutor(1))
    pairs = [(SERVER_KEY, SERVER)]
    credentials = grpc.ssl_server_credentials(pairs, client_ca, client_ca is not None)
    port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    try:
        yield port
    finally:
        server.stop(None).wait()


def target(port, **tls):
    given = {"ca": SERVER.decode(), "name": "ranker.example", "certificate": None, "key_file": None, **tls}
    return {"host": "127.0.0.1", "grpc": port, "rest": 1, "tls": given}


@pytest.fixture
def caller(tmp_path):
    """Return the certificate and the key of a caller as a target names them."""
    file = tmp_path / "key.pem"
    file.write_bytes(CALLER_KEY)
    return {"certificate": CALLER.decode(), "key_file": str(file)}


def test_a_server_that_is_proved_and_asks_for_nothing_has_no_failure():
    with secured() as port:
        assert handshake.failure(target(port)) is None


def test_without_an_authority_the_server_is_left_to_grpc():
    with secured() as port:
        assert handshake.failure(target(port, ca=None, name=None)) is None


def test_a_certificate_for_another_name_does_not_prove_the_server():
    with secured() as port:
        found = handshake.failure(target(port, name="other.example"))
    assert found["what"] == "server"
    assert "other.example" in found["why"]


def test_another_authority_does_not_prove_the_server():
    with secured() as port:
        assert handshake.failure(target(port, ca=CALLER.decode()))["what"] == "server"


def test_a_server_that_asks_for_a_certificate_gets_one(caller):
    with secured(client_ca=CALLER) as port:
        assert handshake.failure(target(port, **caller)) is None


def test_a_server_that_asks_for_a_certificate_in_vain_is_told_apart():
    with secured(client_ca=CALLER) as port:
        found = handshake.failure(target(port))
    # gRPC's own server sends no alert.
    assert found == {"what": "no certificate", "why": "it closes the connection"}


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_an_alert_tells_it_too(tmp_path, version):
    files = {"server": SERVER, "key": SERVER_KEY, "ca": CALLER}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = context.maximum_version = version
    context.load_cert_chain(tmp_path / "server", tmp_path / "key")
    context.load_verify_locations(tmp_path / "ca")
    context.verify_mode = ssl.CERT_REQUIRED
    with socket.create_server(("127.0.0.1", 0)) as plain:
        thread = threading.Thread(target=lambda: _refuse(context, plain.accept()[0]))
        thread.start()
        found = handshake.failure(target(plain.getsockname()[1]))
        thread.join()
    assert found["what"] == "no certificate"
    assert found["why"] in {"certificate required", "handshake failure"}


def _refuse(context, connection):
    with suppress(ssl.SSLError), context.wrap_socket(connection, server_side=True):
        raise AssertionError("a caller without a certificate was taken")


def test_a_certificate_of_an_authority_that_the_server_does_not_know_is_refused(caller):
    with secured(client_ca=SERVER) as port:
        assert handshake.failure(target(port, **caller))["what"] == "caller"


@pytest.mark.parametrize("key", [SERVER_KEY, b"no key", None])
def test_a_key_that_cannot_be_used_is_told(caller, tmp_path, key):
    file = tmp_path / "other.pem"
    if key is not None:
        file.write_bytes(key)
    found = handshake.failure(target(1, **{**caller, "key_file": str(file)}))
    assert found["what"] == "key"
    assert "PRIVATE" not in found["why"]


def test_a_port_without_tls_is_about_the_server():
    with socket.create_server(("127.0.0.1", 0)) as plain:

        def answer():
            connection, _ = plain.accept()
            with connection:
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                connection.recv(1024)

        threading.Thread(target=answer, daemon=True).start()
        assert handshake.failure(target(plain.getsockname()[1]))["what"] == "server"


def test_a_look_at_a_target_with_certificates_shakes_hands():
    with secured(client_ca=CALLER) as port:
        question = {"target": {**target(port), "rest": 1}, "models": []}
        assert look.seen(question)["tls"]["what"] == "no certificate"
        assert look.seen({**question, "target": {**question["target"], "tls": None}})["tls"] is None
