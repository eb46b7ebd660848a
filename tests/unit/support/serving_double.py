# Copyright: tfserving.fleet contributors
# SPDX-License-Identifier: Apache-2.0
"""A stand-in for a server's REST interface and for the host around it, as upstream documents and sources have them."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from patience import LONG_S
from ports import free_port

MODEL_PATH = re.compile(r"/v1/models/([^/:]+)(?:/labels/([^/:]+)|/versions/([0-9]+))?(/metadata|:predict)?$")

HALF_PLUS_TWO = {
    "serving_default": {
        "inputs": {"x": {"dtype": "DT_FLOAT", "tensor_shape": {"dim": [{"size": "-1"}, {"size": "1"}]}, "name": "x:0"}},
        "outputs": {
            "y": {"dtype": "DT_FLOAT", "tensor_shape": {"dim": [{"size": "-1"}, {"size": "1"}]}, "name": "y:0"}
        },
        "method_name": "tensorflow/serving/predict",
    },
    "__saved_model_init_op": {"inputs": {}, "outputs": {}, "method_name": ""},
}


class Model:
    """A model as its server sees it. Tests change ``versions`` and ``labels`` to let time pass."""

    def __init__(self, versions=None, labels=None, signatures=None, answer=None, refusal=None):
        self.versions = versions or {}
        self.labels = labels or {}
        self.signatures = signatures or HALF_PLUS_TWO
        self.answer = [[2.0]] if answer is None else answer
        self.refusal = refusal
        # The answers and signatures of versions that have others.
        self.answers = {}
        self.signatures_of = {}
        # The least size of the second dimension of what it takes, as a convolution has it.
        self.least = 0
        # The rows that it takes in a request; 0 takes any.
        self.largest = 0

    def serving(self, label, version=None):
        """Return the version that answers, or the server's error."""
        if version is not None and version in self.versions:
            return version, None
        if label is not None:
            if label not in self.labels:
                return None, (400, f"Unrecognized servable version label: {label}")
            return self.labels[label], None
        available = [version for version, state in self.versions.items() if state == "AVAILABLE"]
        return (max(available), None) if available else (None, (404, "Servable not found for request: Latest(m)"))


def rows(body):
    """Return how many rows a request has."""
    inputs = body.get("inputs")
    return len(next(iter(inputs.values())) if isinstance(inputs, dict) else inputs or body["instances"])


class Handler(BaseHTTPRequestHandler):
    """Answers like http_rest_api_handler.cc."""

    def log_message(self, *_args):
        pass

    def do_GET(self):
        self._dispatch()

    def do_POST(self):
        self._dispatch()

    def _dispatch(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        self.server.calls.append((self.command, self.path, body))
        match = MODEL_PATH.match(self.path)
        if not match:
            self._send(404, b"<html>Not Found</html>")
            return
        name, label, version, verb = match.groups()
        model = self.server.models.get(name)
        if model is None:
            self._error(404, f"Could not find any versions of model {name}")
        elif verb is None:
            # The label is accepted and not used.
            self._json({"model_version_status": [self._status(*entry) for entry in model.versions.items()]})
        else:
            self._serve(name, model, (label, version and int(version)), verb, body)

    def _serve(self, name, model, asked, verb, body):
        version, error = model.serving(*asked)
        if error:
            self._error(*error)
        elif verb == "/metadata":
            spec = {"name": name, "signature_name": "", "version": str(version)}
            metadata = {"signature_def": {"signature_def": model.signatures_of.get(version, model.signatures)}}
            self._json({"model_spec": spec, "metadata": metadata})
        elif model.refusal:
            self._error(*model.refusal)
        elif 0 < model.largest < rows(body):
            self._error(400, f"Task size {rows(body)} is larger than maximum input batch size {model.largest}")
        elif model.least and len(body["inputs"]["x"][0]) < model.least:
            self._error(400, "Computed output size would be negative")
        else:
            self._json({"outputs": model.answers.get(version, model.answer)})

    def _status(self, version, state):
        if isinstance(state, str):
            return {"version": str(version), "state": state, "status": {"error_code": "OK", "error_message": ""}}
        code, message = state
        return {"version": str(version), "state": "END", "status": {"error_code": code, "error_message": message}}

    def _error(self, code, message):
        self._send(code, json.dumps({"error": message}).encode())

    def _json(self, data):
        self._send(200, json.dumps(data).encode())

    def _send(self, code, body):
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class FakeServer:
    """A server on a free port of loopback, for a ``with`` statement."""

    def __init__(self, **models):
        self.http = ThreadingHTTPServer(("127.0.0.1", free_port()), Handler)
        self.http.models = models
        self.http.calls = []
        self.port = self.http.server_address[1]

    @property
    def models(self):
        return self.http.models

    @property
    def calls(self):
        return self.http.calls

    def __enter__(self):
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_error):
        self.http.shutdown()
        self.http.server_close()


