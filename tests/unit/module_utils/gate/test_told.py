# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""What status shows of the gates."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils.gate import told
from gate_cases import Folder
from ports import free_port


@pytest.fixture
def answering():
    """A companion that answers each call with the same bytes; returns its port."""
    servers = []

    def start(content: bytes) -> int:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_arguments):
                pass

        server = HTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server.server_address[1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_host_without_gates_has_nothing_to_tell(tmp_path):
    assert told.words(str(tmp_path / "gate.json")) == {}


def test_open_gates_are_told_from_closed_ones(tmp_path, answering):
    folder = Folder(tmp_path)
    closed = {"open": False, "state": "closed", "words": "closed by \x1b[2J"}
    page = json.dumps({"instances": {"a": {"open": True, "state": "open", "words": ""}, "b": closed}}).encode()
    folder.write(port=answering(page), names=("a", "b", "c"))
    assert told.words(folder.path) == {"a": "", "b": r"closed by \x1b[2J", "c": told.UNANSWERED}


@pytest.mark.parametrize("content", [b"no JSON", b"[]", b'{"instances": 7}', b'{"instances": {"ranker": {"open": 1}}}'])
def test_what_is_no_page_of_a_companion_tells_nothing(tmp_path, answering, content):
    folder = Folder(tmp_path)
    folder.write(port=answering(content))
    assert told.words(folder.path) == {"ranker": told.UNANSWERED}


def test_a_companion_that_is_not_there_is_told(tmp_path):
    folder = Folder(tmp_path)
    folder.write(port=free_port())
    assert told.words(folder.path) == {"ranker": told.UNANSWERED}


def test_a_plan_that_cannot_be_read_is_said_in_a_sentence(tmp_path):
    (tmp_path / "gate.json").write_text("{")
    with pytest.raises(RuntimeError, match=r"gate\.json"):
        told.words(str(tmp_path / "gate.json"))
