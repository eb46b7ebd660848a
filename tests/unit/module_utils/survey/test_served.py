# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A server is asked where it listens, in whatever network, and what it says is told; nothing else is believed."""

from __future__ import annotations

import json
import os
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.host.sysfs import Tree
from ansible_collections.tfserving.fleet.plugins.module_utils.load.messages import delimited, tagged
from ansible_collections.tfserving.fleet.plugins.module_utils.survey import listening, served
from ansible_collections.tfserving.fleet.plugins.module_utils.survey.model_configs import Model
from surveyed_host import SERVER, Host

DIGITS = Model("digits", "/m", {"stable": 1, "gone": 9})
STATES = {
    "model_version_status": [
        {"version": "2", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}},
        {"version": "1", "state": "END", "status": {"error_code": "NOT_FOUND", "error_message": "no file\x1b[31m"}},
    ]
}
ANSWERS = {
    "/v1/models/digits": (200, json.dumps(STATES)),
    "/v1/models/digits/labels/stable/metadata": (200, json.dumps({"model_spec": {"name": "digits", "version": "2"}})),
    "/v1/models/digits/labels/gone/metadata": (404, json.dumps({"error": "no such label"})),
    "/v1/models/none": (404, json.dumps({"error": "not found"})),
    "/v1/models/odd": (200, "<html>"),
}


@pytest.fixture
def rest():
    """Run a server of these answers; return where it listens, and what it was asked."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            code, text = ANSWERS[self.path]
            self.send_response(code)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield {"address": "0.0.0.0", "port": server.server_port, "kind": "rest"}, asked
    server.shutdown()
    server.server_close()


def test_states_and_labels_are_those_of_the_server(rest):
    place, asked = rest
    assert served.ask([place], [DIGITS], tls=False) == {
        "serves": [
            {"model": "digits", "version": 1, "state": "END", "error": r"NOT_FOUND: no file\x1b[31m"},
            {"model": "digits", "version": 2, "state": "AVAILABLE", "error": None},
        ],
        "labels": {"digits": {"gone": None, "stable": 2}},
    }
    assert not [path for path in asked if ":predict" in path or ":classify" in path or ":regress" in path]


def test_a_model_that_the_server_does_not_know_has_no_versions(rest):
    assert served.ask([rest[0]], [Model("none", "/m", {})], tls=False) == {"serves": [], "labels": {}}


@pytest.mark.parametrize(
    ("places", "tls", "why"),
    [
        ([], False, "it listens on no port that its flags name"),
        ([{"address": "::", "port": 1, "kind": "grpc"}], True, "it has no REST, and takes gRPC only by TLS"),
        ([{"address": "127.0.0.1", "port": 1, "kind": "rest"}], False, "port 1 does not answer"),
        ([{"address": "127.0.0.1", "port": 1, "kind": "grpc"}], False, "port 1 does not answer by gRPC"),
    ],
)
def test_a_server_that_cannot_be_asked_says_why(places, tls, why):
    with pytest.raises(served.UnaskedError, match=why):
        served.ask(places, [DIGITS], tls)


def test_without_a_model_there_is_nothing_to_ask():
    with pytest.raises(served.UnaskedError, match="no model is known to ask for"):
        served.ask([], [], tls=False)


def test_something_else_on_the_port_is_not_believed(rest):
    with pytest.raises(served.UnaskedError, match="without JSON, so it is not TensorFlow Serving"):
        served.ask([rest[0]], [Model("odd", "/m", {})], tls=False)


def frame(kind, flags, stream, payload):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


@pytest.fixture
def grpc():
    """Run a server that answers any call with one message of gRPC; return a function that takes the message."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answering(message):
        def serve():
            wire, _address = listener.accept()
            with wire:
                wire.recv(65536)
                content = b"\0" + len(message).to_bytes(4, "big") + message
                trailers = b"" if message is None else content
                wire.sendall(frame(4, 0, 0, b"") + frame(0, 0, 1, trailers) + frame(1, 5, 1, b"\x88"))

        threading.Thread(target=serve, daemon=True).start()
        return {"address": "127.0.0.1", "port": listener.getsockname()[1], "kind": "grpc"}

    yield answering
    listener.close()


def test_without_rest_the_states_come_by_grpc(grpc):
    status = tagged(1, 5) + delimited(2, b"no file")
    message = delimited(1, tagged(1, 2) + tagged(2, 30)) + delimited(
        1, tagged(1, 1) + tagged(2, 50) + delimited(3, status)
    )
    assert served.ask([grpc(message)], [Model("digits", "/m", {})], tls=False)["serves"] == [
        {"model": "digits", "version": 2, "state": "AVAILABLE", "error": None},
        {"model": "digits", "version": 1, "state": "END", "error": "no file"},
    ]


@pytest.mark.parametrize(
    ("message", "why"),
    [(b"", "does not tell the states of digits by gRPC"), (b"\xff" * 20, "something else than the states of a model")],
)
def test_an_answer_of_another_service_is_not_believed(grpc, message, why):
    with pytest.raises(served.UnaskedError, match=why):
        served.ask([grpc(message)], [Model("digits", "/m", {})], tls=False)


def test_ports_belong_to_the_process_that_has_them_open_and_to_its_flags(tmp_path):
    host = Host(tmp_path)
    host.process(10, [SERVER], listening={8500: "00000000", 8501: "0100007F", 9999: "00000000"})
    others = "   1: 00000000:0050 00000000:0000 0A 0:0 00:0 0 0 0 777 1 0 100 0 0 10 0\n"
    host.write("proc/10/net/tcp", (tmp_path / "proc/10/net/tcp").read_text() + others)
    assert listening.read(host.tree, 10, {"rest_api_port": "8501"}) == [
        {"address": "0.0.0.0", "port": 8500, "kind": "grpc"},
        {"address": "127.0.0.1", "port": 8501, "kind": "rest"},
        {"address": "0.0.0.0", "port": 9999, "kind": "unknown"},
    ]


@pytest.mark.parametrize(
    ("text", "address", "caller"),
    [
        ("00000000", "0.0.0.0", "127.0.0.1"),
        ("0100007F", "127.0.0.1", "127.0.0.1"),
        ("0A00000A", "10.0.0.10", "10.0.0.10"),
        ("0" * 32, "::", "127.0.0.1"),
        ("00000000000000000000000001000000", "::1", "::1"),
        ("0000000000000000FFFF00000A00000A", "10.0.0.10", "10.0.0.10"),
    ],
)
def test_addresses_are_read_from_the_kernels_words(text, address, caller):
    assert (listening.address(text), listening.caller(address)) == (address, caller)


def test_work_in_the_same_network_is_done_at_once():
    assert listening.within(Tree(), os.getpid(), threading.current_thread) is threading.current_thread()


def test_what_work_raises_is_raised(tmp_path):
    with pytest.raises(served.UnaskedError, match="no model is known to ask for"):
        listening.within(Tree(str(tmp_path)), 1, lambda: served.ask([], [], tls=False))
