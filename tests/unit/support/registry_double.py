# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A registry on loopback, as far as skopeo asks it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from release_images import Layout

# Nobody listens there: a reference to it stands for a registry that cannot be reached.
NOWHERE = "127.0.0.1:1"


class Registry:
    """A registry on loopback (without TLS) that serves a layout under any name."""

    def __init__(self, layout: Layout) -> None:
        self.layout, self.closed, self.requests = layout, False, []
        self.stall, self.stalled = threading.Event(), threading.Event()
        self.stall.set()
        registry = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                registry.requests.append(self.path)
                registry.answer(self)

            do_HEAD = do_GET  # noqa: N815 (the base class's name)

            def log_message(self, *_arguments: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.place = f"127.0.0.1:{self.http.server_address[1]}"
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        digest = request.path.rpartition("/")[2]
        if self.closed:
            self.send(request, 401, b"", **{"WWW-Authenticate": 'Basic realm="test"'})
        elif request.path == "/v2/":
            self.send(request, 200, b"{}")
        elif not self.layout.blob(digest).is_file():
            self.send(request, 404, b'{"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]}')
        else:
            content = self.layout.blob(digest).read_bytes()
            kind = json.loads(content).get("mediaType", "") if "/manifests/" in request.path else "x/y"
            self.send(request, 200, content, **{"Content-Type": kind, "Docker-Content-Digest": digest})

    def send(self, request: BaseHTTPRequestHandler, status: int, body: bytes, **headers: str) -> None:
        request.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            request.send_header(name, value)
        request.end_headers()
        if "/blobs/" in request.path and not self.stall.is_set():
            self.stalled.set()
            self.stall.wait()
        if request.command == "GET":
            request.wfile.write(body)


@pytest.fixture
def registry(layout) -> Iterator[Registry]:
    registry = Registry(layout)
    yield registry
    registry.stall.set()
    registry.http.shutdown()
    registry.http.server_close()
