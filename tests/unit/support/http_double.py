# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A server of files on loopback that misbehaves on demand."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from ports import free_port


class Server:
    """An HTTP server on loopback: `answers` maps a path to (status, headers, body) or to what handles a request."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, dict[str, str], bytes] | Callable[[BaseHTTPRequestHandler], None]] = {}
        self.requests: list[tuple[str, dict[str, str]]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.requests.append((self.path, dict(self.headers)))
                answer = outer.answers.get(self.path.partition("?")[0], (404, {}, b""))
                if callable(answer):
                    answer(self)
                    return
                status, headers, body = answer
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", free_port()), Handler)
        self.http.daemon_threads = True
        self.port = self.http.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def serves(self, model: str, **states: str) -> None:
        """Answer the status call of TensorFlow Serving with versions and states such as v7="AVAILABLE"."""
        versions = [{"version": name[1:], "state": state, "status": {}} for name, state in states.items()]
        body = json.dumps({"model_version_status": versions}).encode()
        self.answers[f"/v1/models/{model}"] = (200, {"Content-Type": "application/json"}, body)

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_problem: object) -> None:
        self.http.shutdown()
        self.http.server_close()
