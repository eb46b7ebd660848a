# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What a server says of its models, and how many questions that took."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from ansible_collections.tfserving.fleet.plugins.module_utils.diagnosis import health, server

STATES = {
    "model_version_status": [
        {"version": "7", "state": "END", "status": {"error_code": "NOT_FOUND", "error_message": "no\x1b[2J op"}}
    ]
}


@contextmanager
def rest(code, body):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        try:
            yield listening.server_address[1]
        finally:
            listening.shutdown()
            thread.join()


def closed_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def instance(port, models=("a", "b"), flags=()):
    return {"ports": {"rest": port, "grpc": closed_port()}, "models": list(models), "flags": dict(flags)}


def test_each_model_is_asked_once():
    with rest(200, json.dumps(STATES).encode()) as port:
        found = server.ask(instance(port))
    state = {"version": 7, "state": "END", "error_code": "NOT_FOUND", "error_message": "no\\x1b[2J op"}
    assert found["models"] == {name: {"states": [state], "error": ""} for name in ("a", "b")}
    assert found["probe"]["status_calls"] == 2
    assert found["probe"]["rest_ms"] > 0
    assert found["probe"]["grpc_error"] == "Connection refused"


def test_a_model_that_is_not_there_is_the_servers_word():
    with rest(404, b'{"error": "Could not find any versions of model a"}') as port:
        found = server.ask(instance(port, ["a"]))
    assert found["models"]["a"] == {"states": [], "error": "Could not find any versions of model a"}
    assert "error" not in found["probe"]


def test_a_stranger_on_the_port_is_told():
    with rest(200, b"<html>") as port:
        found = server.ask(instance(port, ["a"]))
    assert found["models"]["a"]["error"] == f"port {port} answers with something else than the status of a model"


def test_a_server_that_does_not_answer_is_asked_once():
    found = server.ask(instance(closed_port()))
    assert found["probe"]["status_calls"] == 1
    assert found["probe"]["rest_ms"] is None
    assert "does not answer" in found["probe"]["error"]
    assert found["models"]["b"] == found["models"]["a"]


def test_a_server_that_takes_only_tls_is_not_asked_over_grpc(monkeypatch):
    monkeypatch.setattr(health, "check", None)
    found = server.ask(instance(closed_port(), flags={"ssl_config_file": "/x"}))
    assert found["probe"]["grpc_tls"]
    assert found["probe"]["grpc_health"] is None