class HostileServer:
    """Sends ``chunks`` to whoever calls, whatever was asked, until they end or nobody listens; for a ``with``."""

    def __init__(self, chunks, pause_s=0.0):
        self.chunks = chunks
        self.pause_s = pause_s
        self.over = threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_error):
        self.over.set()
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                self._talk(self.listener.accept()[0])

    def _talk(self, call):
        with call, contextlib.suppress(OSError):
            call.settimeout(LONG_S)
            call.recv(65536)
            for chunk in self.chunks:
                if self.over.wait(self.pause_s) if self.pause_s else self.over.is_set():
                    return
                call.sendall(chunk)
            # Read to the end of the request, so that what was sent is not thrown away by a reset.
            call.shutdown(socket.SHUT_WR)
            while call.recv(65536):
                pass


class Clock:
    """Time that passes only by sleeping; ``events`` happen on the way."""

    def __init__(self, **events):
        self.time = 0.0
        self.pauses = []
        self.events = sorted((float(key.lstrip("at_")), event) for key, event in events.items())

    def now(self):
        return self.time

    def sleep(self, pause):
        self.pauses.append(pause)
        self.time += pause
        while self.events and self.events[0][0] <= self.time:
            self.events.pop(0)[1]()


class FakeHost:
    """systemctl and journalctl of a host with one unit; tests change ``unit`` to let time pass."""

    def __init__(self, **unit):
        self.unit = {
            "LoadState": "loaded",
            "ActiveState": "active",
            "SubState": "running",
            "NRestarts": "0",
            "MainPID": "4242",
            "InvocationID": "abc123",
            "Result": "success",
            "ExecMainStatus": "0",
            "ExecStart": "{ path=/usr/bin/tensorflow_model_server ; argv[]=tensorflow_model_server --port=1 ; }",
            "RootDirectory": "",
            **unit,
        }
        self.log = {}
        self.version = "TensorFlow ModelServer: 2.19.1-rw+sha.1\nTensorFlow Library: 2.19.1\n"
        self.calls = []

    def run(self, arguments):
        self.calls.append(arguments)
        if arguments[0] == "systemctl":
            return 0, "".join(f"{key}={value}\n" for key, value in self.unit.items()), ""
        if arguments[0] == "journalctl":
            key = "unit" if arguments[1] == "-u" else arguments[1].partition("=")[2]
            return 0, "".join(f"{line}\n" for line in self.log.get(key, [])), ""
        if arguments[-1] == "--version":
            return 0, self.version, ""
        return 127, "", f"{arguments[0]} is not part of this host"


def instance(port, versions=(7,), labels=None, **more):
    """Return an instance of a plan that serves the model m."""
    config = {"name": "m", "model_version_policy": {"specific": {"versions": list(versions)}}}
    if labels:
        config["version_labels"] = labels
    return {
        "name": "ranker",
        "models": ["m"],
        "ports": {"grpc": 1, "rest": port},
        "model_config": {"model_config_list": {"config": [config]}},
        "start_timeout_s": 5,
        **more,
    }


def publish(root, *versions, model="m"):
    """Put empty versions of a model on disk and return the model root."""
    for version in versions:
        (root / model / str(version)).mkdir(parents=True, exist_ok=True)
    return str(root)
