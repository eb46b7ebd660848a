# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""Before any load is sent, a load host says how the server's ports answer, and what the models are."""

from __future__ import annotations

import http.server
import json
import socket
import threading

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.load import look
from ports import free_port

METADATA = {"model_spec": {"name": "ranker"}, "metadata": {}}


class Server(http.server.BaseHTTPRequestHandler):
    """Answers as the paths of a test say."""

    ANSWERS = {
        "/v1/models/ranker/metadata": (200, json.dumps(METADATA)),
        "/v1/models/gone/metadata": (404, "{}"),
        "/v1/models/strange/metadata": (200, "[]"),
        "/v1/models/broken/metadata": (200, "{"),
        "/v1/models/a%2Fb/metadata": (200, json.dumps(METADATA)),
    }

    def do_GET(self):
        status, text = self.ANSWERS[self.path]
        self.send_response(status)
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_arguments):
        """Say nothing."""


@pytest.fixture
def port():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def question(port, *models, grpc=None):
    return {"target": {"host": "127.0.0.1", "grpc": grpc or port, "rest": port}, "models": list(models)}


def test_it_sees_ports_and_metadata(port):
    found = look.seen(question(port, "ranker", "a/b"))
    assert found["ports"] == {"grpc": {"open": True}, "rest": {"open": True}}
    assert found["metadata"] == {"ranker": METADATA, "a/b": METADATA}
    assert found["source"] == "127.0.0.1"
    assert found["cores"] >= 1


def test_a_model_without_metadata_has_the_reason(port):
    found = look.seen(question(port, "gone", "strange", "broken"))["metadata"]
    assert found["gone"] == "HTTP 404"
    assert found["strange"] == "its metadata are no JSON object"
    assert isinstance(found["broken"], str)


def test_a_port_where_nobody_listens_refuses(port):
    found = look.seen(question(port, grpc=free_port()))
    assert found["ports"]["grpc"] == {"open": False, "why": "refused"}
    assert found["ports"]["rest"] == {"open": True}


def test_nothing_is_asked_of_a_closed_port():
    assert look.seen(question(free_port(), "ranker"))["metadata"] == {}


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (socket.gaierror(-2, "Name or service not known"), "unknown host"),
        (TimeoutError("timed out"), "no answer"),
        (OSError(113, "No route to host"), "no route"),
    ],
)
def test_a_port_that_cannot_be_reached_says_in_which_way(monkeypatch, error, why):
    def fails(*_arguments):
        raise error

    monkeypatch.setattr(look.socket, "create_connection", fails)
    assert look.seen(question(8500))["ports"]["grpc"]["why"] == why


def test_the_answer_is_printed_as_json(port, tmp_path, capsys):
    file = tmp_path / "question.json"
    file.write_text(json.dumps(question(port, "ranker")))
    assert look.look(file) == 0
    assert json.loads(capsys.readouterr().out)["metadata"] == {"ranker": METADATA}
